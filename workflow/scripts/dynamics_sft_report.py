"""Rule `dynamics_sft_report`."""

from pathlib import Path

from tracedlm.report.pages.fine_tuning import make_sft_dynamics
from tracedlm.stages.job import logged

with logged(snakemake):
    root = Path(snakemake.output[0]).parents[1]
    make_sft_dynamics(Path(snakemake.input[0]), root / "tables", root / "figures")
