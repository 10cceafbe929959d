"""Rule `page`: one self-contained HTML page, which needs no network.

It holds the study's tables, figures, settings and provenance.
"""

import base64
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup, escape

from tracedlm.records.atomic import write_text
from tracedlm.records.metrics import read_json
from tracedlm.report.contents import (
    COST_TABLES,
    FIGURES,
    TABLES,
    TIMED_TABLES,
    pseudo_gradient_figures,
)
from tracedlm.report.layout import lay_out
from tracedlm.report.markup import html
from tracedlm.report.pages.abstract import abstract
from tracedlm.report.pages.dynamics import dynamics_section
from tracedlm.report.pages.exit_sentences import Tables
from tracedlm.report.tables.costs import DISK_USE, STAGE_COSTS
from tracedlm.report.tally import TALLY, tally_rows
from tracedlm.report.write import NEGATIVE, SCIENTIFIC, SPECS, read_csv, write_csv

CAPTIONS = {
    "stability": (
        "Stability over steps",
        (
            "Step-to-step KL on the matched support, top-2 margin, and alignment concentration of"
            " the main readout at the shortest canvas: median and interquartile band over samples."
            " Steps at which a statistic is undefined are gaps; a triangle on the axis is a median"
            " of 0. Shaded: refine steps, after the last unmasking."
        ),
    ),
    "similarity": (
        "Similarities of one sample",
        (
            "Cosine of each visible position's activation with the map, over steps, for the first"
            " test sample. Grey: masked, or not in the visible set. Dashed: block borders. Solid:"
            " start of the refine steps."
        ),
    ),
    "temperature": (
        "Readout temperature",
        (
            "Step-to-step KL on the matched support and top-2 margin of the validation split's q"
            " readout at several readout temperatures, shortest canvas: median over samples; gaps"
            " where it is undefined or 0. Shaded: refine steps."
        ),
    ),
    "pareto": (
        "Accuracy against forwards",
        (
            "Share of problems solved by every run over its mean forwards. The line is truncate,"
            " which just takes fewer steps, with its Clopper-Pearson interval: a rule earns its"
            " name above it. Filled: a rule's first setting; hollow, joined to it: its others."
            " Rings: no run of the set solves as many with fewer forwards. Orange reads a map, blue"
            " the certainty of predictions, green commits by it. Rules that coincide are drawn side"
            " by side; their intervals are in the csv."
        ),
    ),
    "gradients": (
        "Gradients of fine-tuning",
        (
            "Root mean square of the gradient of LoRA-B in the last block, after clipping, and the"
            " training loss, over optimiser steps."
        ),
    ),
    "maps": (
        "Similarity of maps",
        (
            "Cosine and correlation over features of the row-energy maps of q, k and v, in every"
            " variant of the mean update. Maps have no negative entries, so that unrelated ones"
            " have a high cosine too; their correlation is 0."
        ),
    ),
    "map_similarity": (
        "Maps of single tasks",
        (
            "Cosine and correlation over features of the maps of fine-tunings on one task each, and"
            " of the study's on all. The same task again is another seed: tasks differ where they"
            " differ by more than that. Unrelated maps have a high cosine too; their correlation"
            " is 0."
        ),
    ),
    "update_magnitude": (
        "Where updates are large",
        (
            "Mean magnitude of the mean AdamW update, entries read row by row, eight to a cell"
            " (EDIT Figures 3 to 5: 256 x 256 x 8 at 4096 x 128), on one scale for all panels;"
            " EDIT's scale, 0 to 255 for each matrix alone, is in the csv."
        ),
    ),
}
PSEUDO_GRADIENTS = "figures of pseudo-gradients"
"""Stands in `ORDER` for one figure a dataset."""

ORDER = (
    (
        "What early exit saves",
        (
            "efficiency",
            "figure:pareto",
            "accuracy",
            "exit_rules",
            "equal_cost",
            "equal_cost_pooled",
            "parallelism",
        ),
    ),
    ("Settings chosen on validation", ("hyperparameters", "transfer", "risk_control")),
    ("What it is worth in time", ("latency", "step_time")),
    (
        "What can be certified",
        ("certificate_ladder", "certified_coverage", "certificate_grid", "projection_ablation"),
    ),
    ("What holds after a stop", ("forward_certificates", "observables")),
    ("What exits change", ("flip_audit", "freezing")),
    ("How much the prompt matters", ("template_sensitivity", "template_flips", "subdomains")),
    (
        "What happens inside",
        ("figure:stability", "figure:similarity", "profiles", "figure:gradients", "storage"),
    ),
    ("How much the readout temperature matters", ("temperature", "figure:temperature")),
    ("Which map", ("module_ablation", "map_similarity", "figure:maps", "bias_correction", "noise")),
    ("What training leaves in a map", ("figure:update_magnitude", "figure:map_similarity")),
    ("Inference against training", (PSEUDO_GRADIENTS, "pseudo_gradients")),
    ("What the study took", COST_TABLES),
)
SHOWN = {**SPECS, **{spec.name: spec for spec in (STAGE_COSTS, DISK_USE)}}
NAMED = {name.removeprefix("figure:") for _, names in ORDER for name in names}
assert {PSEUDO_GRADIENTS, *TABLES, *TIMED_TABLES, *COST_TABLES, *FIGURES} == NAMED and set(
    CAPTIONS
) == set(FIGURES)


