"""Parquet with a checked schema.

Units in field metadata, one clear message for a file that cannot be used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracedlm.records.atomic import replacing
from tracedlm.records.formats import FORMATS, refuse_newer

EXPANSION = 1000
"""Bytes of columns for each byte of the file beyond which it was made to fill the memory.

Of our tables it is less than ten.
"""

HARMLESS = 100_000_000
"""Bytes of columns that are read whatever the file's size."""

UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What is raised of a file that cannot be used."""


def column(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    """A field that carries its meaning and unit."""
    return pa.field(name, kind, metadata={"meaning": meaning})


def writing(schema: pa.Schema) -> dict[str, Any]:
    """How pyarrow is to write a table.

    Zstd, dictionaries for all but floating numbers, whose bytes are split by significance;
    checksums.

    Measured similarities hardly repeat, so that a dictionary of them costs both time and bytes
    (`benchmarks/parquet.py`, docs/log.md).
    """
    leaves = dict(_leaf(field.name, field.type) for field in schema)
    floating = [path for path, kind in leaves.items() if pa.types.is_floating(kind)]
    return {
        "compression": "zstd",
        "use_dictionary": [path for path in leaves if path not in floating],
        "column_encoding": dict.fromkeys(floating, "BYTE_STREAM_SPLIT"),
        "write_page_checksum": True,
    }


def _leaf(path: str, kind: pa.DataType) -> tuple[str, pa.DataType]:
    """Path and type of what is stored for a column, which may be of lists."""
    return (
        _leaf(f"{path}.list.element", kind.value_type)
        if isinstance(kind, pa.ListType)
        else (path, kind)
    )


def write_table(
    path: str | Path,
    rows: list[dict[str, Any]],
    schema: pa.Schema,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write rows as one Parquet file, whole or not at all."""
    with replacing(path) as temporary:
        pq.write_table(
            pa.Table.from_pylist(rows, _with(schema, metadata)), temporary, **writing(schema)
        )


class TableWriter:
    """Appends rows to one Parquet file in bounded memory; one row group per `write`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.writer = pq.ParquetWriter(path, schema, **writing(schema))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        if rows:
            self.append(pa.Table.from_pylist(rows, self.schema))

    def append(self, table: pa.Table) -> None:
        """Append a table of the same schema."""
        self.writer.write_table(table.cast(self.schema))


@contextmanager
def table_writer(
    path: str | Path, schema: pa.Schema, metadata: dict[str, str] | None = None
) -> Iterator[TableWriter]:
    """A `TableWriter` whose file appears under its name only when all rows are written."""
    with replacing(path) as temporary:
        writer = TableWriter(temporary, _with(schema, metadata))
        try:
            yield writer
        finally:
            # Closing writes the footer, before the file gets its name.
            writer.writer.close()


def read_table(
    path: str | Path, schema: pa.Schema, what: str, columns: list[str] | None = None
) -> pa.Table:
    """Read a Parquet file and check it against the schema.

    Raises:
        ValueError: The file is missing, truncated, not Parquet, or lacks a column; the message says
            what made it and what to do.
    """
    with _explaining(path, what):
        table = read_columns(path, columns)
    return _checked(path, table, schema, what, columns)


def read_columns(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Columns of a Parquet file of any schema; raises what `UNREADABLE` lists."""
    with _opened(path) as file:
        return _validated(file.read(columns))


def read_groups(
    path: str | Path, schema: pa.Schema, what: str, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Read a Parquet file one row group at a time, in bounded memory; raises as `read_table`."""
    with _explaining(path, what):
        file = _opened(path)
    for group in range(file.num_row_groups):
        with _explaining(path, what):
            table = _validated(file.read_row_group(group, columns=columns))
        # Outside `_explaining`: what the reader of a table raises is no fault of the file.
        yield _checked(path, table, schema, what, columns)


def row_groups(path: str | Path, what: str) -> int:
    """Row groups of a Parquet file; raises as `read_table` where there is none."""
    with _explaining(path, what):
        return pq.read_metadata(path).num_row_groups


def read_facts(path: str | Path, what: str) -> dict[bytes, bytes]:
    """Metadata of a Parquet file; raises as `read_table` where there is none."""
    with _explaining(path, what):
        return dict(pq.read_schema(path).metadata or {})


def _opened(path: str | Path) -> pq.ParquetFile:
    """The file, unless what it declares to hold is out of proportion to its size."""
    file = pq.ParquetFile(path, page_checksum_verification=True)
    # Not column by column: pyarrow ends the process where a column's metadata are broken.
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    declared = sum(
        max(group.total_byte_size, 8 * group.num_rows * group.num_columns) for group in groups
    )
    size = Path(path).stat().st_size
    if declared > max(HARMLESS, EXPANSION * size):
        raise ValueError(f"its {size} bytes declare columns of {declared}")
    return file


def _validated(table: pa.Table) -> pa.Table:
    """The table, unless its lists or texts do not hang together: Arrow itself does not look."""
    table.validate(full=True)
    return table


@contextmanager
def _explaining(path: str | Path, content: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found ({content}); run the rule that makes it, or correct the path"
        ) from None
    except UNREADABLE as error:
        raise ValueError(
            f"{path}: not a readable Parquet file of {content} ({str(error)[:120]});"
            f" {_remedy(content)}"
        ) from error


def _checked(
    path: str | Path, table: pa.Table, schema: pa.Schema, content: str, columns: list[str] | None
) -> pa.Table:
    refuse_newer(path, (table.schema.metadata or {}).get(b"format", b"").decode(errors="replace"))
    for field in schema:
        if columns is not None and field.name not in columns:
            continue
        if field.name not in table.schema.names:
            raise ValueError(
                f"{path}: column {field.name!r} is missing from {content}; {_remedy(content)}"
            )
        kind = table.schema.field(field.name).type
        if kind != field.type:
            raise ValueError(
                f"{path}: column {field.name!r} of {content} is {kind}, expected {field.type};"
                f" {_remedy(content)}"
            )
    return table


def _remedy(content: str) -> str:
    return f"correct the path, or delete it and run snakemake again to make {content} anew"


def _with(schema: pa.Schema, metadata: dict[str, str] | None) -> pa.Schema:
    # `format` comes last: no caller's metadata replaces it.
    return schema.with_metadata({**(metadata or {}), "format": FORMATS["table"]})
