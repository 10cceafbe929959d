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
        columns: Shown columns. With a pivot they are the ones that identify a row.
        pivot: Columns made from field values, or None.
        shown: Whether a row of the csv is shown.
        texts: Fields that hold text. All others hold numbers.
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


Layout = tuple[list[list[tuple[str, int]]], list[list[Cell]], tuple[bool, ...]]
"""Lines of heads with the columns each spans, body cells, and which columns hold numbers."""


def number(value: Value, kind: str) -> str:
    """The one way a number is printed: no more digits than a study of this size supports.

    Args:
        value: Number. None and text that stands for nothing print as `--`.
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
        # A difference that rounds to nothing has no sign: never `+0.0` or `-0.0`.
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
        return _small(value)
    raise AssertionError(kind)


def _small(value: float) -> str:
    """Two significant digits below 1, two decimals from there on."""
    if not value:
        return "0"
    if abs(value) < 0.01:
        return f"{value:.1e}"
    # `.2g` alone would print 123 as 1.2e+02.
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.2f}"


def shows(field: str, kind: str) -> Callable[[Row], str]:
    """A number of the row."""
    return lambda row: number(row[field], kind)


def text(field: str) -> Callable[[Row], str]:
    """A text of the row."""
    return lambda row: UNDEFINED if row[field] is None else str(row[field])


def with_interval(field: str, low: str, high: str, kind: str) -> Callable[[Row], str]:
    """A number with its interval in brackets."""

    def show(row: Row) -> str:
        estimate = number(row[field], kind)
        if row[low] is None or row[high] is None:
            return estimate
        return f"{estimate} [{number(row[low], kind)}, {number(row[high], kind)}]"

    return show


def lay_out(spec: Spec, rows: list[Row]) -> Grid:
    """Choose, pivot and format the rows of a table's csv."""
    printed = [row for row in rows if spec.shown(row)]
    if spec.pivot is None:
        heads, body, numeric = _unpivoted(spec, printed)
    else:
        heads, body, numeric = _pivoted(spec, spec.pivot, printed)
    merged = sum(column.merge for column in spec.columns)
    groups = _group_starts(body, stubs=min(merged, 2))
    return Grid(
        spec.name,
        spec.title,
        caption=spec.caption(rows),
        numeric=numeric,
        heads=heads,
        body=_without_repeats(body, merged),
        groups=groups,
    )


def _unpivoted(spec: Spec, rows: list[Row]) -> Layout:
    """Heads, cells and alignment of a table with one line for each row."""
    heads = [[(column.head, 1) for column in spec.columns]]
    body = []
    for row in rows:
        body.append([Cell(column.show(row), column.numeric) for column in spec.columns])
    return heads, body, tuple(column.numeric for column in spec.columns)


def _group_starts(body: list[list[Cell]], stubs: int) -> frozenset[int]:
    """Rows at which one of the first stubs changes."""
    starts = []
    for n in range(1, len(body)):
        texts = [cell.text for cell in body[n][:stubs]]
        texts_above = [cell.text for cell in body[n - 1][:stubs]]
        if texts != texts_above:
            starts.append(n)
    # Groups of one row each would put a line under every row.
    return frozenset(starts) if len(starts) < len(body) - 1 else frozenset()


def pages(grid: Grid, longest: int = 46) -> list[Grid]:
    """The grid in parts of at most `longest` rows, as many as a printed page holds.

    Cut between groups where there are any.
    """
    borders = [*(sorted(grid.groups) or range(1, len(grid.body))), len(grid.body)]
    cuts = [0]
    # A cut lies at the last border that still fits. A group longer than a page stays in one piece.
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
    # LaTeX refuses two tables of one label, which is made from the name.
    return replace(
        grid,
        name=f"{grid.name}-{begin}",
        caption=f"{grid.title}, continued.",
        body=[first, *grid.body[begin + 1 : end]],
        groups=groups,
    )


def _pivoted(spec: Spec, pivot: Pivot, rows: list[Row]) -> Layout:
    """Heads, cells and alignment of a table whose columns are values of the pivot's keys."""
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
        cells = []
        for stub_text, column in zip(stub, spec.columns, strict=True):
            cells.append(Cell(stub_text, column.numeric))
        cells += [_pivot_cell(pivot, row_at.get(place), best) for place in columns]
        body.append(cells)
    numeric = tuple(column.numeric for column in spec.columns)
    return _pivot_heads(spec, pivot, columns), body, numeric + (True,) * len(places)


def _pivot_heads(
    spec: Spec, pivot: Pivot, columns: list[tuple[Any, ...]]
) -> list[list[tuple[str, int]]]:
    """One line of heads for each key, each head over all columns that share its value."""
    heads = []
    for depth, key in enumerate(pivot.keys):
        # The stubs' own heads stand in the lowest line, right above the body.
        is_last = depth == len(pivot.keys) - 1
        head = [(column.head if is_last else "", 1) for column in spec.columns]
        for prefix, same in groupby(columns, key=lambda place: place[: depth + 1]):
            head.append((pivot.heads(key, prefix[-1]), len(list(same))))
        heads.append(head)
    return heads


def _pivot_cell(pivot: Pivot, row: Row | None, best: float) -> Cell:
    """One cell, bold where it holds the best value of its row."""
    if row is None:
        return Cell(UNDEFINED)
    value = row[pivot.best] if pivot.best else None
    # A best value of 0 deserves no emphasis.
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
