"""Manifests: what made a result. Written last, so that a result without one is unfinished."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tracedlm.records.atomic import write_text

PACKAGE = Path(__file__).resolve().parents[1]

VERSIONED = ("tracedlm", "numpy", "scipy", "pyarrow", "torch", "transformers", "peft", "snakemake")

DIGESTED: dict[str, tuple[str, ...]] = {
    "data": ("tasks", "stages/data.py"),
    "pretrain": ("tasks", "models", "theory/masking.py", "stages/pretrain.py", "stages/examples.py"),
    "sft": ("tasks", "models", "theory/masking.py", "theory/moments.py", "records", "stages/sft.py", "stages/examples.py"),
    "rrm": ("theory/moments.py", "records", "stages/rrm.py"),
    "trace": ("tasks", "models", "decode", "generation.py", "theory", "records", "stages/trace.py", "stages/examples.py"),
    "readout": ("theory", "records", "stages/readout.py"),
    "certify": ("theory", "records", "stages/certify.py"),
    "exits": (
        "tasks",
        "models",
        "decode",
        "generation.py",
        "theory",
        "records",
        "stages/exits.py",
        "stages/trace.py",
        "stages/examples.py",
    ),
    "card": ("tasks", "models", "decode", "generation.py", "theory", "stages/card.py", "stages/examples.py"),
    "report": ("theory", "records", "report"),
}
"""Modules each stage runs: a change in one of them makes its results, and what follows, stale."""


KINDS = ("py", "j2", "css")
"""Suffixes of source files: modules and templates."""


def code_digest(stage: str) -> str:
    """Digest of the source files a stage runs; Snakemake does not see changes inside a package by itself."""
    digest = hashlib.sha256()
    for part in DIGESTED[stage]:
        path = PACKAGE / part
        for file in sorted(file for kind in KINDS for file in path.rglob(f"*.{kind}")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file's content, 16 hexadecimal characters."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Installed versions of what can change a result."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_manifest(path: str | Path, stage: str, **facts: object) -> None:
    """Write the manifest of a stage's results; call it after everything else is on disk."""
    record = {"stage": stage, "code": code_digest(stage), "versions": versions(), **facts}
    write_text(path, json.dumps(record, indent=1, sort_keys=True, default=str) + "\n")
