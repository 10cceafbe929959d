"""Rule `dynamics_report`: tables and figures of the branch, each with its csv.

And what the page shows of them.
"""

from pathlib import Path
from typing import Any

import matplotlib

from tracedlm.report.contents import DYNAMICS_TABLES
from tracedlm.report.figures.draw import save
from tracedlm.report.figures.dynamics import draw_dynamics, dynamics_rows
from tracedlm.report.figures.style import STYLE
from tracedlm.report.layout import lay_out
from tracedlm.report.pages.fine_tuning import CAPTION as SFT_CAPTION
from tracedlm.report.pages.fine_tuning import SFT
from tracedlm.report.pages.fine_tuning import TITLE as SFT_TITLE
from tracedlm.report.tables.dynamics import CLAIMS
from tracedlm.report.tables.dynamics_stopping import COST, STOPPING
from tracedlm.report.tables.trajectories import Trajectories
from tracedlm.report.write import read_csv, write_csv, write_table

SPECS = {spec.name: spec for spec in (CLAIMS, STOPPING, COST)}
assert tuple(SPECS) == DYNAMICS_TABLES

TITLE = "What models learn while they train"
CAPTION = (
    "Mean over seeds with Student's 95 % intervals, all panels over the same optimiser steps."
    " Floor: what the grammar itself loses on the evaluated tokens. Probes are trained anew at"
    " every checkpoint and tested on other sentences; ceiling: the best any reader of the {context}"
    " can do; control task: random labels by word. Trace by Hutchinson's estimator, on two fixed"
    " disjoint batches."
)
RUNS = {
    "causal": ("A causal decoder", "prefix"),
    "masked": ("A masked diffusion model", "whole sentence"),
}


def make_dynamics(measures: Path, summary: Path, tables: Path, figures: Path) -> None:
    """Write the branch's tables, and a figure for each kind of run.

    `<tables>/dynamics_*.{csv,tex}` and `<figures>/dynamics_<run>.{png,pdf,csv}`.

    Raises:
        ValueError: A file is missing or unreadable.
    """
    found = Trajectories(measures, summary)
    for spec in SPECS.values():
        write_table(spec, spec.build(found), tables)
    with matplotlib.rc_context(STYLE):
        for run in found.runs:
            rows = dynamics_rows(found, run)
            write_csv(figures / f"dynamics_{run}.csv", rows)
            save(draw_dynamics(rows), figures / f"dynamics_{run}.png")


def dynamics_section(study: dict[str, Any], tables: Path) -> tuple[str, list[dict[str, Any]]]:
    """Heading and items of the page; no items of what the study leaves out.

    Args:
        study: The validated config, as plain values.
        tables: Folder of the tables.
    """
    if not study["dynamics"]["enabled"]:
        return TITLE, []
    followed = [SFT] if study["model"]["adapter"] is None and study["sft"]["snapshot_every"] else []
    specs = [*SPECS.values(), *followed]
    shown: list[dict[str, Any]] = [
        {"kind": "table", "grid": lay_out(spec, read_csv(tables / f"{spec.name}.csv", spec))}
        for spec in specs
    ]
    shown += [
        {
            "kind": "figure",
            "name": spec.name,
            "title": SFT_TITLE,
            "caption": SFT_CAPTION,
            "blank": False,
        }
        for spec in followed
    ]
    for run in study["dynamics"]["runs"]:
        title, context = RUNS[run]
        shown.append(
            {
                "kind": "figure",
                "name": f"dynamics_{run}",
                "title": title,
                "caption": CAPTION.format(context=context),
                "blank": False,
            }
        )
    return TITLE, shown
