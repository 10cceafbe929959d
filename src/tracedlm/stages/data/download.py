"""Rule `fetch`: one file of `resources/sources.csv`, with retries, resumption and a checksum.

Over plain HTTP, which is how the Hugging Face hub serves files too: one path for both kinds, and no
optional dependency.
"""

import csv
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tracedlm.resources import resource

ATTEMPTS = 5
CHUNK = 2**20
TIMEOUT = 30
"""Seconds without a byte after which an attempt counts as failed."""

COLUMNS = ("name", "kind", "source", "revision", "file", "sha256", "licence", "rows", "note")


@dataclass(frozen=True)
class Source:
    """A file to fetch.

    Attributes:
        name: Path below the folder of downloads; its first part is a dataset.
        kind: `hub` (a data set on the Hugging Face hub) or `url`.
        source: Data set id, or the address in front of revision and file.
        revision: Commit.
        file: Path in it.
        sha256: Expected checksum; empty where the file was never at hand to compute it from.
        licence: Of the data.
        rows: How many the file has.
        note: What to know.
    """

    name: str
    kind: str
    source: str
    revision: str
    file: str
    sha256: str
    licence: str
    rows: str
    note: str

    @property
    def url(self) -> str:
        """Where it is; `HF_ENDPOINT` names a mirror of the hub."""
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        base = f"{hub}/datasets/{self.source}/resolve" if self.kind == "hub" else self.source
        return f"{base}/{self.revision}/{self.file}"


def read_sources(path: Path | None = None) -> dict[str, Source]:
    """The catalogue of files by name.

    Raises:
        ValueError: A column is missing, or a row has an unknown kind, no pinned revision or a
            checksum that is none.
    """
    path = path or resource("sources.csv")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: expected the header {','.join(COLUMNS)}")
        sources = {row["name"]: Source(**row) for row in reader}
    for row, one in enumerate(sources.values(), start=2):
        if one.kind not in ("hub", "url"):
            raise ValueError(f"{path}, row {row}: kind {one.kind!r} is neither hub nor url")
        if not re.fullmatch("[0-9a-f]{40}", one.revision):
            raise ValueError(
                f"{path}, row {row}: revision {one.revision!r} is not a commit; a branch would"
                " change what is fetched"
            )
        if not re.fullmatch("([0-9a-f]{64})?", one.sha256):
            raise ValueError(
                f"{path}, row {row}: sha256 {one.sha256!r} is not 64 hexadecimal digits"
            )
    return sources


def fetch(source: Source, path: Path, pause: float = 2.0) -> None:
    """Download a file, or go on with an interrupted download.

    It is published under its name once its checksum is right.

    Args:
        source: What to fetch.
        path: Where to put it.
        pause: Seconds before the second attempt; doubled before each further one.

    Raises:
        ValueError: The file cannot be had (the message says which file to put where), or is not the
            expected one.
    """
    part = path.with_name(f".{path.name}.download")
    part.parent.mkdir(parents=True, exist_ok=True)
    problem = "HF_HUB_OFFLINE is set"
    for attempt in range(
        0 if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "TRUE") else ATTEMPTS
    ):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _continue(source, part)
            return _publish(source, part, path)
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code} {error.reason}"
            if error.code in (401, 403):
                problem += (
                    f"; accept the terms at https://huggingface.co/datasets/{source.source} and set"
                    " HF_TOKEN"
                )
            if error.code < 500 and error.code != 429:
                break
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        print(f"{source.url}: {problem} (attempt {attempt + 1} of {ATTEMPTS})", file=sys.stderr)
    checksum = f" with sha256 {source.sha256}" if source.sha256 else ""
    raise ValueError(
        f"{source.url}: {problem}. On another machine, fetch that file and put it at"
        f" {path}{checksum}"
    )


def _continue(source: Source, part: Path) -> None:
    """One attempt: ask for the bytes that are not there yet."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        source.url,
        headers={"User-Agent": "tracedlm", **({"Range": f"bytes={have}-"} if have else {})},
    )
    if source.kind == "hub" and (token := os.environ.get("HF_TOKEN")):
        # For the hub alone, not the store it redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT) as reply,
            part.open("ab" if reply.status == 206 else "wb") as file,
        ):
            while chunk := reply.read(CHUNK):
                file.write(chunk)
            if missing := reply.length:
                raise OSError(f"the connection was closed {missing} bytes before the end")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to ask for
            raise


def _publish(source: Source, part: Path, path: Path) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if source.sha256 and found != source.sha256:
        part.unlink()
        raise ValueError(
            f"{source.url}: its sha256 is {found}, resources/sources.csv expects {source.sha256};"
            " it was not kept"
        )
    if not source.sha256:
        print(
            f"{source.name}: sha256 {found}; write it into resources/sources.csv to pin the file",
            file=sys.stderr,
        )
    part.replace(path)
