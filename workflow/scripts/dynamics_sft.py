"""Rule `dynamics_sft`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake, skippable=[snakemake.input.snapshots]):
    with startup():
        from tracedlm.config import Rrm, Sft
        from tracedlm.stages.dynamics.fine_tuning import measure_fine_tuning

    i, p = snakemake.input, snakemake.params
    files = {
        part: {name: Path(path) for name, path in zip(p.datasets, i[part], strict=True)}
        for part in ("train", "validation")
    }
    run, out = (
        (Path(i.snapshots), Path(i.manifest), p.seed, snakemake.threads),
        Path(snakemake.output[0]),
    )
    measure_fine_tuning(p.model, Sft(**p.sft), Rrm(**p.rrm), p.examples, files, *run, out)
