"""What a study took.

Time and memory of each stage, as Snakemake measured them, and space on disk of each kind of
artefact.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tracedlm.report.layout import Column, Row, Spec, number, shows, text
from tracedlm.report.pages.exit_sentences import Tables
from tracedlm.report.write import write_table

ALL = "all"
"""The last row of each table, its sum."""

TEXTS = Spec.texts | {"stage", "artefact"}


def stage_rows(root: Path) -> list[Row]:
    """Jobs, wall time, CPU time and memory of each stage, the longest in sum first.

    From `benchmarks/` under a study's results.

    Jobs of fractions of a second end before Snakemake looks at their memory: they count in the
    times alone.
    """
    jobs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((root / "benchmarks").rglob("*.jsonl")):
        stage = path.relative_to(root / "benchmarks").parts[0].removesuffix(".jsonl")
        jobs[stage] += [json.loads(line) for line in path.read_text().splitlines()]
    stages = sorted(
        (_stage(stage, found) for stage, found in jobs.items()), key=lambda row: -row["seconds"]
    )
    return (
        [*stages, _stage(ALL, [job for found in jobs.values() for job in found])] if stages else []
    )


def _stage(stage: str, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    seconds, memory = (
        [job["s"] for job in jobs],
        [job["max_rss"] for job in jobs if isinstance(job["max_rss"], int | float)],
    )
    return {
        "stage": stage,
        "jobs": len(jobs),
        "mean_seconds": sum(seconds) / len(jobs),
        "longest_seconds": max(seconds),
        "seconds": sum(seconds),
        "cpu_seconds": sum(
            job["cpu_time"] for job in jobs if isinstance(job["cpu_time"], int | float)
        ),
        "max_rss_mib": max(memory, default=None),
        "reason": "" if memory else "ended before its memory was measured",
    }


def disk_rows(root: Path) -> list[Row]:
    """Files and bytes of each kind of artefact, a folder of a study's results, the largest first.

    Pages beside the folders are left out.
    """
    sizes: dict[str, list[int]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root)
        if path.is_file() and not place.name.startswith(".") and len(place.parts) > 1:
            sizes[_artefact(place)].append(path.stat().st_size)
    kinds = sorted(
        (_size(kind, found) for kind, found in sizes.items()),
        key=lambda row: (-row["bytes"], row["artefact"]),
    )
    return [*kinds, _size(ALL, [size for found in sizes.values() for size in found])]


def _size(artefact: str, sizes: list[int]) -> dict[str, Any]:
    return {
        "artefact": artefact,
        "files": len(sizes),
        "bytes": sum(sizes),
        "mib": sum(sizes) / 2**20,
    }


def _artefact(place: Path) -> str:
    """A study's folder, or of its traces the table.

    `traces/<dataset>/<seq_len>/<split>/<table>/part`.
    """
    return f"traces: {place.parts[-2]}" if place.parts[0] == "traces" else place.parts[0]


def took(tables: Tables) -> str:
    """The sums of both tables, in a sentence."""
    times, sizes = tables["stage_costs"], tables["disk_use"]
    if not times or not sizes:
        return ""
    *stages, total = times
    longest = f"{stages[0]['stage']} the longest ({number(stages[0]['seconds'], 'count')} s)"
    return (
        f"The {total['jobs']} jobs of this study took {number(total['seconds'], 'count')} s in sum,"
        f" {longest}; its files take {number(sizes[-1]['mib'], 'one')} MiB."
    )


def make_costs(root: Path, folder: Path) -> None:
    """Write both tables of a study's results folder."""
    for spec in (STAGE_COSTS, DISK_USE):
        write_table(spec, spec.build(root), folder)


STAGE_COSTS = Spec(
    "stage_costs",
    "Time and memory of each stage",
    lambda rows: (
        "Wall time of the jobs of each stage, as Snakemake measured it when each was last made;"
        " several may have run side by side. Memory: the largest resident set of any of them, MiB."
    ),
    stage_rows,
    (
        Column("stage", text("stage"), numeric=False),
        Column("jobs", shows("jobs", "count")),
        Column("mean s", shows("mean_seconds", "one")),
        Column("longest s", shows("longest_seconds", "one")),
        Column("sum s", shows("seconds", "one")),
        Column("CPU s", shows("cpu_seconds", "one")),
        Column("memory MiB", shows("max_rss_mib", "count")),
    ),
    texts=TEXTS,
)

DISK_USE = Spec(
    "disk_use",
    "Space on disk",
    lambda rows: "Files of each kind of artefact of the study, and what they take, MiB.",
    disk_rows,
    (
        Column("artefact", text("artefact"), numeric=False),
        Column("files", shows("files", "count")),
        Column("MiB", shows("mib", "two")),
    ),
    texts=TEXTS,
)
