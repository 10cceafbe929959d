"""Accuracy against forwards, and the gradients of fine-tuning."""

from collections import Counter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracedlm.report.layout import Row

MARKERS = {"full": ("o", "#222222"), "skip_noop": ("s", "#7b5ea7"), "rad": ("D", "#c0392b"), "random": ("^", "#3a8a5f")}
OTHER = (("v", "#b8860b"), ("P", "#2b8a8a"), ("X", "#8a2b6b"))
LINE = "#2b5d8a"


def draw_pareto(rows: list[Any]) -> Figure:
    """One panel per dataset (across) and canvas length (down); `truncate` is the line to beat."""
    datasets, lengths = (list(dict.fromkeys(row[key] for row in rows)) for key in ("dataset", "seq_len"))
    figure = Figure(figsize=(max(5.2, 0.8 + 3.6 * len(datasets)), 0.9 + 2.8 * len(lengths)), layout="constrained")
    grid = figure.subplots(len(lengths), len(datasets), squeeze=False)
    for line, length in enumerate(lengths):
        for column, dataset in enumerate(datasets):
            axes = grid[line, column]
            _accuracies(axes, [row for row in rows if row["dataset"] == dataset and row["seq_len"] == length])
            axes.set_title(f"{dataset}, {length} tokens")
            if column == 0:
                axes.set_ylabel("puzzles solved (%)")
            if line == len(lengths) - 1:
                axes.set_xlabel("mean forwards per sample")
    handles = {label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    return figure


def _accuracies(axes: Axes, rows: list[Any]) -> None:
    """Points of runs with equal forwards are moved apart, so that each shows its interval."""
    line = sorted((row for row in rows if row["rule"] in ("truncate", "full")), key=lambda row: row["forwards"])
    axes.plot(
        [row["forwards"] for row in line],
        [100 * row["accuracy"] for row in line],
        color=LINE,
        label="truncate (fewer fixed steps)",
        zorder=2,
    )
    other = iter(OTHER * 5)
    styles = {"truncate": (".", LINE)}
    dodge = 0.012 * max(row["forwards"] for row in rows)
    places: Counter[float] = Counter()
    for row in rows:
        rule = row["rule"]
        beside = 0.0
        if rule not in ("truncate", "full"):  # these are the line
            beside = dodge * (-1, 1, -2, 2)[places[round(row["forwards"])] % 4]
            places[round(row["forwards"])] += 1
        styles.setdefault(rule, MARKERS.get(rule) or next(other))
        marker, color = styles[rule]
        point = 100 * row["accuracy"]
        whiskers = [[max(0.0, point - 100 * row["low"])], [max(0.0, 100 * row["high"] - point)]]
        axes.errorbar(
            row["forwards"] + beside,
            point,
            yerr=whiskers,
            fmt=marker,
            color=color,
            markersize=5,
            elinewidth=0.8,
            capsize=2,
            label=None if rule == "truncate" else rule,
            zorder=4 if rule == "rad" else 3,
            markerfacecolor="none" if rule == "skip_noop" else color,
        )
    axes.set_xlim(left=0)
    axes.set_ylim(-3, 103)


def gradient_rows(log: list[dict[str, Any]]) -> list[Row]:
    """Gradient RMS of the last layer's LoRA-B, and the loss, at each optimiser step."""
    last = max(int(entry["module"].split(".")[0]) for entry in log)
    chosen = [entry for entry in log if entry["module"].startswith(f"{last}.") and entry["module"].endswith(".B")]
    return [
        {"step": entry["step"], "layer": last, "projection": entry["module"].split(".")[1], "rms": entry["rms"], "loss": entry["loss"]}
        for entry in sorted(chosen, key=lambda entry: (entry["step"], entry["module"]))
    ]


def draw_gradients(rows: list[Any]) -> Figure:
    """Gradients above, loss below, over optimiser steps."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    size = 3 if len({row["step"] for row in rows}) <= 20 else 0
    for projection, color in zip(("q", "k", "v"), ("#c0392b", "#3a8a5f", "#2b5d8a"), strict=True):
        chosen = [row for row in rows if row["projection"] == projection]
        upper.plot(
            [row["step"] for row in chosen],
            [row["rms"] for row in chosen],
            color=color,
            label=projection,
            marker="o",
            markersize=size,
            linewidth=1.2,
        )
    upper.set_ylabel(f"gradient RMS, LoRA-B, block {rows[0]['layer']}")
    upper.set_yscale("log")
    figure.legend(ncols=3, loc="outside upper center")
    loss = {row["step"]: row["loss"] for row in rows}
    lower.plot(list(loss), list(loss.values()), color="#222222", linewidth=1.2, marker="o", markersize=size)
    lower.set_ylabel("loss (nats per token)")
    lower.set_xlabel("optimiser step")
    lower.xaxis.get_major_locator().set_params(integer=True)
    return figure
