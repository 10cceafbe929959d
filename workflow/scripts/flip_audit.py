"""Rule `flip_audit`."""

from pathlib import Path

from tracedlm.config import FlipAudit
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.exits.decoding import Setup
        from tracedlm.stages.exits.flip_audit import audit_flips

    p = snakemake.params
    setup = Setup.of_job(snakemake, test=snakemake.input.data)
    audit_flips(setup, FlipAudit(**p.audit), p.tau, snakemake.threads, Path(snakemake.output[0]))
