"""Rule `fetch`."""

from pathlib import Path

from tracedlm.stages.data.download import Source, fetch
from tracedlm.stages.job import logged

with logged(snakemake):
    fetch(Source(**snakemake.params.source), Path(snakemake.output[0]))
