"""Formats of what is written to disk.

A file names its own, kind and version; a release reads its version and all before it.

To change a format, raise its version here, keep reading the old one, and keep the old samples in
`tests/golden`: a test reads them all.
"""

import re
from pathlib import Path

FORMATS = {
    "map": "rrm/1",
    "maps": "rrms/1",
    "moments": "moments/1",
    "table": "table/1",
    "card": "tracedlm exit card 1",
    "manifest": "manifest/1",
    "explorer": "explorer/1",
}
"""Kind of file -> the format that this release writes.

`table` is every Parquet table; those that name none are older than the name.
"""


def is_of_kind(found: object, kind: str) -> bool:
    """Whether a format is one of a kind of file, of any version.

    >>> is_of_kind("rrm/7", "map"), is_of_kind("rrms/1", "map"), is_of_kind(None, "map")
    (True, False, False)
    """
    return _parts(found)[0] == _parts(FORMATS[kind])[0]


def refuse_newer(path: str | Path, found: object) -> None:
    """Refuse a file in a format that this release knows in older versions only.

    Raises:
        ValueError: It is newer.
    """
    # Versions as numbers: as a text, rrm/10 is older than rrm/9.
    for kind, written in FORMATS.items():
        if is_of_kind(found, kind) and _parts(found)[1] > _parts(written)[1]:
            raise ValueError(
                f"{path}: written by a newer tracedlm (format {found!r}; this one reads up to"
                f" {written!r}); install a newer one"
            )


def check_format(path: str | Path, found: object, kind: str, what: str) -> None:
    """Refuse a file of another kind, or newer than this release.

    Args:
        path: The file, for the message.
        found: Its format, None where it names none.
        kind: Key of `FORMATS`.
        what: What it should be and what makes one, for the message: `a map; rule rrm writes one`.

    Raises:
        ValueError: It is another kind, or newer.
    """
    refuse_newer(path, found)
    if not is_of_kind(found, kind):
        expected, _, remedy = what.partition("; ")
        raise ValueError(
            f"{path}: not {expected} (format {found!r}, expected {FORMATS[kind]!r}); {remedy}"
        )


def _parts(found: object) -> tuple[str, int]:
    """Kind and version of a format as it is written: `rrm/`, 1."""
    match = re.fullmatch(r"(.+[/ ])([0-9]{1,9})", found) if isinstance(found, str) else None
    return (match[1], int(match[2])) if match else ("", 0)
