"""Rule `paper`."""

from pathlib import Path

from tracedlm.report.pages.paper import make_paper
from tracedlm.stages.job import logged

with logged(snakemake):
    out = Path(snakemake.output.pdf)
    manifests = [Path(path) for path in snakemake.input.manifests]
    make_paper(
        snakemake.params.study, out.parent / "tables", out.parent / "figures", manifests, out
    )
