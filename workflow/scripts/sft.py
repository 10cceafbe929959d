"""Rule `sft`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.config import Sft
        from tracedlm.stages.sft.fine_tune import fine_tune

    p, out = snakemake.params, {name: Path(path) for name, path in snakemake.output.items()}
    files = {
        dataset: Path(path) for dataset, path in zip(p.datasets, snakemake.input.data, strict=True)
    }
    fine_tune(
        p.model,
        Sft(**p.settings),
        files,
        p.seed,
        snakemake.threads,
        out["moments"].parent / "work",
        out,
    )