def make_page(
    study: dict[str, Any], tables: Path, figures: Path, manifests: list[Path], out: Path
) -> None:
    """Write the page.

    Args:
        study: The validated config, as plain values.
        tables: Folder of the tables; the page shows their .csv twins.
        figures: Folder of the figures.
        manifests: JSON results that state their stage, code digest and versions.
        out: The page.
    """
    rows = read_rows(tables)
    write_csv(tables / f"{TALLY}.csv", tally_rows(rows))
    page = html().get_template("page.html.j2")
    write_text(
        out,
        page.render(
            study=study,
            abstract=abstract(rows),
            sections=sections(study, rows, figures),
            drawn=lambda name: base64.b64encode((figures / f"{name}.png").read_bytes()).decode(
                "ascii"
            ),
            config=yaml.safe_dump(study, sort_keys=False, allow_unicode=True),
            **provenance(manifests),
            number=html_number,
            undefined=any(row.get("reason") for one in rows.values() for row in one),
        ),
    )


def read_rows(tables: Path) -> Tables:
    """Rows of every table that is shown."""
    return {name: read_csv(tables / f"{name}.csv", spec) for name, spec in SHOWN.items()}


def sections(
    study: dict[str, Any], rows: Tables, figures: Path
) -> list[tuple[str, list[dict[str, Any]]]]:
    """What is shown under which heading, in order.

    Tables as grids, figures by name, title and caption.
    """
    items: dict[str, dict[str, Any]] = {
        name: {"kind": "table", "grid": lay_out(spec, rows[name])} for name, spec in SHOWN.items()
    }
    replayed = pseudo_gradient_figures(study["datasets"], study["pseudo_gradient"]["samples"])
    for name, (title, caption) in {
        **CAPTIONS,
        **{name: _pseudo_gradient(dataset) for dataset, name in replayed.items()},
    }.items():
        blank = (figures / f"{name}.csv").read_text().startswith("reason\n")
        items[f"figure:{name}"] = {
            "kind": "figure",
            "name": name,
            "title": title,
            "caption": caption,
            "blank": blank,
        }
    listed = {
        **{name: [name] for name in items},
        PSEUDO_GRADIENTS: [f"figure:{name}" for name in replayed.values()],
    }
    shown = [
        (title, [items[one] for name in names for one in listed[name] if _has_content(items[one])])
        for title, names in ORDER
    ]
    shown.insert(-1, dynamics_section(study, figures.parent / "tables"))
    return [(title, content) for title, content in shown if content]


def provenance(manifests: list[Path]) -> dict[str, list[tuple[str, str]]]:
    """`stages` with the digests of their code, and `versions` of packages."""
    records = [read_json(path, ("stage", "code", "versions")) for path in manifests]
    return {
        "stages": sorted({(record["stage"], record["code"]) for record in records}),
        "versions": sorted(
            {(name, version) for record in records for name, version in record["versions"].items()}
        ),
    }


def _pseudo_gradient(dataset: str) -> tuple[str, str]:
    return (
        f"Pseudo-gradients on {dataset}",
        (
            "Root mean square of the gradient, with respect to LoRA-B of the last block's queries,"
            " of what each step changed in the block's visible predictions (EDIT App. G): one curve"
            " per sample, one panel per block. Dashed and shaded: mean of fine-tuning's gradients"
            " and one standard deviation around it. Triangle: the step from which a curve stays in"
            " the band."
        ),
    )


def _has_content(item: dict[str, Any]) -> bool:
    """Whether there is anything to show of a table or figure.

    What the study did not run has nothing, and its csv says why.
    """
    return not item["blank"] if item["kind"] == "figure" else bool(item["grid"].body)


def html_number(text: str) -> Markup:
    """Escaped text in which a number's minus and power look like mathematics."""
    safe = (
        str(escape(text))
        if SCIENTIFIC.search(text)
        else NEGATIVE.sub("\N{MINUS SIGN}", str(escape(text)))
    )
    return Markup(
        SCIENTIFIC.sub(
            lambda match: _power(match[1], int(match[2])), safe.replace(" %", "\N{NO-BREAK SPACE}%")
        )
    )


def _power(mantissa: str, exponent: int) -> str:
    factor = "" if mantissa == "1" else f"{mantissa}×"
    return f"{factor}10<sup>{str(exponent).replace('-', chr(0x2212))}</sup>"
