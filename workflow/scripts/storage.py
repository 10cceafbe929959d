"""Rule `storage`."""

from pathlib import Path

from tracedlm.records.rrm import PROJECTIONS
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.rrm.storage import storage

    storage(
        snakemake.params.model,
        {name: Path(snakemake.input[name]) for name in PROJECTIONS},
        Path(snakemake.output[0]),
    )
