"""Where a rehearsal finds what a config names: the files that are there, stand-ins for the rest."""

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


def settle(config: dict[str, Any], folder: Path, random_model: bool = False) -> list[str]:
    """Make every place that a config names one that is there when the study runs in `folder`.

    A path that exists becomes absolute. A large or absent model becomes a random LLaDA, an absent
    file of a published data set a small one of its columns, both below `folder`. A stand-in that is
    there from an earlier rehearsal stays, so that only what changed is made anew.

    Args:
        config: A complete config; changed in place.
        folder: Working directory of the rehearsal.
        random_model: Put the stand-in for a small model too, which saves most of the time.

    Returns:
        One sentence for each stand-in.

    Raises:
        ValueError: A named file is not there, and no stand-in for it is known; or a large model
            lies where its stand-in would.
    """
    stand_ins = [
        *_settle_model(config["model"], folder, random_model),
        *_settle_data(config["catalogue"], folder),
    ]
    for section, key in (("dynamics", "corpus_file"), ("rrm", "source")):
        named = config[section][key]
        if named not in (None, "moments"):
            config[section][key] = _absolute(named, f"{section}.{key}")
    templates = config["evaluation"]["templates"]
    config["evaluation"]["templates"] = [_template(name) for name in templates]
    return stand_ins


def _settle_model(model: dict[str, Any], folder: Path, random_model: bool) -> list[str]:
    model["device"] = "cpu"  # the accelerator is what the user does not have yet
    path = model["path"]
    if 0 < _weight_of(path) <= SMALL_CHECKPOINT and not random_model:
        model["path"] = str(located(path).resolve())
        if model["adapter"] is not None:
            model["adapter"] = _absolute(model["adapter"], "model.adapter")
        return []
    if model["adapter"] is not None:
        raise ValueError(
            f"model.adapter: {model['adapter']} was trained for {path}, for which a rehearsal puts"
            " a random model; rehearse without it, with `model: {adapter: null}` and `rrm:"
            " {source: moments}`"
        )
    # Neither a root nor a step upwards: the stand-in stays below the folder, and never lands on a
    # real model.
    model["path"] = str(Path(*[part for part in Path(path).parts if part not in ("/", "..")]))
    stand_in = folder / model["path"]
    if _weight_of(stand_in) > SMALL_CHECKPOINT:
        raise ValueError(
            f"--folder {folder}: a model lies there at {model['path']}, where its stand-in would"
            " be; name another folder"
        )
    if not (stand_in / "config.json").exists():
        _write_model(stand_in, model["dtype"])
    return [f"model.path {path}: a random LLaDA of two blocks, in the official layout"]


def _weight_of(path: str | Path) -> int:
    """Bytes of a local checkpoint; 0 where there is none."""
    return sum(Path(file).stat().st_size for file in checkpoint_files(path))


def _write_model(folder: Path, dtype: str) -> None:
    prompts = [file.read_text() for file in sorted(resource("prompts").rglob("*.txt"))]
    official_checkpoint(
        folder,
        dtype=getattr(torch, dtype),
        corpus=prompts,
        d_model=16,
        n_heads=2,
        n_kv_heads=2,
        mlp_hidden_size=16,
        vocab_size=448,
        embedding_size=456,
        max_sequence_length=4096,
    )


def _settle_data(catalogue: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    stand_ins = []
    for dataset, entry in catalogue.items():
        for key in FILES:
            named = entry[key]
            if named is None:
                continue
            source = named.removeprefix(DOWNLOADS)
            published = named.startswith(DOWNLOADS) and source in WRITERS
            if published and not located(named).exists():
                if not (folder / named).exists():
                    write_source(source, folder / named)
                stand_ins.append(
                    f"catalogue.{dataset}.{key} {named}: a few rows in the published columns"
                )
            else:
                entry[key] = _absolute(named, f"catalogue.{dataset}.{key}")
    return stand_ins


def _absolute(named: str, key: str) -> str:
    path = located(named)
    if not path.exists():
        raise ValueError(f"{key}: {named} is not there; name a file from here or the repository")
    return str(path.resolve())


def _template(name: str) -> str:
    """A template's name, or the absolute path of its file."""
    return str(Path(name).resolve()) if Path(name).is_file() else name
