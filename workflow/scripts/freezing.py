"""Rule `freezing`."""

from pathlib import Path

from tracedlm.config import FlipAudit
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.exits.decoding import Setup
        from tracedlm.stages.exits.freezing import certify_freezing

    p = snakemake.params
    setup = Setup.of_job(snakemake, validation=snakemake.input.data)
    certify_freezing(
        setup, FlipAudit(**p.audit), p.tau, p.seed, snakemake.threads, Path(snakemake.output[0])
    )
