"""Rule `data`."""

from pathlib import Path

from tracedlm.config import Dataset
from tracedlm.stages.data.problems import make_data
from tracedlm.stages.job import logged

with logged(snakemake):
    out = {split: Path(snakemake.output[split]) for split in ("train", "validation", "test")}
    entry = Dataset(**snakemake.params.entry)
    make_data(
        snakemake.wildcards.dataset,
        entry,
        snakemake.params.seed,
        out,
        Path(snakemake.output.manifest),
    )
