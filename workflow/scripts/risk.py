"""Rule `risk`."""

from pathlib import Path

from tracedlm.config import Risk
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.exits.decoding import Setup
        from tracedlm.stages.exits.risk import control_exits

    i = snakemake.input
    out = {name: Path(path) for name, path in snakemake.output.items()}
    control_exits(
        Setup.of_job(snakemake, validation=i.validation, test=i.test),
        Risk(**snakemake.params.risk),
        snakemake.threads,
        out,
    )
