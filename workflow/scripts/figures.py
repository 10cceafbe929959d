"""Rule `figures`."""

from pathlib import Path

from tracedlm.report.evidence import read_evidence
from tracedlm.report.figures.draw import make_figures
from tracedlm.stages.job import logged

with logged(snakemake):
    i, p = snakemake.input, snakemake.params
    out = {name: Path(snakemake.output[name]) for name in p.figures}
    evidence = read_evidence(Path(snakemake.output[0]).parents[1], **p.shown)
    readouts = dict(zip(p.shown["datasets"], map(Path, i.readouts), strict=True))
    replayed = {Path(path).parent.name: Path(path) for path in i.pseudo_gradients}
    gradients, task_maps = (
        Path(path) if path else None for path in (i.gradients, *(i.task_maps or [None]))
    )
    make_figures(
        evidence, readouts, gradients, replayed, list(map(Path, i.magnitudes)), task_maps, out
    )
