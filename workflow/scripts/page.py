"""Rule `page`."""

from pathlib import Path

from tracedlm.report.pages.report import make_page
from tracedlm.report.tables.costs import make_costs
from tracedlm.stages.job import logged

with logged(snakemake):
    out = Path(snakemake.output.page)
    make_costs(out.parent, out.parent / "tables")
    manifests = [Path(path) for path in snakemake.input.manifests]
    make_page(snakemake.params.study, out.parent / "tables", out.parent / "figures", manifests, out)
