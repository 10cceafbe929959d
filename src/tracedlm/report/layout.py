"""How rows become a table: what is shown of a row, pivoting, the best in bold.

LaTeX and HTML render the same `Grid`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, takewhile
from typing import Any

Value = str | float | int | bool | None
Row = dict[str, Value]
UNDEFINED = "--"


@dataclass(frozen=True)
class Column:
    """A shown column: its head and what it shows of a row.

    `merge` leaves a cell blank that repeats the row above.
    """

    head: str
    show: Callable[[Row], str]
    numeric: bool = True
    merge: bool = False


@dataclass(frozen=True)
class Pivot:
    """Columns made from the values of `keys`, outermost first.

    `best` names the field whose row-wise maximum is bold.
    """

    keys: tuple[str, ...]
    show: Callable[[Row], str]
    heads: Callable[[str, Value], str] = lambda key, value: str(value)
    best: str | None = None


@dataclass(frozen=True)
class Spec:
    """A table: how its rows are made, and how they are shown.

    The .csv twin holds every field of every row.

    Attributes:
        name: File name without suffix.
        title: Short title.
        caption: What it shows and how to read it, from the rows.
        build: Rows from the evidence (of what the study took: from its folder), tidy: one measured
            quantity a row.
        columns: Shown columns; with a pivot, the ones that identify a row.
        pivot: Columns made from field values, or None.
        shown: Whether a row of the csv is shown.
        texts: Fields that hold text; all others hold numbers.
    """

    name: str
    title: str
    caption: Callable[[list[Row]], str]
    build: Callable[[Any], list[Row]]
    columns: tuple[Column, ...]
    pivot: Pivot | None = None
    shown: Callable[[Row], bool] = lambda row: True
    texts: frozenset[str] = frozenset(
        {
            "dataset",
            "rule",
            "label",
            "source",
            "method",
            "scorer",
            "bound",
            "readout",
            "statistic",
            "case",
            "verdict",
            "sentence",
            "against",
            "mark",
            "reason",
        }
    )


@dataclass(frozen=True)
class Cell:
    """One shown cell."""

    text: str
    numeric: bool = True
    bold: bool = False


@dataclass(frozen=True)
class Grid:
    """A table ready to be rendered.

    Heads as lists of (text, columns spanned), body cells, rows that start a group.
    """

    name: str
    title: str
    caption: str
    numeric: tuple[bool, ...]
    heads: list[list[tuple[str, int]]]
    body: list[list[Cell]]
    groups: frozenset[int]


def number(value: Value, kind: str) -> str:
    """The one way a number is printed: no more digits than a study of this size supports.

    Args:
        value: Number; None and text that stands for nothing print as `--`.
        kind: `count` (integer), `percent` (a share, in percent), `points` (signed percentage points
            of a share), `one`, `two` and `three` (decimals), `signed` (two decimals with sign), `p`
            (p-value), `small` (two significant digits, e.g. `1.7e-04`) or `setting` (as
            configured).

    >>> (
    ...     number(0.41667, "percent"),
    ...     number(-0.0625, "points"),
    ...     number(None, "count"),
    ...     number(1.75e-4, "small"),
    ... )
    ('41.7', '-6.2', '--', '1.7e-04')
    """
    if not isinstance(value, int | float):
        return UNDEFINED
    if kind == "count":
        return f"{value:.0f}"
    if kind == "percent":
        return f"{100 * value:.1f}"
    if kind == "points":
        return f"{100 * value:+.1f}" if round(100 * value, 1) else "0.0"
    if kind == "one":
        return f"{value:.1f}"
    if kind == "two":
        return f"{value:.2f}"
    if kind == "three":
        return f"{value:.3f}"
    if kind == "signed":
        return f"{value:+.2f}"
    if kind == "p":
        return f"{value:.3f}" if value >= 0.001 else "<0.001"
    if kind == "setting":
        return f"{value:g}"
    if kind == "small":
        return (
            "0"
            if not value
            else (
                f"{value:.1e}"
                if abs(value) < 0.01
                else f"{value:.2g}"
                if abs(value) < 1
                else f"{value:.2f}"
            )
        )
    raise AssertionError(kind)


def shows(field: str, kind: str) -> Callable[[Row], str]:
    """A number of the row."""
    return lambda row: number(row[field], kind)


def text(field: str) -> Callable[[Row], str]:
    """A text of the row."""
    return lambda row: UNDEFINED if row[field] is None else str(row[field])


def with_interval(field: str, low: str, high: str, kind: str) -> Callable[[Row], str]:
    """A number with its interval in brackets."""

    def show(row: Row) -> str:
        shown = number(row[field], kind)
        return (
            shown
            if row[low] is None or row[high] is None
            else f"{shown} [{number(row[low], kind)}, {number(row[high], kind)}]"
        )

    return show


def lay_out(spec: Spec, rows: list[Row]) -> Grid:
    """Choose, pivot and format the rows of a table's csv."""
    shown = [row for row in rows if spec.shown(row)]
    if spec.pivot is None:
        heads: list[list[tuple[str, int]]] = [[(column.head, 1) for column in spec.columns]]
        body = [
            [Cell(column.show(row), column.numeric) for column in spec.columns] for row in shown
        ]
        numeric = tuple(column.numeric for column in spec.columns)
    else:
        heads, body, numeric = _pivoted(spec, spec.pivot, shown)
    merged = sum(column.merge for column in spec.columns)
    starts = [
        n
        for n in range(1, len(body))
        if [cell.text for cell in body[n][: min(merged, 2)]]
        != [cell.text for cell in body[n - 1][: min(merged, 2)]]
    ]
    groups = frozenset(starts) if len(starts) < len(body) - 1 else frozenset()
    return Grid(
        spec.name,
        spec.title,
        caption=spec.caption(rows),
        numeric=numeric,
        heads=heads,
        body=_without_repeats(body, merged),
        groups=groups,
    )


