"""Parquet with a checked schema: units in field metadata, one clear message for a file that cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracedlm.records.atomic import replacing


def column(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    """A field that carries its meaning and unit."""
    return pa.field(name, kind, metadata={"meaning": meaning})


def write_table(path: str | Path, rows: list[dict[str, Any]], schema: pa.Schema, metadata: dict[str, str] | None = None) -> None:
    """Write rows as one Parquet file, whole or not at all."""
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, _with(schema, metadata)), temporary, compression="zstd")


class TableWriter:
    """Appends rows to one Parquet file in bounded memory; one row group per `write`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        if rows:
            self.writer.write_table(pa.Table.from_pylist(rows, self.schema))


@contextmanager
def table_writer(path: str | Path, schema: pa.Schema, metadata: dict[str, str] | None = None) -> Iterator[TableWriter]:
    """A `TableWriter` whose file appears under its name only when all rows are written."""
    with replacing(path) as temporary:
        writer = TableWriter(temporary, _with(schema, metadata))
        try:
            yield writer
        finally:
            writer.writer.close()


def read_table(path: str | Path, schema: pa.Schema, what: str, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file and check it against the schema.

    Raises:
        ValueError: The file is missing, truncated, not Parquet, or lacks a column; the message says what made it and what to do.
    """
    remedy = f"delete it and run snakemake again to make {what} anew"
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise ValueError(f"{path}: {what} not found; run the rule that makes it, or correct the path") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file of {what} ({str(error)[:120]}); {remedy}") from error
    for field in schema:
        if columns is not None and field.name not in columns:
            continue
        if field.name not in table.schema.names:
            raise ValueError(f"{path}: column {field.name!r} is missing from {what}; {remedy}")
        if table.schema.field(field.name).type != field.type:
            raise ValueError(
                f"{path}: column {field.name!r} of {what} is {table.schema.field(field.name).type}, expected {field.type}; {remedy}"
            )
    return table


def _with(schema: pa.Schema, metadata: dict[str, str] | None) -> pa.Schema:
    return schema.with_metadata(metadata) if metadata else schema
