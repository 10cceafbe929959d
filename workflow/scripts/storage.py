"""Rule `storage`."""

from pathlib import Path

from tracedlm.records.rrm import PROJECTIONS
from tracedlm.stages.job_log import logged
from tracedlm.stages.rrm import storage

with logged(snakemake.log[0]):
    storage(snakemake.params.model["path"], {name: Path(snakemake.input[name]) for name in PROJECTIONS}, Path(snakemake.output[0]))
