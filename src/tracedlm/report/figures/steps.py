"""What happens from step to step.

Stability statistics of a set of samples, similarities of one sample.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tracedlm.report.figures.style import BLUE, EARTH, MASKED, SAND
from tracedlm.report.layout import Row

STATISTICS = {"kl": "$D_t$ (nats)", "margin": "margin $m_t$", "concentration": "AC$_t$"}


def stability_rows(tables: dict[str, pa.Table]) -> list[Row]:
    """Median and quartiles over samples of each statistic at each step.

    Null where no sample has it.
    """
    rows: list[Row] = []
    for dataset, table in tables.items():
        steps = np.array(table["step"].to_pylist())
        phases = dict(zip(steps.tolist(), table["phase"].to_pylist(), strict=True))
        for statistic in STATISTICS:
            values = np.array(table[statistic].to_pylist(), dtype=float)
            for step in sorted(phases):
                at = values[steps == step]
                defined = at[~np.isnan(at)]
                low, median, high = (
                    (float(value) for value in np.quantile(defined, [0.25, 0.5, 0.75]))
                    if len(defined)
                    else (None, None, None)
                )
                counts: Row = {
                    "n": len(defined),
                    "undefined": len(at) - len(defined),
                    "zeros": int((defined == 0).sum()),
                }
                where: Row = {
                    "dataset": dataset,
                    "statistic": statistic,
                    "step": step,
                    "phase": phases[step],
                }
                rows.append(
                    {
                        **where,
                        "median": median,
                        "lower_quartile": low,
                        "upper_quartile": high,
                        **counts,
                    }
                )
    return rows


def draw_stability(rows: list[Row]) -> Figure:
    """One column per dataset, one row per statistic."""

    def panel(axes: Axes, statistic: str, chosen: list[Row]) -> None:
        _band(axes, chosen, logarithmic=statistic != "concentration")
        if statistic == "concentration":
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))

    return _panels(rows, STATISTICS, 6.2, panel)


def draw_temperature(rows: list[Row]) -> Figure:
    """One column per dataset, one row per statistic, one line per readout temperature."""
    taus: list[Any] = sorted({row["tau"] for row in rows})  # type: ignore[type-var]

    def panel(axes: Axes, statistic: str, chosen: list[Row]) -> None:
        for tau, shade in zip(taus, np.linspace(0.9, 0.35, len(taus)), strict=True):
            curve: list[Any] = [row for row in chosen if row["tau"] == tau]
            # Undefined, or 0, which a logarithm has no place for.
            medians = [row["median"] or np.nan for row in curve]
            axes.plot(
                [row["step"] for row in curve],
                medians,
                color=BLUE,
                alpha=shade,
                label=f"tau = {tau:g}",
            )
        axes.set_yscale("log")
        _shade(axes, chosen)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    figure = _panels(
        rows, {statistic: STATISTICS[statistic] for statistic in ("kl", "margin")}, 4.4, panel
    )
    figure.axes[0].legend(fontsize=7)
    return figure


def _panels(
    rows: list[Row],
    shown: Mapping[str, str],
    height: float,
    panel: Callable[[Axes, str, list[Row]], None],
) -> Figure:
    datasets = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    figure = Figure(figsize=(1.2 + 3.4 * len(datasets), height), layout="constrained")
    grid = figure.subplots(len(shown), len(datasets), sharex="col", sharey="row", squeeze=False)
    for column, dataset in enumerate(datasets):
        for line, (statistic, label) in enumerate(shown.items()):
            panel(
                grid[line, column],
                statistic,
                [
                    row
                    for row in rows
                    if row["dataset"] == dataset and row["statistic"] == statistic
                ],
            )
            grid[line, 0].set_ylabel(label)
        grid[0, column].set_title(dataset)
        grid[-1, column].set_xlabel("step (forward)")
    figure.align_ylabels(grid[:, 0])
    return figure


def _shade(axes: Axes, rows: list[Row]) -> None:
    """Mark the refine steps."""
    refine = []
    for row in rows:
        if row["phase"] == "refine":
            refine.append(float(row["step"]))  # type: ignore[arg-type]
    if refine:
        axes.axvspan(min(refine) - 0.5, max(refine) + 0.5, color=SAND, zorder=0, linewidth=0)
        axes.annotate(
            "refine",
            (min(refine) - 0.3, 0.98),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=7,
            color=EARTH,
        )


def _band(axes: Axes, rows: list[Row], logarithmic: bool) -> None:
    """Median with its quartiles; a step without values is a gap, a median of 0 a mark on the axis.

    Refine steps are shaded.
    """
    step = np.array([row["step"] for row in rows], dtype=float)
    low = np.array([row["lower_quartile"] for row in rows], dtype=float)
    median = np.array([row["median"] for row in rows], dtype=float)
    high = np.array([row["upper_quartile"] for row in rows], dtype=float)
    if logarithmic:
        axes.set_yscale("log", nonpositive="clip")
        zero = median == 0
        axes.plot(
            step[zero],
            np.full(zero.sum(), 0.015),
            "v",
            color=BLUE,
            markersize=4,
            transform=axes.get_xaxis_transform(),
        )
        median = np.where(zero, np.nan, median)
    axes.fill_between(step, low, high, color=BLUE, alpha=0.22, linewidth=0)
    axes.plot(step, median, color=BLUE, marker="o", markersize=2)
    _shade(axes, rows)
    axes.set_xlim(step.min() - 0.5, step.max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def similarity_rows(tables: dict[str, pa.Table]) -> list[Row]:
    """Similarities of the first sample of each dataset, one row per visible position and step."""
    rows: list[Row] = []
    for dataset, table in tables.items():
        length = int(table.schema.metadata[b"gen_length"])
        first = min(table["sample_id"].to_pylist())
        steps = sorted(
            (row for row in table.to_pylist() if row["sample_id"] == first),
            key=lambda row: row["step"],
        )
        for row in steps:
            where: Row = {
                "dataset": dataset,
                "sample_id": first,
                "canvas": length,
                "step": row["step"],
                "block": row["block"],
                "phase": row["phase"],
            }
            rows += [
                {**where, "position": int(at), "similarity": float(value)}
                for at, value in zip(row["position"], row["similarity"], strict=True)
            ]
            if not row["position"]:
                rows.append({**where, "position": None, "similarity": None})
    return rows


def draw_similarity(rows: list[Row]) -> Figure:
    """Positions over steps, one panel per dataset; what is masked is blank, on grey."""
    datasets = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    figure = Figure(figsize=(1 + 4.2 * len(datasets), 4.2), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        _heat_map(figure, axes, [row for row in rows if row["dataset"] == dataset])
        axes.set_title(dataset)
    return figure


def _heat_map(figure: Figure, axes: Axes, rows: list[Any]) -> None:
    last, length = max(row["step"] for row in rows), rows[0]["canvas"]
    image = np.full((length, last), np.nan)
    for row in rows:
        if row["position"] is not None:
            image[row["position"], row["step"] - 1] = row["similarity"]
    limit = float(np.nanmax(np.abs(image))) if np.isfinite(image).any() else 1.0
    drawn = axes.imshow(
        image,
        aspect="auto",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        extent=(0.5, last + 0.5, length - 0.5, -0.5),
        interpolation="nearest",
    )
    blocks = dict(sorted((row["step"], row["block"]) for row in rows))
    count = max(blocks.values()) + 1
    for before, after in pairwise(blocks):
        if blocks[before] != blocks[after]:
            refine = blocks[after] < 0
            axes.axvline(
                after - 0.5,
                color="black",
                linewidth=1.4 if refine else 0.7,
                linestyle="-" if refine else (0, (3, 2)),
            )
    for border in range(1, count):
        axes.axhline(
            border * length / count - 0.5, color="black", linewidth=0.7, linestyle=(0, (3, 2))
        )
    axes.grid(False)
    axes.set_facecolor(MASKED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step (forward)")
    axes.set_ylabel("response position")
    figure.colorbar(drawn, ax=axes, label="similarity to the map", shrink=0.9)
