"""Seals: the SHA-256 of what a job wrote, beside it, as `sha256sum` writes them.

The next job that reads it compares.

A whole study is checked with `find results/<study> -name '.*.sha256' -execdir sha256sum --quiet
--check {} +`.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tracedlm.records.atomic import write_text


def seal_of(path: Path) -> Path:
    """Where the seal of a file or folder is.

    Beside it, so that it is copied, moved and deleted with its surroundings.
    """
    return path.with_name(f".{path.name}.sha256")


def seal(path: Path) -> None:
    """Seal a file, or each file of a folder in one seal."""
    write_text(seal_of(path), "".join(f"{line}\n" for line in _sums(path)))


def check_seal(path: Path) -> None:
    """Refuse a file or folder that is not what was sealed.

    One without a seal is somebody else's and passes.

    Raises:
        ValueError: Its content has changed, or a file of it is gone; the message names it and says
            what to do.
    """
    seal = seal_of(path)
    if not seal.exists():
        return
    # Lines of the seal that no file bears out; files that came later are nobody's loss.
    if altered := set(seal.read_text(errors="replace").splitlines()) - set(_sums(path)):
        within = (
            ", ".join(sorted(line.split("  ")[-1] for line in altered))
            if path.is_dir()
            else path.name
        )
        raise ValueError(
            f"{path}: damaged or edited since it was written (the SHA-256 of {within} is not the"
            f" one in {seal.name}); delete it and run snakemake again, or, if the change is meant,"
            f" delete {seal}"
        )


def broken_seals(results: Path, largest: int = 2**22) -> list[str]:
    """Messages about small files anywhere below a folder that are not what was sealed.

    Tables, figures, pages and manifests are read by people and by no further job. What is larger is
    left to the job that reads it.

    Args:
        results: A study's results; they may not be there yet.
        largest: Bytes up to which a file counts as small.
    """
    messages = []
    for seal in sorted(results.rglob(".*.sha256")):
        path = seal.with_name(seal.name.removeprefix(".").removesuffix(".sha256"))
        try:
            if path.exists() and path.stat().st_size <= largest:
                check_seal(path)
        except ValueError as error:
            messages.append(str(error))
    return messages


def gone(files: Iterable[str]) -> list[str]:
    """Sealed files that no longer exist.

    A killed job may have deleted the output it was about to rewrite, and Snakemake does not notice.

    Snakemake makes again what is read by a job that has to run. Where all readers look up to date,
    only asking for it by name helps.
    """
    return [
        file
        for file in dict.fromkeys(files)
        if not Path(file).exists() and seal_of(Path(file)).exists()
    ]


def _sums(path: Path) -> list[str]:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    # The format of `sha256sum`: digest, two spaces, path.
    return [
        f"{_sum(file)}  {file.relative_to(path.parent).as_posix()}"
        for file in files
        if file.exists()
    ]


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
