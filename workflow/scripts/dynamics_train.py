"""Rule `dynamics_train`."""

from pathlib import Path

from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.config import Dynamics
        from tracedlm.stages.dynamics.train import train

    i, w, out = (
        snakemake.input,
        snakemake.wildcards,
        {name: Path(path) for name, path in snakemake.output.items()},
    )
    corpus, scratch = (Path(i.sentences), Path(i.vocabulary)), out["manifest"].parent / "work"
    train(
        w.dynamics_run,
        Dynamics(**snakemake.params.settings),
        *corpus,
        int(w.dynamics_seed),
        snakemake.threads,
        scratch,
        out,
    )
