"""Rule `dynamics_measure`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake, skippable=snakemake.input.checkpoints):
    with startup():
        from tracedlm.config import Dynamics
        from tracedlm.stages.dynamics.measure import measure

    i, p, w = snakemake.input, snakemake.params, snakemake.wildcards
    corpus, folders = (
        (Path(i.sentences), Path(i.vocabulary)),
        {int(Path(path).parent.name): Path(path) for path in i.checkpoints},
    )
    chosen, out = [tuple(one) for one in p.chosen], Path(snakemake.output[0])
    measure(
        w.dynamics_run,
        w.dynamics_metric,
        chosen,
        Dynamics(**p.settings),
        *corpus,
        folders,
        snakemake.threads,
        out,
    )
