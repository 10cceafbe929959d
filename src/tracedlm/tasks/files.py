"""Rows of a data file (JSON lines, CSV or Parquet), each with its number for error messages."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from tracedlm.records.atomic import replacing
from tracedlm.records.json_text import parse_json

Form = Literal["jsonl", "csv", "parquet"]

SUFFIXES: dict[str, Form] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def read_rows(path: Path, form: Form) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, from 1; a CSV's header counts as its row 1.

    Args:
        path: The file; a suffix in `SUFFIXES` says its form.
        form: Form of a file with another suffix.

    Raises:
        ValueError: The file is missing or is not of its form; the message names the row where there
            is one.
    """
    if not path.is_file():
        raise ValueError(f"{path}: {'a folder, not a file' if path.is_dir() else 'not found'}")
    reader = {"jsonl": _json_lines, "csv": _csv, "parquet": _parquet}[
        SUFFIXES.get(path.suffix, form)
    ]
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error


def write_rows(path: Path, form: Form, rows: list[dict[str, str]]) -> None:
    """Write rows as JSON lines or CSV, whole or not at all.

    A field that a row lacks is empty in CSV.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if form == "csv":
            columns = dict.fromkeys(field for row in rows for field in row)
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = parse_json(line)
            except ValueError as error:
                raise ValueError(
                    f"{path}, row {number}: {line[:60]!r} is not JSON ({error})"
                ) from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, row {number}: {line[:60]!r} is not a JSON object")
            yield number, row


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from enumerate(csv.DictReader(file), start=2)
        except csv.Error as error:
            raise ValueError(f"{path}: not readable as CSV ({error})") from error


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    from tracedlm.records.parquet import UNREADABLE, read_columns

    try:
        rows = read_columns(path).to_pylist()
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a readable Parquet file ({str(error)[:120]})") from error
    yield from enumerate(rows, start=1)
