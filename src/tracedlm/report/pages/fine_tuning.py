"""Rule `dynamics_sft_report`.

How the map of fine-tuning and the curves of training move together, as a table and a figure.
"""

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from tracedlm.records.measures import read_measures
from tracedlm.report.contents import SFT_DYNAMICS
from tracedlm.report.figures.draw import save
from tracedlm.report.figures.dynamics import Series, draw_dynamics
from tracedlm.report.figures.style import BLUE, GREEN, STYLE, VERMILION
from tracedlm.report.layout import Column, Row, Spec, number, shows, text
from tracedlm.report.tables.trajectories import Which
from tracedlm.report.write import write_csv, write_table
from tracedlm.theory.ranking import paired_spearman

TITLE = "The map and the curves of fine-tuning"
CAPTION = (
    "One fine-tuning, all panels over the same optimiser steps. Map: LoRA-B of q, k and v in the"
    " map's layer, mean update up to the step; mass is the root mean square of its entries,"
    " captured the share of its energy in the final subspace map; the maps of unrelated updates of"
    " rank 8 have a cosine of 0.94 (`theory.map_comparison.chance_cosine`). The other panels are"
    " measured on two fixed batches at mask ratio 0.5; curvature is by LoRA's parameters alone."
)

COLOURS = {"q": BLUE, "k": GREEN, "v": VERMILION}
SPLITS = {"train": "-", "validation": "--"}


def _of_map(metric: str) -> tuple[Series, ...]:
    return tuple(Series(name, Which(metric, name), colour) for name, colour in COLOURS.items())


def _of_splits(*named: tuple[str, str, str, str]) -> tuple[Series, ...]:
    """Lines for both batches of (name, metric, module, colour).

    Where the module is empty, it is the batch, else the label is.
    """
    return tuple(
        Series(
            f"{name}, {split}",
            Which(metric, module or split, None, split if module else ""),
            colour,
            dash,
        )
        for name, metric, module, colour in named
        for split, dash in SPLITS.items()
    )


PANELS: dict[str, tuple[Series, ...]] = {
    "map: mass": _of_map("update_rms"),
    "map: cosine to final": _of_map("map_cosine"),
    "map: captured": _of_map("captured"),
    "map: effective rank": _of_map("effective_rank"),
    "loss, nats": _of_splits(("loss", "loss", "lora", BLUE)),
    "predictions": _of_splits(
        ("accuracy", "accuracy", "", BLUE),
        ("entropy, nats", "entropy", "", GREEN),
        ("ECE", "ece", "", VERMILION),
    ),
    "gradient norm": _of_splits(("norm", "gradient_norm", "lora", BLUE)),
    "lambda of LoRA": _of_splits(
        ("lambda max", "lambda_max", "lora", VERMILION), ("lambda min", "lambda_min", "lora", GREEN)
    ),
    "trace of LoRA": _of_splits(("trace", "trace", "lora", BLUE)),
}
"""Panel -> its lines, top to bottom. Maps are named by their projection: there is one layer."""

AGAINST = {"mass": Which("update_rms", "q"), "cosine": Which("map_cosine", "q")}


def make_sft_dynamics(measures: Path, tables: Path, figures: Path) -> None:
    """Write `<tables>/dynamics_sft.{csv,tex}` and `<figures>/dynamics_sft.{png,pdf,csv}`.

    Raises:
        ValueError: The file is missing or unreadable.
    """
    rows = read_measures([measures]).to_pylist()
    write_table(SFT, SFT.build(rows), tables)
    drawn = curve_rows(rows)
    write_csv(figures / f"{SFT_DYNAMICS}.csv", drawn)
    with matplotlib.rc_context(STYLE):
        save(draw_dynamics(drawn, PANELS), figures / f"{SFT_DYNAMICS}.png")


