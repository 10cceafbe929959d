"""Training dynamics of one kind of run.

Every quantity over the same optimiser steps, one panel below the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tracedlm.report.figures.style import BLUE, GREEN, GREY, INK, VERMILION
from tracedlm.report.layout import Row
from tracedlm.report.tables.dynamics import BASELINES, CEILING, ROLE_PROBE, loss_of
from tracedlm.report.tables.trajectories import Trajectories, Which


@dataclass(frozen=True)
class Series:
    """One line of a panel: its name, what it shows, colour and dash."""

    name: str
    which: Which
    colour: str
    dash: str = "-"


PANELS: dict[str, tuple[Series, ...]] = {
    "nats per token": (),  # the run's own loss, and its floor
    "role probe": (
        Series("linear, last layer", Which("accuracy", ROLE_PROBE, -1), BLUE),
        Series("MLP, last layer", Which("accuracy", "mlp.role.sentence", -1), BLUE, "--"),
        Series("linear, other words", Which("accuracy", "linear.role.word", -1), GREEN),
        Series("control task", Which("control", ROLE_PROBE, -1), VERMILION, ":"),
        *(
            Series(f"{name.split('.')[0]} alone", Which("accuracy", name), GREY, dash)
            for name, dash in zip(BASELINES, (":", "--", "-."), strict=True)
        ),
    ),
    "part-of-speech probe": (
        Series("linear, last layer", Which("accuracy", "linear.pos.sentence", -1), BLUE),
        Series("linear, other words", Which("accuracy", "linear.pos.word", -1), GREEN),
        Series("control task", Which("control", "linear.pos.sentence", -1), VERMILION, ":"),
    ),
    "intrinsic dimension": (
        Series("TwoNN, sentences side by side", Which("two_nn", "flat", -1), BLUE),
        Series("TwoNN, sentence means", Which("two_nn", "sentence", -1), GREEN),
        Series("TwoNN, tokens", Which("two_nn", "token", -1), VERMILION),
        Series(
            "participation ratio, tokens",
            Which("participation_ratio", "token", -1),
            VERMILION,
            "--",
        ),
    ),
    "curvature": tuple(
        Series(f"{name}, {label}", Which(metric, "all", None, label), colour, dash)
        for metric, name, colour in (
            ("trace", "trace", BLUE),
            ("lambda_max", "lambda max", VERMILION),
            ("lambda_min", "lambda min", GREEN),
        )
        for label, dash in (("train", "-"), ("validation", "--"))
    ),
    "gradient": (
        Series("norm, train", Which("gradient_norm", "", None, "train"), BLUE),
        Series("norm, validation", Which("gradient_norm", "", None, "validation"), BLUE, "--"),
        Series(
            "cosine to the one before", Which("gradient_cosine", "", None, "train"), VERMILION, ":"
        ),
    ),
}
"""Panel -> its lines, top to bottom."""


def dynamics_rows(found: Trajectories, run: str) -> list[Row]:
    """One row for each panel, line and checkpoint: mean over seeds with Student's interval.

    And one for each floor or ceiling.
    """
    rows: list[Row] = []
    for panel, lines in {
        **PANELS,
        "nats per token": (Series("held-out loss", loss_of(run, found), BLUE),),
    }.items():
        for line in lines:
            curve = found.curve(run, line.which)
            if curve is None or np.isnan(curve.values).all():
                continue
            if line.which.module in BASELINES:
                rows.append(_level(panel, line.name, float(np.nanmean(curve.values))))
                continue
            for index, step in enumerate(curve.steps):
                bounds = [None if np.isnan(value) else value for value in curve.at(index)]
                mean, low, high = bounds
                rows.append(
                    {
                        "panel": panel,
                        "line": line.name,
                        "step": step,
                        "mean": mean,
                        "low": low,
                        "high": high,
                        "n": len(curve.seeds),
                    }
                )
        rows += [_level(panel, name, value) for name, value in _levels(found, run, panel)]
    return rows


def _level(panel: str, name: str, value: float) -> Row:
    """What holds at all steps."""
    return {"panel": panel, "line": name, "step": None, "mean": value, "low": None, "high": None}


def _levels(found: Trajectories, run: str, panel: str) -> list[tuple[str, float]]:
    """Floors and ceilings of a panel."""
    if panel == "role probe":
        ceiling = found.curve(run, Which("accuracy", CEILING))
        return [] if ceiling is None else [("ceiling", float(np.nanmean(ceiling.values)))]
    if panel == "nats per token":
        module = loss_of(run, found).module
        excess = found.curve(run, Which("excess_nll", module))
        loss = found.curve(run, Which("nll", module))
        if excess is None or loss is None:
            return []
        # The grammar's own loss on the very tokens that were evaluated: what is left above it is
        # the model's.
        return [("floor", float(np.nanmean(loss.values - excess.values)))]
    return []


def draw_dynamics(rows: list[Any], lines_of: Mapping[str, tuple[Series, ...]] = PANELS) -> Figure:
    """Panels with one shared axis of steps, linear up to 1 and logarithmic from there.

    Bands are 95 % intervals over seeds.

    Args:
        rows: Of `dynamics_rows`.
        lines_of: Panel -> its lines, top to bottom; a panel without rows is left out.
    """
    with_steps = {row["panel"] for row in rows if row["step"] is not None}
    panels = [name for name in lines_of if name in with_steps]
    figure = Figure(figsize=(7.2, 1.0 + 1.75 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    styles = {
        (panel, line.name): (line.colour, line.dash)
        for panel, lines in lines_of.items()
        for line in lines
    }
    for axes, panel in zip(grid, panels, strict=True):
        own = [row for row in rows if row["panel"] == panel]
        for line in dict.fromkeys(row["line"] for row in own):
            points = [row for row in own if row["line"] == line]
            colour, dash = styles.get((panel, line), (BLUE, "-"))
            if points[0]["step"] is None:
                axes.axhline(
                    points[0]["mean"],
                    color=INK if line in ("floor", "ceiling") else colour,
                    linestyle=dash,
                    linewidth=1,
                    label=line,
                )
                continue
            steps = [row["step"] for row in points]
            bounds = []
            for name in ("mean", "low", "high"):
                bounds.append([np.nan if row[name] is None else row[name] for row in points])
            axes.plot(
                steps,
                bounds[0],
                color=colour,
                linestyle=dash,
                marker="o",
                markersize=2.5,
                label=line,
            )
            axes.fill_between(steps, bounds[1], bounds[2], color=colour, alpha=0.12, linewidth=0)
        axes.set_xscale("symlog", linthresh=1)
        if panel == "curvature":
            axes.set_yscale("symlog", linthresh=1)
        axes.set_ylabel(panel)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, handlelength=3)
    grid[-1].set_xlabel("optimiser step")
    return figure
