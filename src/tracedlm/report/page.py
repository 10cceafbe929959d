"""Rule `page`: one self-contained HTML page with the study's tables, figures, settings and provenance. Needs no network."""

import base64
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tracedlm.records.atomic import write_text
from tracedlm.records.metrics import read_json
from tracedlm.report.abstract import abstract
from tracedlm.report.layout import lay_out
from tracedlm.report.names import FIGURES, TABLES, TIMED_TABLES
from tracedlm.report.tables import NEGATIVE, SCIENTIFIC, SPECS, read_csv

CAPTIONS = {
    "stability": (
        "Stability over steps",
        "Step-to-step KL on the matched support, top-2 margin, and alignment concentration of the main readout at the shortest canvas: "
        "median and "
        "interquartile band over samples. Steps at which a statistic is undefined are gaps; a triangle on the axis is a median of 0. "
        "Shaded: refine "
        "steps, after the last unmasking.",
    ),
    "similarity": (
        "Similarities of one sample",
        "Cosine of each visible position's activation with the map, over steps, for the first test sample. Grey: masked, or not in the "
        "visible set. "
        "Dashed: block borders. Solid: start of the refine steps.",
    ),
    "pareto": (
        "Accuracy against forwards",
        "Each exit rule's share of solved puzzles with its Clopper-Pearson interval. The line is truncate, which just takes fewer steps: a "
        "rule earns "
        "its name above it. Points with equal forwards are drawn side by side.",
    ),
    "gradients": (
        "Gradients of fine-tuning",
        "Root mean square of the gradient of LoRA-B in the last block, after clipping, and the training loss, over optimiser steps.",
    ),
}
ORDER = (
    ("What early exit saves", ("efficiency", "figure:pareto", "accuracy", "exit_rules", "latency")),
    ("What can be certified", ("certificate_ladder", "certified_coverage", "certificate_grid", "projection_ablation")),
    ("What happens inside", ("figure:stability", "figure:similarity", "profiles", "figure:gradients", "storage")),
)
assert {name.removeprefix("figure:") for _, names in ORDER for name in names} == {*TABLES, *TIMED_TABLES, *FIGURES} and set(
    CAPTIONS
) == set(FIGURES)


def make_page(study: dict[str, Any], tables: Path, figures: Path, manifests: list[Path], out: Path) -> None:
    """Write the page.

    Args:
        study: The validated config, as plain values.
        tables: Folder of the tables; the page shows their .csv twins.
        figures: Folder of the figures.
        manifests: JSON results that state their stage, code digest and versions.
        out: The page.
    """
    rows = {name: read_csv(tables / f"{name}.csv", spec) for name, spec in SPECS.items()}
    items = {name: {"kind": "table", "grid": lay_out(spec, rows[name])} for name, spec in SPECS.items()}
    for name, (title, caption) in CAPTIONS.items():
        data = base64.b64encode((figures / f"{name}.png").read_bytes()).decode("ascii")
        items[f"figure:{name}"] = {"kind": "figure", "name": name, "title": title, "caption": caption, "data": data}
    records = [read_json(path, ("stage", "code", "versions")) for path in manifests]
    page = _html().get_template("page.html.j2")
    write_text(
        out,
        page.render(
            study=study,
            abstract=abstract(rows),
            sections=[(title, [items[name] for name in names]) for title, names in ORDER],
            config=yaml.safe_dump(study, sort_keys=False, allow_unicode=True),
            stages=sorted({(record["stage"], record["code"]) for record in records}),
            versions=sorted({(name, version) for record in records for name, version in record["versions"].items()}),
            number=html_number,
            undefined=any(row.get("reason") for one in rows.values() for row in one),
        ),
    )


def html_number(text: str) -> Markup:
    """Escaped text in which a number's minus and power look like mathematics."""
    safe = str(escape(text)) if SCIENTIFIC.search(text) else NEGATIVE.sub("\N{MINUS SIGN}", str(escape(text)))
    return Markup(SCIENTIFIC.sub(lambda match: _power(match[1], int(match[2])), safe.replace(" %", "\N{NO-BREAK SPACE}%")))


def _power(mantissa: str, exponent: int) -> str:
    factor = "" if mantissa == "1" else f"{mantissa}×"
    return f"{factor}10<sup>{str(exponent).replace('-', chr(0x2212))}</sup>"


def _html() -> Environment:
    return Environment(
        loader=PackageLoader("tracedlm.report"), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
