"""Publishing files and folders whole or not at all: write under a temporary name, fsync, rename."""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`.

    On success it replaces `path`, on failure it is removed; after a kill, by the next writer.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name says who writes: what a dead writer left is told from what a living one writes.
    for left_over in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        writer = left_over.name.removeprefix(f".{path.name}.").removesuffix(".part")
        if writer.isdigit() and not _alive(int(writer)):
            left_over.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    # Signal 0 reaches nobody: it only tells whether it could.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`.

    On success it takes the place of `path`, on any failure it is removed.

    A folder cannot be replaced in one step, as a file can: between two renames there is none of
    this name. It is never half-written, and whoever declares it as an output next to a manifest
    that is written last is made to write it again after a kill in between.
    """
    for left_over in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(left_over)
    new = path.with_name(f".{path.name}.new.part")
    old = path.with_name(f".{path.name}.old.part")
    new.mkdir(parents=True)
    try:
        yield new
        for file in filter(Path.is_file, new.rglob("*")):
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if path.exists():
            path.replace(old)
        new.replace(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text)
