"""One look for all figures.

Type, lines, and Okabe and Ito's colours, which every kind of colour vision tells apart.
"""

from typing import Any

BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
YELLOW = "#f0e442"
INK = "#222222"
GREY = "#777777"
MASKED = "#dcdcd8"
SAND, EARTH = "#f1ead8", "#7a6a3a"
"""A shaded range, and what is written or drawn on it."""

PROJECTIONS = {"q": (VERMILION, "-"), "k": (GREEN, "--"), "v": (BLUE, ":")}
"""Colour and line of a projection."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e0",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#55555a",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,
    "savefig.dpi": 160,
}
"""For `matplotlib.rc_context`."""
