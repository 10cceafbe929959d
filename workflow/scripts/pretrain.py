"""Rule `pretrain`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.config import Pretrain
        from tracedlm.stages.base_model.pretrain import pretrain

    p, out = snakemake.params, Path(snakemake.output.model)
    pretrain(
        Pretrain(**p.settings), p.datasets, p.seed, snakemake.threads, out.parent / "work", out
    )
