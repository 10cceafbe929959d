"""Rule `tables`: every table as .csv with all it rests on, and as .tex rendered from that .csv."""

import csv
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tracedlm.records.atomic import replacing, write_text
from tracedlm.report.contents import TABLES, TIMED_TABLES
from tracedlm.report.evidence import Evidence
from tracedlm.report.layout import Grid, Row, Spec, Value, lay_out, pages
from tracedlm.report.pages.certificate_sentences import association, calibrated
from tracedlm.report.preview import preview
from tracedlm.report.tables import (
    after_stop,
    certificate_grids,
    certificates,
    exits,
    maps,
    papers,
    parallelism,
    pooled,
    profiles,
    risk,
    storage,
    templates,
    timing,
    training,
    tuning,
)

SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        papers.EFFICIENCY,
        papers.ACCURACY,
        exits.EXIT_RULES,
        exits.EQUAL_COST,
        pooled.POOLED,
        parallelism.PARALLELISM,
        tuning.HYPERPARAMETERS,
        tuning.TRANSFER,
        risk.RISK_CONTROL,
        risk.FLIP_AUDIT,
        risk.FREEZING,
        templates.TEMPLATE_SENSITIVITY,
        templates.TEMPLATE_FLIPS,
        templates.SUBDOMAINS,
        timing.LATENCY,
        timing.STEP_TIME,
        certificates.CERTIFIED_COVERAGE,
        certificate_grids.PROJECTION_ABLATION,
        certificate_grids.CERTIFICATE_GRID,
        certificates.CERTIFICATE_LADDER,
        profiles.PROFILES,
        profiles.TEMPERATURE,
        after_stop.FORWARD_CERTIFICATES,
        after_stop.OBSERVABLES_TABLE,
        storage.STORAGE,
        maps.MODULE_ABLATION,
        maps.MAP_SIMILARITY,
        maps.BIAS_CORRECTION,
        training.NOISE,
        training.PSEUDO_GRADIENTS,
    )
}
assert set(SPECS) == {*TABLES, *TIMED_TABLES}

SPECIAL = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",  # \textquotedbl is unknown to LaTeX's default encoding
}
SCIENTIFIC = re.compile(r"(-?[\d.]+)e([+-]\d+)")
NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")


class Tex(str):
    """Text that is LaTeX already."""


def make_tables(evidence: Evidence, names: tuple[str, ...], folder: Path) -> None:
    """Write `<name>.csv` and `<name>.tex` for each name.

    The coverage table is also written as text, with what it shows.
    """
    for name in names:
        write_table(SPECS[name], SPECS[name].build(evidence), folder)
    if certificates.CERTIFIED_COVERAGE.name in names:
        _write_preview(certificates.CERTIFIED_COVERAGE, folder)


def _write_preview(spec: Spec, folder: Path) -> None:
    rows = read_csv(folder / f"{spec.name}.csv", spec)
    said = [say({spec.name: rows}) for say in (association, calibrated)]
    write_text(folder / f"{spec.name}.txt", preview(lay_out(spec, rows), said))


def write_table(spec: Spec, rows: list[Row], folder: Path) -> None:
    """Write one table: rows as .csv, and what is shown of that .csv as .tex, page by page."""
    path = folder / f"{spec.name}.csv"
    write_csv(path, rows)
    template = latex().get_template("table.tex.j2")
    grid = lay_out(spec, read_csv(path, spec))
    parts = [template.render(grid=part, columns=columns, head_of=head_of) for part in pages(grid)]
    write_text(path.with_suffix(".tex"), "\n".join(parts))


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write rows, six significant digits a number; null is an empty field."""
    fields = list(dict.fromkeys(field for row in rows for field in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({field: _written(row.get(field)) for field in fields})


def read_csv(path: Path, spec: Spec) -> list[Row]:
    """Read a table's csv.

    Raises:
        ValueError: The file is missing, or is not the csv of a table.
    """
    if not path.exists():
        raise ValueError(f"{path}: not found; run snakemake again")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = []
            for line in csv.DictReader(file):
                row = {}
                for field, value in line.items():
                    row[field] = _read(value, field in spec.texts)
                rows.append(row)
            return rows
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{path}: not the csv of a table ({error}); delete it and run snakemake again"
        ) from error


def tex_escape(value: object) -> str:
    """Text as LaTeX that prints as it stands and can neither run nor break anything.

    A number's minus and power become mathematics.
    """
    if isinstance(value, Tex):
        return value
    escaped = tex_literal(str(value))
    escaped = SCIENTIFIC.sub(lambda match: _power(match[1], int(match[2])), escaped)
    return NEGATIVE.sub("$-$", escaped) if "$" not in escaped else escaped


def tex_literal(value: str) -> Tex:
    """Text as LaTeX, character by character; what is no printable ASCII is a question mark."""
    printable = (
        character if " " <= character <= "~" else " " if character.isspace() else "?"
        for character in value
    )
    return Tex("".join(SPECIAL.get(character, character) for character in printable))


def columns(grid: Grid) -> Tex:
    """Column specification: text left, numbers right."""
    return Tex("".join("r" if numeric else "l" for numeric in grid.numeric))


def head_of(text: str) -> Tex:
    """A column head, two words or more on lines of their own.

    What spans none is escaped like all else.
    """
    first, space, rest = text.partition(" ")
    return Tex(
        rf"\shortstack[r]{{{tex_escape(first)}\\{tex_escape(rest)}}}" if space else tex_escape(text)
    )


def _power(mantissa: str, exponent: int) -> str:
    factor = "" if mantissa == "1" else rf"{mantissa} \times "
    return f"${factor}10^{{{exponent}}}$"


def latex() -> Environment:
    """Templates that escape every value.

    `<` and `>` take the place of braces, which LaTeX needs.
    """
    return Environment(
        loader=PackageLoader("tracedlm.report"),
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=tex_escape,
    )


def _written(value: Value) -> str:
    if value is None:
        return ""
    return format(value, ".6g") if isinstance(value, float) else str(value)


def _read(value: str, is_text: bool) -> Value:
    if value == "":
        return None
    if is_text:
        return value
    return int(value) if re.fullmatch(r"-?\d+", value) else float(value)
