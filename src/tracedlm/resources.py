"""Where the files shipped with the project are, and the files a config names."""

from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def resource(*parts: str) -> Path:
    """Path of a file under `resources/` of the checkout.

    The package is installed from that checkout (editable install).
    """
    return ROOT.joinpath("resources", *parts)


def located(path: str | Path) -> Path:
    """A path a config names.

    As it stands if it exists, else the same path in the repository if that exists.
    """
    return ROOT / path if not Path(path).exists() and (ROOT / path).exists() else Path(path)


def checkpoint_files(path: str | Path) -> list[str]:
    """Files of a local checkpoint that decide what it computes.

    None for a hub id, whose revision is its own.
    """
    folder = located(path)
    named = {"config.json", "chat_template.jinja"}
    named |= {
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
    }
    kinds = (".safetensors", ".safetensors.index.json")
    return sorted(
        str(file) for file in folder.glob("*") if file.name in named or file.name.endswith(kinds)
    )


def checkpoint_state(path: str | Path) -> list[tuple[str, int, int]]:
    """What `files_state` says of those files."""
    return files_state(checkpoint_files(path))


def files_state(files: Iterable[str]) -> list[tuple[str, int, int]]:
    """Name, time of change in nanoseconds and bytes of files.

    Tells others apart without reading gigabytes.
    """
    return [(file, Path(file).stat().st_mtime_ns, Path(file).stat().st_size) for file in files]


READ_KINDS = (".safetensors", ".json", ".npz", ".pt")
"""Suffixes of the files that a map is made from."""


def adapter_files(folder: str | Path) -> list[str]:
    """Files of a PEFT adapter.

    Whatever else lies in its folder, such as caches or dumps, is not read.
    """
    return sorted(str(file) for file in located(folder).glob("adapter_*") if file.is_file())


def source_files(path: str | Path) -> list[str]:
    """Files that a map's source consists of.

    Itself, or all of its folder, but for hidden folders.
    """
    source = located(path)
    if source.is_file():
        return [str(source)]
    files = []
    for file in source.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(source).parts)
        if file.suffix in READ_KINDS and file.is_file() and not hidden:
            files.append(str(file))
    return sorted(files)
