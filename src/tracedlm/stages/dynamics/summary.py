"""Rule `dynamics_summary`.

All measures of all checkpoints in one tidy table, and what it was made of.
"""

from collections.abc import Sequence
from pathlib import Path

from tracedlm.config import Dynamics
from tracedlm.records.manifest import write_manifest
from tracedlm.records.measures import MEASURES, read_measures
from tracedlm.records.metrics import read_json
from tracedlm.records.parquet import write_table


def summarise(
    parts: Sequence[Path],
    limits: Path,
    manifests: Sequence[Path],
    settings: Dynamics,
    out: dict[str, Path],
) -> None:
    """Join the tables, in the order of run, seed and step.

    Args:
        parts: Tables of `records.measures.MEASURES`.
        limits: What rule `dynamics_corpus` says of the corpus; repeated in the summary.
        manifests: Of the trainings.
        settings: Says which early-stopping rule is to be evaluated; see `config.Dynamics`.
        out: `measures`, Parquet; `summary`, JSON: limits, trainings (run, seed, digest of the final
            weights), checkpoints that were skipped, the early-stopping rule.

    Raises:
        ValueError: A file is missing, unreadable or of another kind.
    """
    rows = read_measures(parts).to_pylist()
    write_table(out["measures"], rows, MEASURES)
    skipped = [
        {"run": row["run"], "seed": row["seed"], "step": row["step"], "why": row["reason"]}
        for row in rows
        if is_skipped(row)
    ]
    known = read_json(limits, ("sentences", "tokens", "types", "frames"))
    trained = [read_json(path, ("run", "seed", "weights")) for path in manifests]
    write_manifest(
        out["summary"],
        "dynamics.summary",
        limits={
            name: value
            for name, value in known.items()
            if name not in ("stage", "code", "versions")
        },
        trainings=[{name: one[name] for name in ("run", "seed", "weights")} for one in trained],
        skipped=skipped,
        stopping={
            "tolerance": settings.tolerance,
            "patience": settings.patience,
            "warmup": settings.warmup,
        },
    )


def is_skipped(row: dict[str, object]) -> bool:
    """Whether a row stands for a checkpoint that could not be read."""
    return row["value"] is None and "no usable checkpoint" in str(row["reason"])