def pages(grid: Grid, longest: int = 46) -> list[Grid]:
    """The grid in parts of at most `longest` rows, as many as a printed page holds.

    Cut between groups where there are any.
    """
    borders = [*(sorted(grid.groups) or range(1, len(grid.body))), len(grid.body)]
    cuts = [0]
    for last, border in pairwise([0, *borders]):
        if border - cuts[-1] > longest and last > cuts[-1]:
            cuts.append(last)
    return [_page(grid, begin, end) for begin, end in pairwise([*cuts, len(grid.body)])]


def _page(grid: Grid, begin: int, end: int) -> Grid:
    """Rows begin..end.

    A later part is named by its first row, and repeats the stubs that this row left blank.
    """
    if begin == 0:
        return replace(
            grid,
            body=grid.body[:end],
            groups=frozenset(group for group in grid.groups if group < end),
        )
    blank = takewhile(lambda place: not grid.body[begin][place].text, range(len(grid.numeric)))
    above = [
        next(row[place] for row in reversed(grid.body[:begin]) if row[place].text)
        for place in blank
    ]
    first = [*above, *grid.body[begin][len(above) :]]
    groups = frozenset(group - begin for group in grid.groups if begin < group < end)
    named = replace(grid, name=f"{grid.name}-{begin}", caption=f"{grid.title}, continued.")
    return replace(named, body=[first, *grid.body[begin + 1 : end]], groups=groups)


def _pivoted(
    spec: Spec, pivot: Pivot, rows: list[Row]
) -> tuple[list[list[tuple[str, int]]], list[list[Cell]], tuple[bool, ...]]:
    places = list(dict.fromkeys(tuple(row[key] for key in pivot.keys) for row in rows))
    places = [
        place
        for first in dict.fromkeys(place[0] for place in places)
        for place in places
        if place[0] == first
    ]
    by_stub: dict[tuple[str, ...], dict[Any, Row]] = {}
    for row in rows:
        stub = tuple(column.show(row) for column in spec.columns)
        by_stub.setdefault(stub, {})[tuple(row[key] for key in pivot.keys)] = row
    body = []
    for stub, found in by_stub.items():
        values = [row[pivot.best] for row in found.values()] if pivot.best else []
        best = max((value for value in values if isinstance(value, int | float)), default=0)
        cells = [_pivot_cell(pivot, found.get(place), best) for place in places]
        body.append(
            [
                *(
                    Cell(shown, column.numeric)
                    for shown, column in zip(stub, spec.columns, strict=True)
                ),
                *cells,
            ]
        )
    heads = []
    for depth, key in enumerate(pivot.keys):
        last = depth == len(pivot.keys) - 1
        spans = [
            (pivot.heads(key, value[-1]), len(list(same)))
            for value, same in groupby(place[: depth + 1] for place in places)
        ]
        heads.append([*((column.head if last else "", 1) for column in spec.columns), *spans])
    return heads, body, (*(column.numeric for column in spec.columns), *(True for _ in places))


def _pivot_cell(pivot: Pivot, row: Row | None, best: float) -> Cell:
    if row is None:
        return Cell(UNDEFINED)
    value = row[pivot.best] if pivot.best else None
    return Cell(pivot.show(row), bold=isinstance(value, int | float) and value == best > 0)


def _without_repeats(body: list[list[Cell]], stubs: int) -> list[list[Cell]]:
    """Blank the leading stub cells that repeat the row above."""
    thinned = []
    for n, cells in enumerate(body):
        repeats = 0
        while n and repeats < stubs and cells[repeats].text == body[n - 1][repeats].text:
            repeats += 1
        thinned.append([*(Cell("", cell.numeric) for cell in cells[:repeats]), *cells[repeats:]])
    return thinned
