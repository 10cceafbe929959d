"""Rule `dynamics_report`."""

from pathlib import Path

from tracedlm.report.pages.dynamics import make_dynamics
from tracedlm.stages.job import logged

with logged(snakemake):
    root = Path(snakemake.output[0]).parents[1]
    make_dynamics(
        Path(snakemake.input.measures),
        Path(snakemake.input.summary),
        root / "tables",
        root / "figures",
    )
