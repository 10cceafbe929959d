"""Accuracy against forwards, and the gradients of fine-tuning."""

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from tracedlm.report.evidence import Evidence
from tracedlm.report.figures.style import BLUE, GREEN, GREY, INK, PROJECTIONS, VERMILION
from tracedlm.report.layout import Row
from tracedlm.report.tables.equal_cost import BASELINES
from tracedlm.report.tables.exits import cost_rows
from tracedlm.theory.parallelism import pareto_front

MAP = VERMILION
CERTAINTY = BLUE
COMMIT = GREEN
PLAIN = INK
"""Colours tell apart what a rule looks at; markers tell apart the rules."""
STYLES = {
    "full": ("o", PLAIN),
    "skip_noop": ("s", PLAIN),
    "rad": ("D", MAP),
    "subspace": ("s", MAP),
    "subspace_norm": ("p", MAP),
    "token_freeze": ("*", MAP),
    "rank_softmax": ("P", MAP),
    "prophet": ("^", CERTAINTY),
    "sched": ("v", CERTAINTY),
    "stable_confident": ("h", CERTAINTY),
    "klass": ("X", COMMIT),
    "threshold": (">", COMMIT),
    "factor": ("<", COMMIT),
    "entropy_bound": ("d", COMMIT),
}
"""Marker and colour of each rule.

Read from a map, from the certainty of predictions, or committing by it; another shows its letter.
"""
LINE, CHANCE = GREY, "#999999"


