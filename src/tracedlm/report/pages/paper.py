"""Rule `paper`: everything a study shows as one PDF, where TeX is installed."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tracedlm.records.atomic import replacing, write_text
from tracedlm.report.layout import Grid
from tracedlm.report.pages.abstract import abstract
from tracedlm.report.pages.report import provenance, read_rows, sections
from tracedlm.report.write import Tex, latex, tex_literal

PORTRAIT = 175
"""Characters of a table's widest row, with gaps, beyond which it lies on its side.

Set smaller it could not be read.
"""
GAP = 2
"""Characters that a gap between columns takes."""

PASSES = 3
"""Runs of pdflatex until page numbers in the table of contents stand still."""


def make_paper(
    study: dict[str, Any], tables: Path, figures: Path, manifests: list[Path], out: Path
) -> None:
    """Write `paper.tex`, which names the tables' and figures' own files, and compile it.

    Args:
        study: The validated config, as plain values.
        tables: Folder of the tables, beside `out`.
        figures: Folder of the figures, beside `out`.
        manifests: JSON results that state their stage, code digest and versions.
        out: The PDF.

    Raises:
        ValueError: pdflatex is not installed, or does not accept the document.
    """
    rows = read_rows(tables)
    lines = yaml.safe_dump(study, sort_keys=False, allow_unicode=True).splitlines()
    text = (
        latex()
        .get_template("paper.tex.j2")
        .render(
            study=study,
            version=version("tracedlm"),
            abstract=abstract(rows),
            sections=sections(study, rows, figures),
            config=[(len(line) - len(line.lstrip()), line.lstrip()) for line in lines],
            **provenance(manifests),
            literal=tex_literal,
            file=Tex,
            wide=is_wide,
        )
    )
    write_text(out.with_suffix(".tex"), text)
    compile_pdf(out.with_suffix(".tex"), [tables, figures], out)


def is_wide(grid: Grid) -> bool:
    """Whether a table needs a page on its side. A head of several words takes several lines."""
    heads = [
        [(max(map(len, text.split()), default=0), span) for text, span in head]
        for head in grid.heads
    ]
    columns = zip(*([len(cell.text) for cell in row] for row in grid.body), strict=True)
    shown = [max(lengths) for lengths in columns]
    widths = [
        max(width, longest if span == 1 else 0)
        for width, (longest, span) in zip(shown, heads[-1], strict=True)
    ]
    return sum(widths) + GAP * len(widths) > PORTRAIT


def compile_pdf(tex: Path, folders: list[Path], out: Path) -> None:
    """Compile a document beside copies of the folders it reads from.

    TeX sees nothing else, starts nothing and writes nothing elsewhere.

    Raises:
        ValueError: pdflatex is not installed, or does not accept the document.
    """
    program = shutil.which("pdflatex")
    if program is None:
        raise ValueError(
            f"{tex} is written but not compiled: pdflatex is not installed (Debian:"
            " texlive-latex-recommended)"
        )
    # Without a date the same study gives the same bytes.
    environment = {
        **os.environ,
        "openin_any": "p",
        "openout_any": "p",
        "SOURCE_DATE_EPOCH": "0",
        "FORCE_SOURCE_DATE": "1",
    }
    with TemporaryDirectory() as place:
        for folder in folders:
            shutil.copytree(folder, Path(place, folder.name))
        shutil.copy(tex, Path(place, "paper.tex"))
        for _ in range(PASSES):
            command = [
                program,
                "-interaction=nonstopmode",
                "-halt-on-error",
                "-no-shell-escape",
                "paper.tex",
            ]
            run = subprocess.run(
                command,
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if run.returncode:
                complaint = next(
                    (line for line in run.stdout.splitlines() if line.startswith("!")),
                    run.stdout[-500:],
                )
                raise ValueError(
                    f"{tex}: pdflatex stopped ({complaint}); compile it by hand to see more"
                )
        print(run.stdout)
        with replacing(out) as temporary:
            shutil.copy(Path(place, "paper.pdf"), temporary)
