"""Rule `task_maps`."""

from pathlib import Path

from tracedlm.config import Rrm
from tracedlm.stages.job import logged
from tracedlm.stages.rrm.task_maps import compare_tasks

with logged(snakemake):
    i, out = snakemake.input, {name: Path(path) for name, path in snakemake.output.items()}
    study = {"study": Path(i.study)} if i.study else {}
    tasks = dict(zip(snakemake.params.runs, map(Path, i.tasks), strict=True))
    compare_tasks(study | tasks, Rrm(**snakemake.params.settings), out)
