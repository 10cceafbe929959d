"""Rule `storage`."""

from pathlib import Path

from tracedlm.stages.job_log import logged
from tracedlm.stages.rrm import storage

with logged(snakemake.log[0]):
    storage(snakemake.params.model, {name: Path(path) for name, path in snakemake.input.items()}, Path(snakemake.output[0]))
