"""How alike the maps of different modules and variants are."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracedlm.report.layout import Row

SHOWN = {"cosine": (0.0, 1.0, "Blues"), "correlation": (-1.0, 1.0, "RdBu_r")}
"""Statistic -> limits and colours."""


def draw_maps(rows: list[Row]) -> Figure:
    """Two matrices, cosine and correlation, of the row-energy maps of LoRA-B."""
    chosen: list[Any] = [row for row in rows if not any(word in f"{row['module']} {row['against']}" for word in ("(A)", "mean"))]
    names = sorted(dict.fromkeys(str(row["module"]) for row in chosen), key=lambda name: "qkv".index(name[0]))
    figure = Figure(figsize=(2.6 + 0.62 * len(names), 2.2 + 0.26 * len(names)), layout="constrained")
    for axes, (statistic, (low, high, colours)) in zip(figure.subplots(1, 2, sharey=True), SHOWN.items(), strict=True):
        image = np.full((len(names), len(names)), np.nan)
        for row in chosen:
            if row[statistic] is not None:
                image[names.index(row["module"]), names.index(row["against"])] = row[statistic]
        drawn = axes.imshow(image, vmin=low, vmax=high, cmap=colours, aspect="auto")
        _label(axes, names, image, 0.6 * high)
        axes.set_title(statistic)
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure


def _label(axes: Axes, names: list[str], image: np.ndarray, dark: float) -> None:
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    for (i, j), value in np.ndenumerate(image):
        if np.isfinite(value):
            axes.text(
                j, i, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=5, color="white" if abs(value) > dark else "black"
            )