def curve_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """One row for each panel, line and snapshot.

    Undefined values are left out of the lines and stay in the csv with their reason.
    """
    found = _curves(rows)
    return [
        {
            "panel": panel,
            "line": line.name,
            "step": step,
            "mean": row["value"],
            "low": None,
            "high": None,
            "reason": row["reason"],
        }
        for panel, lines in PANELS.items()
        for line in lines
        for step, row in found.get(line.which, {}).items()
    ]


def together_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """One row a curve: its first and last value, and its rank correlations.

    Over snapshots, with step, mass and cosine of the map of q.
    """
    found = _curves(rows)
    skipped = sorted({row["step"] for row in rows if row["metric"] == "snapshot"})
    return [
        _together(panel, line, found, ", ".join(map(str, skipped)))
        for panel, lines in PANELS.items()
        for line in lines
        if line.which in found
    ]


def _together(
    panel: str, line: Series, found: dict[Which, dict[int, dict[str, Any]]], skipped: str
) -> Row:
    values = {
        step: row["value"] for step, row in found[line.which].items() if row["value"] is not None
    }
    row: Row = {
        "panel": panel,
        "line": line.name,
        "start": None,
        "end": None,
        "n": 0,
        "skipped": skipped,
        "reason": "",
    }
    if not values:
        return row | {"reason": "undefined at every snapshot"}
    row |= {
        "start": values[min(values)],
        "end": values[max(values)],
        "first_step": min(values),
        "last_step": max(values),
        "n": len(values),
    }
    others = {"step": {step: float(step) for step in values}}
    for name, which in AGAINST.items():
        others[name] = {
            step: one["value"]
            for step, one in found.get(which, {}).items()
            if one["value"] is not None
        }
    for name, other in others.items():
        if name in AGAINST and line.which == AGAINST[name]:
            continue
        steps = sorted(values.keys() & other.keys())
        rho, p = paired_spearman(
            np.array([values[step] for step in steps]), np.array([other[step] for step in steps])
        )
        row |= {
            f"rho_{name}": None if np.isnan(rho) else rho,
            f"p_{name}": None if np.isnan(p) else p,
            f"n_{name}": len(steps),
        }
    return row


def _curves(rows: list[dict[str, Any]]) -> dict[Which, dict[int, dict[str, Any]]]:
    """Curve -> step -> row; a module `5.q.B` is named `q`."""
    found: dict[Which, dict[int, dict[str, Any]]] = {}
    for row in rows:
        projection = re.fullmatch(r"\d+\.([qkv])\.B", row["module"])
        which = Which(
            row["metric"], projection[1] if projection else row["module"], None, row["label"]
        )
        found.setdefault(which, {})[row["step"]] = row
    return found


def _correlation(name: str) -> Column:
    return Column(
        f"rho with {name}",
        lambda row: (
            f"{number(row.get(f'rho_{name}'), 'signed')} ({number(row.get(f'p_{name}'), 'p')})"
        ),
    )


def _caption(rows: list[Row]) -> str:
    n = max((int(row["n"] or 0) for row in rows), default=0)
    left_out = (
        f" Skipped for want of a usable snapshot: step {rows[0]['skipped']}."
        if rows and rows[0]["skipped"]
        else ""
    )
    return (
        "Fine-tuning's snapshots: each curve's first and last value, and Spearman's rho over"
        " snapshots with the step, with the mass of the map of q (root mean square of the mean"
        " update) and with its cosine to the final map; in brackets, two-sided p by permutation. A"
        f" correlation with the map leaves out step 0, which has none. With at most {n} snapshots"
        " and one run this describes the run. Two curves that only rise or fall correlate by that"
        f" alone: compare with the correlation with the step.{left_out}"
    )


SFT = Spec(
    SFT_DYNAMICS,
    TITLE,
    _caption,
    together_rows,
    (
        Column("quantity", text("panel"), numeric=False, merge=True),
        Column("of", text("line"), numeric=False),
        Column("first", shows("start", "small")),
        Column("last", shows("end", "small")),
        *(_correlation(name) for name in ("step", "mass", "cosine")),
        Column("snapshots", shows("n", "count")),
    ),
    texts=Spec.texts | {"panel", "line", "skipped"},
)
