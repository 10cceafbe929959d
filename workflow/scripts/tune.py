"""Rule `tune`."""

from pathlib import Path

from tracedlm.stages.job_log import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.bench import Setup
        from tracedlm.stages.tune import tune

    tune(
        Setup.of_job(snakemake, validation=snakemake.input.data),
        snakemake.threads,
        Path(snakemake.output[0]),
    )
