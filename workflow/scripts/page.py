"""Rule `page`."""

from pathlib import Path

from tracedlm.report.page import make_page
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0]):
    out = Path(snakemake.output[0])
    manifests = [Path(path) for path in snakemake.input.manifests]
    make_page(snakemake.params.study, out.parent / "tables", out.parent / "figures", manifests, out)
