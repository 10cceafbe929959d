"""Rule `pseudo_gradient`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.trace.pseudo_gradient import replay_traces

    p, out = snakemake.params, {dataset: Path(path) for dataset, path in snakemake.output.items()}
    tables = {
        dataset: {
            table: [Path(path) for path in snakemake.input[f"{dataset}_{table}"]]
            for table in ("samples", "steps")
        }
        for dataset in out
    }
    replay_traces(
        p.model,
        Path(snakemake.input.adapter),
        p.layer,
        tables,
        p.samples,
        p.batch_size,
        snakemake.threads,
        out,
    )
