"""A table as plain text, with its caption and what it shows.

For a terminal, a diff, a letter (TRACE App. F, step 8).
"""

from textwrap import fill

from tracedlm.report.layout import Cell, Grid

WIDTH = 140


def preview(grid: Grid, paragraphs: list[str]) -> str:
    """Title, table, caption and paragraphs; the best of a row, bold elsewhere, has an asterisk."""
    heads = [
        [Cell(text, numeric) for (text, _), numeric in zip(head, grid.numeric, strict=True)]
        for head in grid.heads
    ]
    lines = [*heads, *grid.body]
    widths = [max(len(_shown(line[place])) for line in lines) for place in range(len(grid.numeric))]
    rule = "  ".join("-" * width for width in widths)
    table = [_line(line, widths) for line in heads] + [rule]
    for n, line in enumerate(grid.body):
        table += [""] if n in grid.groups else []
        table.append(_line(line, widths))
    texts = [fill(paragraph, WIDTH) for paragraph in (grid.caption, *paragraphs)]
    return "\n\n".join([grid.title, "\n".join(table), *texts]) + "\n"


def _shown(cell: Cell) -> str:
    return f"{cell.text}*" if cell.bold else cell.text


def _line(cells: list[Cell], widths: list[int]) -> str:
    shown = (
        _shown(cell).rjust(width) if cell.numeric else _shown(cell).ljust(width)
        for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(shown).rstrip()
