"""Encodings follow the type, change no value, are worth having.

A file is read in one row group's memory, and a flipped bit is refused.
"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracedlm.records.parquet import (
    column,
    read_groups,
    read_table,
    table_writer,
    write_table,
    writing,
)

SCHEMA = pa.schema(
    [
        column("name", pa.string(), "which"),
        column("step", pa.int32(), "from 1"),
        column("position", pa.list_(pa.int16()), "positions"),
        column("similarity", pa.list_(pa.float32()), "cosines"),
        column("kl", pa.float64(), "nats; null where undefined"),
    ]
)


def rows_of(steps, seed=0):
    """Steps of a walk, as similarities are: close to those of the step before, and never equal."""
    rng = np.random.default_rng(seed)
    values = (0.1 * rng.normal(size=40) + 0.01 * rng.normal(size=(steps, 40)).cumsum(0)).astype(
        np.float32
    )
    return [
        {
            "name": "qkv"[step % 3],
            "step": step + 1,
            "position": list(range(step % 40)),
            "similarity": values[step, : step % 40].tolist(),
            "kl": None if step % 5 == 0 else float(rng.exponential(1e-6)),
        }
        for step in range(steps)
    ]


def test_values_come_back_as_they_were(tmp_path):
    rows = rows_of(200)
    rows[7]["similarity"] = [float("nan"), -0.0, float("inf"), *rows[7]["similarity"][3:]]
    write_table(tmp_path / "table.parquet", rows, SCHEMA)
    back = read_table(tmp_path / "table.parquet", SCHEMA, "a table")
    assert back.equals(pa.Table.from_pylist(rows, SCHEMA)) or repr(back.to_pylist()) == repr(rows)


def test_floating_numbers_are_split_and_all_else_has_a_dictionary(tmp_path):
    write_table(tmp_path / "table.parquet", rows_of(200), SCHEMA)
    group = pq.read_metadata(tmp_path / "table.parquet").row_group(0)
    for one in map(group.column, range(group.num_columns)):
        split, listed = (
            ("BYTE_STREAM_SPLIT" in one.encodings),
            any("DICTIONARY" in name for name in one.encodings),
        )
        assert (split, listed) == (
            (True, False)
            if one.path_in_schema in ("similarity.list.element", "kl")
            else (False, True)
        )
        assert one.compression == "ZSTD"


def test_split_numbers_take_less_room():
    table, sizes = pa.Table.from_pylist(rows_of(2000), SCHEMA), []
    for how in (writing(SCHEMA), {"compression": "zstd"}):
        sink = io.BytesIO()
        pq.write_table(table, sink, **how)
        sizes.append(len(sink.getvalue()))
    assert sizes[0] < 0.75 * sizes[1]


@pytest.mark.parametrize("columns", [None, ["step", "similarity"]])
def test_reading_group_by_group_holds_one_group_at_a_time(tmp_path, columns):
    with table_writer(tmp_path / "table.parquet", SCHEMA) as writer:
        for group in range(40):
            writer.write(rows_of(500, seed=group))
    before, most, steps = pa.total_allocated_bytes(), 0, 0
    for table in read_groups(tmp_path / "table.parquet", SCHEMA, "a table", columns):
        most, steps, one = (
            max(most, pa.total_allocated_bytes() - before),
            steps + len(table),
            table.nbytes,
        )
    assert steps == 40 * 500 and most < 6 * one


@pytest.mark.parametrize("read", [read_table, lambda *what: list(read_groups(*what))])
def test_a_flipped_bit_of_a_column_is_refused_even_without_a_seal(read, tmp_path):
    """Of finished batches of an unfinished trace, for instance.

    Without page checksums most of these flips are read as other numbers.
    """
    path = tmp_path / "table.parquet"
    write_table(path, rows_of(200), SCHEMA)
    content, meta = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for chunk in map(meta.column, range(meta.num_columns)):
        byte = chunk.data_page_offset + chunk.total_compressed_size // 2
        path.write_bytes(content[:byte] + bytes([content[byte] ^ 1]) + content[byte + 1 :])
        with pytest.raises(
            ValueError,
            match=(
                r"table\.parquet: not a readable Parquet file of a table .*; correct the path, or"
                r" delete it"
            ),
        ):
            read(path, SCHEMA, "a table")
