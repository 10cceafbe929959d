"""Rule `rescore`."""

from pathlib import Path

from tracedlm.report.tables.rescored import make_rescored_tables
from tracedlm.stages.data.rescore import rescore_releases
from tracedlm.stages.job import logged

with logged(snakemake):
    folder, *settings = map(Path, snakemake.params.folders)
    scores = Path(snakemake.output.scores)
    rescore_releases(folder, settings[0] if settings else None, scores)
    make_rescored_tables(scores, Path(snakemake.output.tables[0]).parent)
