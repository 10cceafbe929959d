"""What is measured of checkpoints during training, one row a number.

`dynamics/<run>/measures/<metric>/<part>.parquet`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tracedlm.records.parquet import column, read_table, write_table


class Measure(NamedTuple):
    """One number measured of one checkpoint.

    Attributes:
        module: What it was measured on: a probe's kind, a group of parameters, a split; "" where
            the metric leaves no choice.
        layer: Index into the hidden states, 0 = embeddings; None where it does not belong to a
            layer.
        metric: Name of the quantity, in the field's words.
        label: Which part of it: a role, a part of speech, a mask ratio; "" for all together.
        value: The number; None where it is undefined.
        stderr: Its standard error; None where it is exact or was not estimated.
        n: What it was computed from: tokens, sentences or Hessian-vector products, as the metric
            says.
        seconds: Process CPU time that it took, its share where several came out of one computation.
        reason: Why `value` is None; "" otherwise.
    """

    module: str
    layer: int | None
    metric: str
    label: str
    value: float | None
    stderr: float | None
    n: int
    seconds: float
    reason: str = ""


MEASURES = pa.schema(
    [
        column("run", pa.string(), "what was trained: causal or masked"),
        column("seed", pa.int32(), "seed of initialisation, order and noise"),
        column("step", pa.int32(), "optimiser steps taken; 0 = as initialised"),
        column(
            "layer",
            pa.int32(),
            "index into the hidden states, 0 = embeddings; null where it does not belong to a"
            " layer",
        ),
        column(
            "module",
            pa.string(),
            "what it was measured on: a probe's kind, a group of parameters, a split",
        ),
        column("metric", pa.string(), "name of the quantity"),
        column(
            "label",
            pa.string(),
            "which part of it: a role, a part of speech, a mask ratio; empty for all together",
        ),
        column("value", pa.float64(), "the number; null where undefined"),
        column("stderr", pa.float64(), "its standard error; null where exact or not estimated"),
        column(
            "n",
            pa.int64(),
            "what it was computed from: tokens, sentences or Hessian-vector products",
        ),
        column("seconds", pa.float64(), "process CPU seconds it took"),
        column("reason", pa.string(), "why the value is null; empty otherwise"),
    ]
)


def write_measures(
    path: str | Path, run: str, measured: Mapping[tuple[int, int], Sequence[Measure]]
) -> None:
    """Write what was measured of some checkpoints of one run.

    Args:
        path: Parquet file to write.
        run: `causal` or `masked`.
        measured: (seed, step) -> rows.

    Raises:
        ValueError: A value is missing without a reason, or has one.
    """
    rows = [
        {"run": run, "seed": seed, "step": step, **measure._asdict()}
        for (seed, step), measures in measured.items()
        for measure in measures
    ]
    # A null without a reason could be a fault; a reason beside a number would contradict it.
    for row in rows:
        if (row["value"] is None) != bool(row["reason"]):
            raise ValueError(f"a measure has a value or a reason why not, got {row}")
    write_table(path, rows, MEASURES)


def read_measures(paths: Sequence[str | Path]) -> pa.Table:
    """The rows of several files, in the order of run, seed and step.

    Raises:
        ValueError: A file is missing, unreadable or of another kind.
    """
    tables = [read_table(path, MEASURES, "measures of a checkpoint") for path in paths]
    # Without a file there is a table without rows, so that readers know one case.
    return pa.concat_tables(tables or [MEASURES.empty_table()]).sort_by(
        [(name, "ascending") for name in ("run", "seed", "step")]
    )


def chosen(table: pa.Table, **where: Any) -> list[dict[str, Any]]:
    """Rows whose columns have these values: `chosen(table, metric="nll", label="")`."""
    rows = []
    for row in table.to_pylist():
        if all(row[name] == value for name, value in where.items()):
            rows.append(row)
    return rows
