"""How rows become a table: what is shown of a row, pivoting, the best in bold.

LaTeX and HTML render the same `Grid`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
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
        body = []
        for row in shown:
            body.append([Cell(column.show(row), column.numeric) for column in spec.columns])
        numeric = tuple(column.numeric for column in spec.columns)
    else:
        heads, body, numeric = _pivoted(spec, spec.pivot, shown)
    merged = sum(column.merge for column in spec.columns)
    # A group begins where one of the first two stubs changes.
    starts = []
    for n in range(1, len(body)):
        stubs = [cell.text for cell in body[n][: min(merged, 2)]]
        stubs_above = [cell.text for cell in body[n - 1][: min(merged, 2)]]
        if stubs != stubs_above:
            starts.append(n)
    # Groups of one row each would put a line under every row.
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
    first = list(grid.body[begin])
    for column in range(len(grid.numeric)):
        if first[column].text:
            break
        rows_above = reversed(grid.body[:begin])
        first[column] = next(row[column] for row in rows_above if row[column].text)
    groups = frozenset(group - begin for group in grid.groups if begin < group < end)
    named = replace(grid, name=f"{grid.name}-{begin}", caption=f"{grid.title}, continued.")
    return replace(named, body=[first, *grid.body[begin + 1 : end]], groups=groups)


def _pivoted(
    spec: Spec, pivot: Pivot, rows: list[Row]
) -> tuple[list[list[tuple[str, int]]], list[list[Cell]], tuple[bool, ...]]:
    # A place is a column: its values of the pivot's keys, outermost first.
    rows_of: dict[tuple[str, ...], dict[Any, Row]] = {}
    places: dict[tuple[Any, ...], None] = {}
    for row in rows:
        stub = tuple(column.show(row) for column in spec.columns)
        place = tuple(row[key] for key in pivot.keys)
        rows_of.setdefault(stub, {})[place] = row
        places[place] = None
    # Columns of one outermost value stand together, in the order of its first row.
    outermost = list(dict.fromkeys(place[0] for place in places))
    columns = sorted(places, key=lambda place: outermost.index(place[0]))
    body = []
    for stub, row_at in rows_of.items():
        values = [row[pivot.best] for row in row_at.values()] if pivot.best else []
        best = max((value for value in values if isinstance(value, int | float)), default=0)
        cells = [
            Cell(stub_text, column.numeric)
            for stub_text, column in zip(stub, spec.columns, strict=True)
        ]
        cells += [_pivot_cell(pivot, row_at.get(place), best) for place in columns]
        body.append(cells)
    heads = []
    for depth, key in enumerate(pivot.keys):
        is_last = depth == len(pivot.keys) - 1
        head = [(column.head if is_last else "", 1) for column in spec.columns]
        for prefix, same in groupby(columns, key=lambda place: place[: depth + 1]):
            head.append((pivot.heads(key, prefix[-1]), len(list(same))))
        heads.append(head)
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
