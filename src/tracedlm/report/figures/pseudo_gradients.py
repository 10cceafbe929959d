"""Pseudo-gradients of decoding beside the gradients of fine-tuning (EDIT Figures 1 and 7 to 11)."""

from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tracedlm.report.figures.style import BLUE, EARTH, INK, SAND, YELLOW
from tracedlm.report.layout import Row

SETTLED: dict[str, Any] = {"color": YELLOW, "markeredgecolor": INK, "zorder": 4}
ACROSS = 4
"""Blocks side by side; more go below."""


def pseudo_gradient_rows(table: pa.Table, summary: dict[str, Any]) -> list[Row]:
    """One row per sample, block and step.

    The pseudo-gradient of the summary's module, the band, and where the block settled.
    """
    band, steps = summary["bands"][summary["module"]], summary["steps"]
    settled = {
        (row["sample_id"], row["block"]): row["step"]
        for row in steps
        if row["module"] == summary["module"]
    }
    fixed: Row = {"sft_mean": band["mean"], "band_low": band["low"], "band_high": band["high"]}
    rows = [row for row in table.to_pylist() if row["module"] == summary["module"]]
    return [
        {**row, **fixed, "convergence_step": settled[row["sample_id"], row["block"]]}
        for row in sorted(rows, key=lambda row: (row["block"], row["sample_id"], row["block_step"]))
    ]


def draw_pseudo_gradients(rows: list[Any]) -> Figure:
    """One panel per block.

    A curve per sample, the band of fine-tuning, a triangle where a curve has entered it for good.
    """
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    down, across = -(-len(blocks) // ACROSS), min(ACROSS, len(blocks))
    figure = Figure(figsize=(1.2 + 2.4 * across, 0.8 + 2.4 * down), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for unused in grid.flat[len(blocks) :]:
        unused.set_axis_off()
    for axes, block in zip(grid.flat, blocks, strict=False):
        own = [row for row in rows if row["block"] == block]
        axes.set_yscale("log")
        axes.axhspan(
            max(own[0]["band_low"], 1e-300),
            own[0]["band_high"],
            color=SAND,
            linewidth=0,
            label="band of fine-tuning",
        )
        axes.axhline(
            own[0]["sft_mean"],
            color=EARTH,
            linestyle="--",
            linewidth=1,
            label="mean of fine-tuning",
        )
        for sample in dict.fromkeys(row["sample_id"] for row in own):
            curve = [row for row in own if row["sample_id"] == sample]
            axes.plot(
                [row["block_step"] for row in curve],
                [row["rms"] or None for row in curve],
                color=BLUE,
                alpha=0.7,
                linewidth=1.1,
            )
            at = [row for row in curve if row["block_step"] == row["convergence_step"]]
            axes.plot([row["block_step"] for row in at], [row["rms"] for row in at], "v", **SETTLED)
        axes.set_title(f"block {block + 1}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    seen = [value for row in rows for value in (row["rms"], row["sft_mean"]) if value > 0]
    grid[0, 0].set_ylim(min(seen) / 3, max([*seen, rows[0]["band_high"]]) * 3)
    for axes in grid[:, 0]:
        axes.set_ylabel("RMS of the gradient")
    for axes in grid[-1]:
        axes.set_xlabel("step in the block")
    handles = dict(zip(*reversed(grid[0, 0].get_legend_handles_labels()), strict=True))
    curves = {(row["sample_id"], row["block"]): row["convergence_step"] for row in rows}
    settled = sum(step is not None for step in curves.values())
    handles[f"in the band from here on ({settled} of {len(curves)} curves)"] = Line2D(
        [], [], marker="v", linestyle="none", **SETTLED
    )
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure
