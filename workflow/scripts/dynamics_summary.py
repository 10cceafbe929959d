"""Rule `dynamics_summary`."""

from pathlib import Path

from tracedlm.config import Dynamics
from tracedlm.stages.dynamics.summary import summarise
from tracedlm.stages.job import logged

with logged(snakemake):
    i, out = snakemake.input, {name: Path(path) for name, path in snakemake.output.items()}
    parts, manifests = ([Path(path) for path in paths] for paths in (i.parts, i.manifests))
    summarise(parts, Path(i.limits), manifests, Dynamics(**snakemake.params.settings), out)
