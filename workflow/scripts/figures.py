"""Rule `figures`."""

from pathlib import Path

from tracedlm.report.evidence import read_evidence
from tracedlm.report.figures import make_figures
from tracedlm.report.names import FIGURES
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0]):
    i, shown, out = snakemake.input, snakemake.params.shown, {name: Path(snakemake.output[name]) for name in FIGURES}
    evidence = read_evidence(out[FIGURES[0]].parents[1], **shown)
    make_figures(evidence, dict(zip(shown["datasets"], map(Path, i.readouts), strict=True)), Path(i.gradients), out)
