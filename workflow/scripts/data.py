"""Rule `data`."""

from pathlib import Path

from tracedlm.stages.data import make_data
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0]):
    entry = snakemake.params.entry
    make_data(
        snakemake.wildcards.dataset,
        entry["test"],
        {split: entry[f"{split}_samples"] for split in ("train", "validation", "test")},
        snakemake.params.seed,
        {split: Path(snakemake.output[split]) for split in ("train", "validation", "test")},
        Path(snakemake.output.manifest),
    )
