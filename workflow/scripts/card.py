"""Rule `card`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.base_model.card import evaluate

    p = snakemake.params
    evaluate(
        p.model,
        p.tests,
        p.seq_lens,
        p.card["samples"],
        p.batch_size,
        p.seed,
        snakemake.threads,
        Path(snakemake.output[0]),
    )
