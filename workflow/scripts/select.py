"""Rule `select`."""

from pathlib import Path

from tracedlm.config import Certify
from tracedlm.stages.certify import select
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0]):
    select([Path(path) for path in snakemake.input], Certify(**snakemake.params.settings), snakemake.params.tau, Path(snakemake.output[0]))
