"""Where a rehearsal finds what a config names: the files that are there, stand-ins for the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tracedlm.rehearsal.checkpoint import official_checkpoint
from tracedlm.rehearsal.sources import WRITERS, write_source
from tracedlm.resources import checkpoint_files, located, resource

SMALL_CHECKPOINT = 100 * 2**20
"""Bytes of weights up to which a model is rehearsed with itself."""

DOWNLOADS = "results/sources/"
"""Where `snakemake download` puts the published data sets."""

FILES = ("test", "train", "prompt_template")
"""Keys of a catalogue entry that name files."""


def settle(config: dict[str, Any], folder: Path) -> Iterator[str]:
    """Make every place that a config names one that is there when the study runs in `folder`.

    A path that exists becomes absolute. A large or absent model becomes a random LLaDA, an absent
    file of a published data set a small one of its columns, both at the very path that is named.

    Args:
        config: A complete config; changed in place.
        folder: Working directory of the rehearsal.

    Yields:
        One sentence for each stand-in.

    Raises:
        ValueError: A named file is not there, and no stand-in for it is known.
    """
    yield from _settle_model(config, folder)
    yield from _settle_data(config, folder)
    for section, key in (("dynamics", "corpus_file"), ("rrm", "source")):
        named = config[section][key]
        if named not in (None, "moments"):
            config[section][key] = _absolute(named, f"{section}.{key}")
    templates = config["evaluation"]["templates"]
    config["evaluation"]["templates"] = [_template(name) for name in templates]


def _settle_model(config: dict[str, Any], folder: Path) -> Iterator[str]:
    model = config["model"]
    model["device"] = "cpu"  # the accelerator is what the user does not have yet
    path = model["path"]
    files = checkpoint_files(path)
    size = sum(Path(file).stat().st_size for file in files)
    if files and size <= SMALL_CHECKPOINT:
        model["path"] = str(located(path).resolve())
        if model["adapter"] is not None:
            model["adapter"] = _absolute(model["adapter"], "model.adapter")
        return
    if model["adapter"] is not None:
        raise ValueError(
            f"model.adapter: {model['adapter']} was trained for {path}, for which a rehearsal puts "
            "a random model; rehearse without it, with `model: {adapter: null}` and "
            "`rrm: {source: moments}`"
        )
    # An absolute path leaves its root behind, so that the stand-in never lands on the real model.
    model["path"] = str(Path(*[part for part in Path(path).parts if part != "/"]))
    prompts = [file.read_text() for file in sorted(resource("prompts").rglob("*.txt"))]
    official_checkpoint(
        folder / model["path"],
        dtype=getattr(torch, model["dtype"]),
        corpus=prompts,
        d_model=16,
        n_heads=2,
        n_kv_heads=2,
        mlp_hidden_size=16,
        vocab_size=448,
        embedding_size=456,
        max_sequence_length=4096,
    )
    yield f"model.path {path}: a random LLaDA of two blocks, in the official layout"


def _settle_data(config: dict[str, Any], folder: Path) -> Iterator[str]:
    for dataset, entry in config["catalogue"].items():
        for key in FILES:
            named = entry[key]
            if named is None:
                continue
            source = named.removeprefix(DOWNLOADS)
            if located(named).exists():
                entry[key] = str(located(named).resolve())
            elif named.startswith(DOWNLOADS) and source in WRITERS:
                write_source(source, folder / named)
                yield f"catalogue.{dataset}.{key} {named}: a few rows in the published columns"
            else:
                _absolute(named, f"catalogue.{dataset}.{key}")


def _absolute(named: str, key: str) -> str:
    path = located(named)
    if not path.exists():
        raise ValueError(f"{key}: {named} is not there; name a file from here or the repository")
    return str(path.resolve())


def _template(name: str) -> str:
    """A template's name, or the absolute path of its file."""
    return str(Path(name).resolve()) if Path(name).is_file() else name