def pareto_rows(evidence: Evidence) -> list[Row]:
    """Accuracy and forwards of every run.

    `on_front` is 1 where no run of the set solves as many for less, or more for as much.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        front = pareto_front(
            np.array([run.forwards for run in one.runs]),
            np.array([run.accuracy for run in one.runs]),
        )
        shown = (
            "dataset",
            "seq_len",
            "rule",
            "run",
            "label",
            "n",
            "accuracy",
            "low",
            "high",
            "forwards",
        )
        for cost_row, on_front in zip(cost_rows(one), front, strict=True):
            row: Row = {key: cost_row[key] for key in shown}
            row["on_front"] = int(on_front)
            rows.append(row)
    return rows


def draw_pareto(rows: list[Any]) -> Figure:
    """One panel per dataset (across) and canvas length (down); `truncate` is the line to beat."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    lengths = list(dict.fromkeys(row["seq_len"] for row in rows))
    figure = Figure(
        figsize=(max(6.4, 0.8 + 4.0 * len(datasets)), 1.3 + 3.1 * len(lengths)),
        layout="constrained",
    )
    grid = figure.subplots(len(lengths), len(datasets), squeeze=False)
    for line, length in enumerate(lengths):
        for column, dataset in enumerate(datasets):
            axes = grid[line, column]
            _accuracies(
                axes,
                [row for row in rows if row["dataset"] == dataset and row["seq_len"] == length],
            )
            axes.set_title(f"{dataset}, {length} tokens")
            if column == 0:
                axes.set_ylabel("problems solved (%)")
            if line == len(lengths) - 1:
                axes.set_xlabel("mean forwards per sample")
    handles = {
        label: handle
        for axes in grid.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    order = sorted(handles, key=lambda label: [*STYLES, label].index(label))
    figure.legend(
        [handles[label] for label in order],
        order,
        loc="outside lower center",
        ncols=-(-len(order) // -(-len(order) // 5)),
    )
    return figure


def _accuracies(axes: Axes, rows: list[Any]) -> None:
    """A rule's first setting is filled, its others are hollow and joined to it.

    Rings mark the front.
    """
    axes.set_xscale("log", base=2)
    _baselines(axes, rows)
    places = _beside(rows)
    for rule in dict.fromkeys(row["rule"] for row in rows if row["rule"] not in BASELINES):
        marker, color = STYLES.get(rule, (f"${rule[0]}$", PLAIN))
        own = [(place, row) for place, row in zip(places, rows, strict=True) if row["rule"] == rule]
        for place, row in own:
            face = color if row["run"] == 1 and rule != "skip_noop" else "none"
            style: dict[str, Any] = {
                "markersize": 8 if marker in "*P" else 6,
                "markerfacecolor": face,
                "markeredgewidth": 0.9,
            }
            name = rule if row["run"] == 1 else None
            axes.plot(
                place,
                100 * row["accuracy"],
                marker=marker,
                color=color,
                linestyle="none",
                label=name,
                zorder=5,
                **style,
            )
        path = sorted((place, 100 * row["accuracy"]) for place, row in own)
        axes.plot(*zip(*path, strict=True), color=color, linewidth=0.7, alpha=0.6, zorder=3)
    front = [
        (place, 100 * row["accuracy"])
        for place, row in zip(places, rows, strict=True)
        if row["on_front"]
    ]
    axes.scatter(
        *zip(*front, strict=True),
        s=110,
        facecolors="none",
        edgecolors="black",
        linewidths=0.9,
        zorder=6,
        label="on the front",
    )
    axes.set_ylim(-4, 104)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _baselines(axes: Axes, rows: list[Any]) -> None:
    """The lines of `truncate`, which ends in full decoding, with its interval, and of `random`."""
    line = sorted(
        (row for row in rows if row["rule"] in BASELINES["truncate"]),
        key=lambda row: row["forwards"],
    )
    forwards = [row["forwards"] for row in line]
    low = [100 * row["low"] for row in line]
    high = [100 * row["high"] for row in line]
    axes.fill_between(forwards, low, high, color=LINE, alpha=0.13, linewidth=0, zorder=1)
    solved = [100 * row["accuracy"] for row in line]
    axes.plot(
        forwards,
        solved,
        color=LINE,
        marker=".",
        markersize=4,
        label="truncate (fewer even steps)",
        zorder=2,
    )
    chance = sorted(
        (row["forwards"], 100 * row["accuracy"]) for row in rows if row["rule"] == "random"
    )
    if chance:
        axes.plot(
            *zip(*chance, strict=True),
            color=CHANCE,
            marker="x",
            markersize=5,
            linestyle="--",
            label="random stops",
            zorder=2,
        )


def _beside(rows: list[Any]) -> list[float]:
    """Where to draw each run.

    Rules that coincide are moved apart, baselines stay where they are.
    """
    taken: Counter[tuple[int, int]] = Counter()
    places = []
    for row in rows:
        spot = (round(40 * np.log2(row["forwards"]) / 4), round(100 * row["accuracy"] / 4))
        moved = (
            0
            if row["rule"] in ("full", *BASELINES)
            else (taken[spot] + 1) // 2 * (-1) ** taken[spot]
        )
        taken[spot] += row["rule"] not in ("full", *BASELINES)
        places.append(row["forwards"] * 2 ** (0.07 * moved))
    return places


def gradient_rows(log: list[dict[str, Any]]) -> list[Row]:
    """Gradient RMS of the last layer's LoRA-B, and the loss, at each optimiser step."""
    if not log:
        return [
            {"reason": "model.adapter was fine-tuned elsewhere: there is no log of its gradients"}
        ]
    last = max(int(entry["module"].split(".")[0]) for entry in log)
    chosen = [
        entry
        for entry in log
        if entry["module"].startswith(f"{last}.") and entry["module"].endswith(".B")
    ]
    return [
        {
            "step": entry["step"],
            "layer": last,
            "projection": entry["module"].split(".")[1],
            "rms": entry["rms"],
            "loss": entry["loss"],
        }
        for entry in sorted(chosen, key=lambda entry: (entry["step"], entry["module"]))
    ]


def draw_gradients(rows: list[Any]) -> Figure:
    """Gradients above, loss below, over optimiser steps."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    size = 3 if len({row["step"] for row in rows}) <= 20 else 0
    for projection, (color, line) in PROJECTIONS.items():
        chosen = [row for row in rows if row["projection"] == projection]
        upper.plot(
            [row["step"] for row in chosen],
            [row["rms"] for row in chosen],
            color=color,
            linestyle=line,
            label=projection,
            marker="o",
            markersize=size,
            linewidth=1.2,
        )
    upper.set_ylabel(f"gradient RMS, LoRA-B, block {rows[0]['layer']}")
    upper.set_yscale("log")
    figure.legend(ncols=3, loc="outside upper center")
    loss = {row["step"]: row["loss"] for row in rows}
    lower.plot(
        list(loss), list(loss.values()), color=INK, linewidth=1.2, marker="o", markersize=size
    )
    lower.set_ylabel("loss (nats per token)")
    lower.set_xlabel("optimiser step")
    lower.xaxis.get_major_locator().set_params(integer=True)
    return figure
