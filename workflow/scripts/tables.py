"""Rule `tables`."""

from pathlib import Path

from tracedlm.report.contents import TABLES, TIMED_TABLES
from tracedlm.report.evidence import read_evidence
from tracedlm.report.write import make_tables
from tracedlm.stages.job import logged

with logged(snakemake):
    folder = Path(snakemake.output[0]).parent
    make_tables(
        read_evidence(folder.parent, **snakemake.params.shown), TABLES + TIMED_TABLES, folder
    )
