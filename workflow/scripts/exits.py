"""Rule `exits`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.exits.compare import compare_exits
        from tracedlm.stages.exits.decoding import Setup

    out = {name: Path(path) for name, path in snakemake.output.items()}
    profile, manifest = out.pop("profile"), out.pop("manifest")
    tuned = {Path(path).parents[1].name: Path(path) for path in snakemake.input.tuned}
    setup = Setup.of_job(snakemake, test=snakemake.input.data)
    compare_exits(setup, snakemake.params.seed, snakemake.threads, tuned, out, profile, manifest)
