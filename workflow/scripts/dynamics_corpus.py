"""Rule `dynamics_corpus`."""

from pathlib import Path

from tracedlm.stages.job import logged

with logged(snakemake):
    from tracedlm.config import Dynamics
    from tracedlm.stages.dynamics.corpus import make_corpus

    p, out = snakemake.params, {name: Path(path) for name, path in snakemake.output.items()}
    make_corpus(Dynamics(**p.settings), p.seed, out)
