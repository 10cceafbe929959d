"""Rule `fetch`."""

from pathlib import Path

from tracedlm.stages.download import Source, fetch
from tracedlm.stages.job_log import logged

with logged(snakemake):
    fetch(Source(**snakemake.params.source), Path(snakemake.output[0]))
