"""Where the files shipped with the project are, and the files a config names."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def resource(*parts: str) -> Path:
    """Path of a file under `resources/` of the checkout this package is installed from (editable install)."""
    return ROOT.joinpath("resources", *parts)


def located(path: str | Path) -> Path:
    """A path a config names: as it stands if it exists, else the same path in the repository if that exists."""
    return ROOT / path if not Path(path).exists() and (ROOT / path).exists() else Path(path)


def checkpoint_files(path: str | Path) -> list[str]:
    """Files of a local checkpoint that decide what it computes; none for a hub id, whose revision is its own."""
    folder = located(path)
    named = {"config.json", "chat_template.jinja"}
    named |= {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json"}
    kinds = (".safetensors", ".safetensors.index.json")
    return sorted(str(file) for file in folder.glob("*") if file.name in named or file.name.endswith(kinds))


def checkpoint_state(path: str | Path) -> list[tuple[str, int, int]]:
    """Name, time of change in nanoseconds and bytes of each of those files: tells other weights apart without reading gigabytes."""
    return [(file, Path(file).stat().st_mtime_ns, Path(file).stat().st_size) for file in checkpoint_files(path)]
