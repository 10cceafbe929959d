"""Is a trace set whole and consistent? `python -m tracedlm validate`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracedlm.records import trace as tables
from tracedlm.records.parquet import read_groups

ROUNDING = 1e-5
"""By how much a cosine in float32 may exceed 1."""


def check_traces(folder: Path) -> Iterator[str]:
    """What is wrong with a trace set, one sentence each; nothing where all is well.

    Checked: schemas, one part of each table per shard, every sample once, steps without gaps, every
    position committed once, visible sets that are what was committed before, similarities in [-1,
    1].

    Args:
        folder: `traces/<dataset>/<seq_len>/<split>`.

    Raises:
        ValueError: There is no trace set, or a part is unreadable.
    """
    parts = {
        name: sorted(path.name for path in (folder / name).glob("*.parquet"))
        for name in tables.TABLES
    }
    if not any(parts.values()):
        raise ValueError(
            f"{folder}: holds no trace tables; expected the folders {', '.join(tables.TABLES)} with"
            " Parquet files"
        )
    for name, found in parts.items():
        if found != parts["samples"]:
            yield f"{name} has the parts {found}, samples has {parts['samples']}"
    seen: list[int] = []
    for part in set.intersection(*map(set, parts.values())):
        plan, mask = tables.read_plan(folder / "steps" / part)
        for samples, steps, readouts in _groups(folder, part):
            seen += samples["sample_id"].to_pylist()
            for sample in samples.to_pylist():
                own = pc.field("sample_id") == sample["sample_id"]
                own_steps, own_readouts = (
                    table.filter(own).sort_by("step") for table in (steps, readouts)
                )
                try:
                    problems = list(
                        _sample(sample["nfe"], own_steps, own_readouts, plan["gen_length"], mask)
                    )
                except (IndexError, TypeError):
                    problems = ["values are missing, or positions are outside the canvas"]
                yield from (
                    f"{part}, sample {sample['sample_id']}: {problem}" for problem in problems
                )
    if sorted(seen) != list(range(len(seen))):
        yield (
            f"samples are not numbered 0..{len(seen) - 1} once each: {len(seen)} rows,"
            f" {len(set(seen))} different, largest {max(seen)}"
        )


def _groups(folder: Path, part: str) -> Iterator[tuple[pa.Table, ...]]:
    groups = (
        read_groups(folder / name / part, schema, f"trace {name}")
        for name, schema in tables.TABLES.items()
    )
    yield from zip(*groups, strict=True)


def _sample(
    nfe: int, steps: pa.Table, readouts: pa.Table, length: int, mask: int | None
) -> Iterator[str]:
    numbers, denoise = steps["step"].to_numpy(), np.array(steps["phase"].to_pylist()) == "denoise"
    if numbers.tolist() != list(range(1, len(numbers) + 1)):
        yield f"steps have gaps: {len(numbers)} rows, the last is step {numbers.max(initial=0)}"
        return
    if denoise.sum() != nfe:
        yield f"{denoise.sum()} denoising steps, but nfe is {nfe}"
    never = len(numbers) + 1
    committed = np.full(length, never)
    for row in steps.filter(pc.field("phase") == "denoise").to_pylist():
        positions, tokens = (
            np.array(row[name], dtype=int) for name in ("committed_position", "committed_token")
        )
        if (committed[positions] < never).any():
            yield f"step {row['step']} commits a position again"
        # A model may predict the mask: that position stays open.
        committed[positions[tokens != mask]] = row["step"]
    if (committed == never).sum() > _left_open(steps, mask):
        yield f"{(committed == never).sum()} positions are never committed"
    for projection in readouts["projection"].unique().to_pylist():
        yield from _readout(
            projection, readouts.filter(pc.field("projection") == projection), committed, denoise
        )


def _left_open(steps: pa.Table, mask: int | None) -> int:
    """How many positions the mask was committed to: as many may have stayed open."""
    tokens = [token for tokens in steps["committed_token"].to_pylist() for token in tokens]
    return tokens.count(mask)


def _readout(
    projection: str, rows: pa.Table, committed: np.ndarray, denoise: np.ndarray
) -> Iterator[str]:
    if rows["step"].to_pylist() != list(range(1, len(denoise) + 1)):
        yield f"projection {projection} has {len(rows)} rows for {len(denoise)} steps"
        return
    for n, (positions, similarity) in enumerate(
        zip(rows["position"].to_pylist(), rows["similarity"].to_pylist(), strict=True)
    ):
        if denoise[n] and positions != np.flatnonzero(committed <= n).tolist():
            yield (
                f"projection {projection}, step {n + 1}: the visible set is not what was committed"
                " before"
            )
        values = np.array(similarity, dtype=float)
        if len(values) != len(positions) or not (np.abs(values) <= 1 + ROUNDING).all():
            yield (
                f"projection {projection}, step {n + 1}: similarities are missing or outside"
                " [-1, 1]"
            )
