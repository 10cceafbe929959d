"""Rule `noise`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.config import Decode, Exits, ReadoutSettings, Rrm
        from tracedlm.stages.exits.noise import compare_run

    p, i, out = (
        snakemake.params,
        snakemake.input,
        {name: Path(path) for name, path in snakemake.output.items()},
    )
    data = {dataset: Path(path) for dataset, path in zip(p.datasets, i.data, strict=True)}
    how = Decode(**p.decode), ReadoutSettings(**p.readout), Exits(**p.exits)
    runs = Path(i.adapter), Path(i.moments), Path(i.clean)
    compare_run(
        p.model,
        *runs,
        Rrm(**p.rrm),
        data,
        p.noise["samples"],
        p.seq_len,
        *how,
        p.run,
        snakemake.threads,
        out,
    )
