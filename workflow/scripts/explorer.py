"""Rule `explorer`."""

from pathlib import Path

from tracedlm.config import Certify
from tracedlm.report.pages.explorer import write_explorer
from tracedlm.stages.explorer import replay_study
from tracedlm.stages.job import logged

with logged(snakemake):
    p, out = snakemake.params, Path(snakemake.output[0])
    write_explorer(replay_study(out.parent, certify=Certify(**p.certify), **p.shown), p.code, out)
