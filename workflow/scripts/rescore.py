"""Rule `rescore`."""

from pathlib import Path

from tracedlm.report.rescored_tables import make_rescored_tables
from tracedlm.stages.job_log import logged
from tracedlm.stages.rescore import rescore_releases

with logged(snakemake):
    folder, *settings = map(Path, snakemake.params.folders)
    scores = Path(snakemake.output.scores)
    rescore_releases(folder, settings[0] if settings else None, scores)
    make_rescored_tables(scores, Path(snakemake.output.tables[0]).parent)
