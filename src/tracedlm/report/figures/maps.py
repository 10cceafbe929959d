"""How alike maps are, and where the updates behind them are large.

Maps of modules, variants and tasks.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tracedlm.report.layout import Row

SHOWN = {"cosine": (0.0, 1.0, "Blues"), "correlation": (-1.0, 1.0, "RdBu_r")}
"""Statistic -> limits and colours."""


def draw_maps(rows: list[Row]) -> Figure:
    """Two matrices, cosine and correlation, of the row-energy maps of LoRA-B."""
    chosen: list[Any] = []
    for row in rows:
        pair = f"{row['module']} {row['against']}"
        if "(A)" not in pair and "mean" not in pair:
            chosen.append(row)
    names = sorted(
        dict.fromkeys(str(row["module"]) for row in chosen), key=lambda name: "qkv".index(name[0])
    )
    figure = Figure(
        figsize=(2.6 + 0.62 * len(names), 2.2 + 0.26 * len(names)), layout="constrained"
    )
    for axes, (statistic, (low, high, colours)) in zip(
        figure.subplots(1, 2, sharey=True), SHOWN.items(), strict=True
    ):
        image = np.full((len(names), len(names)), np.nan)
        for row in chosen:
            if row[statistic] is not None:
                image[names.index(row["module"]), names.index(row["against"])] = row[statistic]
        drawn = axes.imshow(image, vmin=low, vmax=high, cmap=colours, aspect="auto")
        _label(axes, names, image, 0.6 * high)
        axes.set_title(statistic)
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure


def task_similarity_rows(record: dict[str, Any] | None) -> list[Row]:
    """Cosine, correlation and largest principal angle of every pair of runs' maps.

    By projection (`task_maps/similarity.json`).
    """
    if record is None:
        return [{"reason": "ablation.tasks is empty: no fine-tuning on single tasks"}]
    maps = record["maps"]
    runs = record["runs"]
    maps_per_run = len(maps) // len(runs)
    rows: list[Row] = []
    for i, rrm in enumerate(maps):
        for j, other_rrm in enumerate(maps):
            if rrm["projection"] != other_rrm["projection"]:
                continue
            rows.append(
                {
                    "projection": rrm["projection"],
                    "run": runs[i // maps_per_run],
                    "against": runs[j // maps_per_run],
                    "cosine": record["cosine"][i][j],
                    "correlation": record["correlation"][i][j],
                    "angle": record["angle"][i][j],
                    "chance": record["chance"],
                }
            )
    return rows


def draw_task_similarity(rows: list[Any]) -> Figure:
    """Cosine above, correlation below, a matrix of runs for each projection.

    Runs of one task stand side by side.
    """
    runs = list(dict.fromkeys(row["run"] for row in rows))
    projections = list(dict.fromkeys(row["projection"] for row in rows))
    names = [_run_title(run) for run in runs]
    size = 1.5 + 0.36 * len(runs)
    figure = Figure(figsize=(1.5 + size * len(projections), 1.0 + 2 * size), layout="constrained")
    grid = figure.subplots(2, len(projections), squeeze=False, sharex=True, sharey=True)
    for line, (statistic, (low, high, colours)) in zip(grid, SHOWN.items(), strict=True):
        for axes, projection in zip(line, projections, strict=True):
            image = np.full((len(runs), len(runs)), np.nan)
            for row in rows:
                if row["projection"] == projection and row[statistic] is not None:
                    image[runs.index(row["run"]), runs.index(row["against"])] = row[statistic]
            drawn = axes.imshow(image, vmin=low, vmax=high, cmap=colours, aspect="auto")
            _label(axes, names, image, 0.6 * high)
            axes.set_title(f"{statistic}, {projection}")
        figure.colorbar(drawn, ax=list(line), shrink=0.8)
    return figure


def magnitude_rows(tables: list[pa.Table]) -> list[Row]:
    """Every cell of the update grids, run by run."""
    rows = [row for table in tables for row in table.to_pylist()]
    return rows or [{"reason": "the map's source holds finished maps: there are no updates"}]


def draw_magnitudes(rows: list[Any]) -> Figure:
    """The grid of LoRA-B beside that of LoRA-A, one line a run.

    One scale of colours for all, so that they compare.
    """
    runs, matrices = (
        list(dict.fromkeys(row["run"] for row in rows)),
        sorted({row["module"][-1] for row in rows}, reverse=True),
    )
    figure = Figure(
        figsize=(1.6 + 3.0 * len(matrices), 0.9 + 2.5 * len(runs)), layout="constrained"
    )
    grid = figure.subplots(len(runs), len(matrices), squeeze=False)
    largest = max(row["magnitude"] for row in rows)
    for line, run in zip(grid, runs, strict=True):
        for axes, matrix in zip(line, matrices, strict=True):
            own = [row for row in rows if row["run"] == run and row["module"].endswith(matrix)]
            image = np.full(
                (1 + max(row["row"] for row in own), 1 + max(row["column"] for row in own)), np.nan
            )
            for row in own:
                image[row["row"], row["column"]] = row["magnitude"]
            drawn = axes.imshow(
                image, vmin=0, vmax=largest, cmap="cividis", aspect="auto", interpolation="nearest"
            )
            axes.set_title(
                f"{_run_title(run)}: block {own[0]['module'].split('.')[0]}, q, LoRA-{matrix}"
            )
            axes.grid(False)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel("cell, column")
    figure.supylabel("cell, row")
    figure.colorbar(drawn, ax=grid, shrink=0.8, label="mean magnitude of the update")
    return figure


def _run_title(run: str) -> str:
    """What a run is called: the study's, or by the task it was fine-tuned on.

    >>> _run_title("study"), _run_title("sudoku-0"), _run_title("sudoku-1")
    ('study', 'sudoku', 'sudoku, again')
    """
    task, _, number = run.rpartition("-")
    return (
        run
        if not task
        else {"0": task, "1": f"{task}, again"}.get(number, f"{task}, again ({number})")
    )


def _label(axes: Axes, names: list[str], image: np.ndarray, dark: float) -> None:
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    for (i, j), value in np.ndenumerate(image):
        if np.isfinite(value):
            axes.text(
                j,
                i,
                f"{round(value, 2) + 0.0:.2f}",
                ha="center",
                va="center",
                fontsize=5,
                color="white" if abs(value) > dark else "black",
            )
