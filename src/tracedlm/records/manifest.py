"""Manifests: what made a result. Written last, so that a result without one is unfinished."""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import grimp

from tracedlm.records.atomic import write_text
from tracedlm.records.formats import FORMATS
from tracedlm.resources import files_state, source_files

PACKAGE = Path(__file__).resolve().parents[1]

VERSIONED = ("tracedlm", "numpy", "scipy", "pyarrow", "torch", "transformers", "peft", "snakemake")

TEMPLATES = ("j2", "css")
"""Suffixes of a package's files that are no modules."""


def code_digest(stage: str) -> str:
    """Digest of the source a stage runs: its module and all it imports.

    Snakemake does not see changes inside a package by itself.

    Args:
        stage: A module below `tracedlm.stages`, such as `exits.tune`, or `report` for that whole
            package.
    """
    root, graph = "tracedlm.report" if stage == "report" else f"tracedlm.stages.{stage}", _imports()
    reached = (
        {root} | graph.find_upstream_modules(root, as_package=True) | graph.find_descendants(root)
    )
    paths = {PACKAGE.joinpath(*module.split(".")[1:]) for module in reached}
    files = {
        file
        for path in paths
        for file in ([path.with_suffix(".py")] if not path.is_dir() else _sources(path))
    }
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _sources(package: Path) -> list[Path]:
    """A package's own module and its templates.

    Its other modules are digested if they are imported.
    """
    return [
        package / "__init__.py",
        *(file for kind in TEMPLATES for file in package.rglob(f"*.{kind}")),
    ]


@cache
def _imports() -> grimp.ImportGraph:
    graph = grimp.build_graph("tracedlm", cache_dir=None)
    # What the config decides reaches the jobs as params: a new key must not make every result
    # stale.
    for module in {"tracedlm.config", *graph.find_descendants("tracedlm.config")}:
        graph.remove_module(module)
    return graph


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file's content, 16 hexadecimal characters."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def identity_of(path: str | Path) -> str:
    """What tells a map's source from another at the same path.

    A file's content, or names, sizes and times of a folder's files.

    A folder may hold a training's optimiser states, hundreds of gigabytes of them: too much to read
    for a digest.
    """
    if Path(path).is_file():
        return digest_of(path)
    return fingerprint(files=files_state(source_files(path)))


def fingerprint(**facts: object) -> str:
    """Digest of everything that decides a result.

    The name under which unfinished work is kept, so that only its own kind resumes it.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Installed versions of what can change a result."""
    installed = {}
    for name in VERSIONED:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def write_manifest(path: str | Path, stage: str, **facts: object) -> None:
    """Write the manifest of a stage's results; call it after everything else is on disk."""
    record = {
        "format": FORMATS["manifest"],
        "stage": stage,
        "code": code_digest(stage),
        "versions": versions(),
        **facts,
    }
    write_text(path, json.dumps(record, indent=1, sort_keys=True, default=str) + "\n")
