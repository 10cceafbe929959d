"""Rule `tune`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.exits.decoding import Setup
        from tracedlm.stages.exits.tune import tune

    tune(
        Setup.of_job(snakemake, validation=snakemake.input.data),
        snakemake.threads,
        Path(snakemake.output[0]),
    )
