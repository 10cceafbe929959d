"""Which Parquet encodings a trace is kept in.

Bytes, and CPU seconds to write and to read, against JSON lines.

    python benchmarks/parquet.py results/tiny/traces/sudoku/128/test

Every candidate writes and reads the same tables in turn, `--repeats` times, in one process and one
thread, each time in an order of its own. Sizes are exact. Seconds are medians with their range;
ratios are paired with the first candidate, pass by pass.
"""

import argparse
import gzip
import io
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracedlm.records import trace as tables
from tracedlm.records.parquet import writing

FLOATS = ("similarity.list.element", "mean_confidence", "mean_entropy", "predictive_kl")
NUMBERS = ("position.list.element", "sample_id", "step", "block", "block_step", "masked")
DELTA = dict.fromkeys(NUMBERS, "DELTA_BINARY_PACKED")
SPLIT = dict.fromkeys(FLOATS, "BYTE_STREAM_SPLIT")
WORDS = [
    "projection",
    "phase",
    "layer",
    "committed_token.list.element",
    "committed_position.list.element",
]

CANDIDATES: dict[str, dict[str, Any]] = {
    "zstd": {"compression": "zstd"},
    "zstd 3": {"compression": "zstd", "compression_level": 3},
    "zstd 9": {"compression": "zstd", "compression_level": 9},
    "lz4": {"compression": "lz4"},
    "zstd, no dictionary": {"compression": "zstd", "use_dictionary": False},
    "zstd, split floats": {
        "compression": "zstd",
        "use_dictionary": [*WORDS, *NUMBERS],
        "column_encoding": SPLIT,
    },
    "zstd, delta integers": {
        "compression": "zstd",
        "use_dictionary": [*WORDS, *FLOATS],
        "column_encoding": DELTA,
    },
    "zstd, split, delta": {
        "compression": "zstd",
        "use_dictionary": WORDS,
        "column_encoding": SPLIT | DELTA,
    },
    "zstd 3, split, delta": {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": WORDS,
        "column_encoding": SPLIT | DELTA,
    },
    "zstd 9, split, delta": {
        "compression": "zstd",
        "compression_level": 9,
        "use_dictionary": WORDS,
        "column_encoding": SPLIT | DELTA,
    },
    "lz4, split, delta": {
        "compression": "lz4",
        "use_dictionary": WORDS,
        "column_encoding": SPLIT | DELTA,
    },
}


def main() -> None:
    """Print one Markdown table for each trace table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a trace set: traces/<dataset>/<seq_len>/<split>")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, help="take only so many samples of it")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    for name in ("readouts", "steps"):
        table = pq.read_table(
            sorted((options.folder / name).glob("*.parquet"))[0], schema=tables.TABLES[name]
        )
        if options.samples:
            table = table.filter(pc.field("sample_id") < options.samples)
        print(f"\n{name}, {len(table)} rows, {table.nbytes / 1e6:.2f} MB in memory\n")
        compare(table, options.repeats)


def compare(table: pa.Table, repeats: int) -> None:
    """One table in every format."""
    samples = len(table["sample_id"].unique())
    formats: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]] = {
        name: (lambda how=how: _parquet(table, table.num_rows, how), _read)
        for name, how in CANDIDATES.items()
    }
    for each in (samples, 4, 1):
        rows = -(-each * table.num_rows // samples)
        formats[f"the package's, {each} samples a group"] = (
            lambda rows=rows: _parquet(table, rows, writing(table.schema)),
            _read,
        )
    size = len(_lines(table))
    formats["JSON lines"] = (lambda: _lines(table), _read_lines)
    formats["JSON lines, gzip"] = (
        lambda: gzip.compress(_lines(table), 6),
        lambda data: _read_lines(gzip.decompress(data)),
    )
    formats["JSON lines, zstd"] = (
        lambda: pa.compress(_lines(table), "zstd", asbytes=True),
        lambda data: _read_lines(pa.decompress(data, size, "zstd", asbytes=True)),
    )
    sizes: dict[str, int] = {}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in formats}
    for turn in range(repeats):
        for name in random.Random(turn).sample(list(formats), len(formats)):
            write, read = formats[name]
            data, to_write = _timed(write)
            _, to_read = _timed(lambda read=read, data=data: read(data))
            sizes[name] = len(data)
            times[name].append((to_write, to_read))
    first = next(iter(formats))
    print(
        "| format | bytes | of the first | write, CPU-s | of the first | read, CPU-s | of the"
        " first |"
    )
    print("| --- | ---: | ---: | --- | --- | --- | --- |")
    for name, pairs in times.items():
        cells = [f"{sizes[name]}", f"{sizes[name] / sizes[first]:.3f}"]
        for n in (0, 1):
            cells += [
                _spread([pair[n] for pair in pairs]),
                _spread(
                    [pair[n] / other[n] for pair, other in zip(pairs, times[first], strict=True)]
                ),
            ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _parquet(table: pa.Table, rows: int, how: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    own = set(_paths(table.schema))
    fitting = {
        key: (
            {path: kind for path, kind in value.items() if path in own}
            if key == "column_encoding"
            else value
        )
        for key, value in how.items()
    }
    pq.write_table(table, sink, row_group_size=rows, **fitting)
    return sink.getvalue()


def _paths(schema: pa.Schema) -> list[str]:
    return [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
    ]


def _read(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data), use_threads=False)


def _lines(table: pa.Table) -> bytes:
    return "\n".join(json.dumps(row) for row in table.to_pylist()).encode()


def _read_lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


if __name__ == "__main__":
    main()
