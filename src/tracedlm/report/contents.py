"""What the report consists of, and which parts of it a config fills.

The Snakefile reads this at every parse, so it imports none of the code that makes tables.
"""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tracedlm.config import Study
from tracedlm.tasks import TASKS

TABLES = (
    "efficiency",
    "accuracy",
    "exit_rules",
    "equal_cost",
    "equal_cost_pooled",
    "parallelism",
    "hyperparameters",
    "transfer",
    "risk_control",
    "flip_audit",
    "freezing",
    "template_sensitivity",
    "template_flips",
    "subdomains",
    "certified_coverage",
    "projection_ablation",
    "certificate_grid",
    "certificate_ladder",
    "forward_certificates",
    "observables",
    "profiles",
    "temperature",
    "storage",
    "module_ablation",
    "map_similarity",
    "bias_correction",
    "noise",
    "pseudo_gradients",
)
"""Tables that two runs of one study give byte for byte."""

TIMED_TABLES = ("latency", "step_time")
"""Tables of wall times, which no two runs share."""

COST_TABLES = ("stage_costs", "disk_use")
"""What the study took; made last, with the page."""

DYNAMICS_TABLES = ("dynamics_claims", "dynamics_stopping", "dynamics_cost")
"""Of the branch on training dynamics, which a study may leave out; the last one holds times."""

SFT_DYNAMICS = "dynamics_sft"
"""Table and figure of fine-tuning's snapshots, which a study need not keep."""

FIGURES = (
    "stability",
    "similarity",
    "temperature",
    "pareto",
    "gradients",
    "maps",
    "map_similarity",
    "update_magnitude",
)

FACETED = frozenset(name for name, task in TASKS.items() if task.facets)
"""Datasets whose problems say of what kind they are."""

PLACES = frozenset({"source", "dataset", "seq_len", "reason"})
"""Fields that say where a row belongs. A row that holds nothing else is no result."""


def pseudo_gradient_figures(datasets: Iterable[str], samples: int) -> dict[str, str]:
    """Name of the figure of each dataset's pseudo-gradients; none where no sample is replayed."""
    return {dataset: f"pseudo_gradient_{dataset}" for dataset in datasets} if samples else {}


@dataclass(frozen=True)
class Need:
    """What a config must say for a part of the report to have content.

    Attributes:
        part: Path below the results folder, without suffix, e.g. `tables/transfer`.
        setting: What to set, in words.
        met: Whether a study says it.
    """

    part: str
    setting: str
    met: Callable[[Study], bool]


NEEDS = (
    Need(
        "tables/equal_cost",
        "a second rule in exits.rules",
        lambda study: len(study.exits.rules) > 1,
    ),
    Need(
        "tables/equal_cost_pooled",
        "a rule in exits.rules that decides by itself, for example rad",
        lambda study: bool(set(study.exits.rules) - {"full", "truncate", "random"}),
    ),
    Need(
        "tables/parallelism",
        "a second rule in exits.rules",
        lambda study: len(study.exits.rules) > 1,
    ),
    Need("tables/hyperparameters", "exits.tune", lambda study: bool(study.exits.tune)),
    Need(
        "tables/transfer",
        "exits.tune, and two datasets",
        lambda study: bool(study.exits.tune) and len(study.datasets) > 1,
    ),
    Need("tables/risk_control", "risk.rules", lambda study: bool(study.risk.rules)),
    Need("tables/flip_audit", "flip_audit.samples", lambda study: study.flip_audit.samples > 0),
    Need(
        "tables/freezing",
        "flip_audit.samples and flip_audit.probes",
        lambda study: study.flip_audit.samples > 0 and study.flip_audit.probes > 0,
    ),
    Need(
        "tables/template_sensitivity",
        "evaluation.templates",
        lambda study: bool(study.evaluation.templates),
    ),
    Need(
        "tables/template_flips",
        "two of evaluation.templates and two of evaluation.rules",
        lambda study: min(len(study.evaluation.templates), len(study.evaluation.rules)) > 1,
    ),
    Need(
        "tables/subdomains",
        "evaluation.templates, and a dataset whose problems are of several kinds: "
        + ", ".join(sorted(FACETED)),
        lambda study: bool(study.evaluation.templates) and bool(FACETED & set(study.datasets)),
    ),
    Need(
        "tables/bias_correction", "rrm.source: moments", lambda study: study.rrm.source == "moments"
    ),
    Need("tables/noise", "noise.shares", lambda study: bool(study.noise.shares)),
    Need(
        "tables/pseudo_gradients",
        "pseudo_gradient.samples",
        lambda study: study.pseudo_gradient.samples > 0,
    ),
    Need("figures/gradients", "model.adapter: null", lambda study: study.model.adapter is None),
    Need("figures/map_similarity", "ablation.tasks", lambda study: bool(study.ablation.tasks)),
    Need(
        "figures/update_magnitude",
        "rrm.source: moments",
        lambda study: study.rrm.source == "moments",
    ),
)
"""Every other part of the report has content in every study."""


def empty_parts(study: Study, results: Path) -> dict[str, Need | None]:
    """Tables and figures of a finished study that hold no result.

    Args:
        study: Its config.
        results: Its results folder, with the .csv of every table and figure.

    Returns:
        Part below that folder -> what a config must say to fill it; None where every study fills
            it.

    Raises:
        ValueError: A part was not made at all.
    """
    tables = [*TABLES, *TIMED_TABLES, *COST_TABLES]
    figures = [
        *FIGURES,
        *pseudo_gradient_figures(study.datasets, study.pseudo_gradient.samples).values(),
    ]
    if study.dynamics.enabled:
        tables += DYNAMICS_TABLES
        figures += [f"dynamics_{run}" for run in study.dynamics.runs]
        if study.model.adapter is None and study.sft.snapshot_every:
            tables.append(SFT_DYNAMICS)
            figures.append(SFT_DYNAMICS)
    needs = {need.part: need for need in NEEDS}
    parts = [f"tables/{name}" for name in tables] + [f"figures/{name}" for name in figures]
    return {part: needs.get(part) for part in parts if _is_empty(results / f"{part}.csv")}


def broken_promises(study: Study, empty: dict[str, Need | None]) -> list[str]:
    """Those of a study's empty parts that its config says should have content."""
    return [part for part, need in empty.items() if need is None or need.met(study)]


def _is_empty(file: Path) -> bool:
    """Whether no row of a csv says more than where it belongs and why it is empty."""
    if not file.exists():
        raise ValueError(f"{file}: was not made; run snakemake again")
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            said = {field for field, value in row.items() if value}
            if said - PLACES:
                return False
    return True
