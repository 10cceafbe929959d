"""The rehearsal of a study: shrink its config, put stand-ins where files are missing, run it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tracedlm.config import load_study
from tracedlm.config.sources import Layer, merge_layers
from tracedlm.rehearsal.jobs import run_snakemake
from tracedlm.rehearsal.places import settle
from tracedlm.rehearsal.sizes import shrink
from tracedlm.report.contents import broken_promises, empty_parts
from tracedlm.resources import ROOT


@dataclass(frozen=True)
class Rehearsal:
    """A study that reached its targets at tiny size.

    Attributes:
        study: Its name.
        results: Folder of its results.
        stand_ins: A sentence for each model and file that a stand-in was put for.
        left_out: A sentence for each table and figure that the config leaves empty, with the
            setting that fills it; none where only some targets were asked for.
    """

    study: str
    results: Path
    stand_ins: tuple[str, ...]
    left_out: tuple[str, ...]


def rehearse(
    layers: Sequence[Layer],
    targets: Sequence[str],
    folder: Path,
    cores: int,
    random_model: bool = False,
) -> Rehearsal:
    """Run a study to its targets, with nothing changed but sizes and the places of model and data.

    Args:
        layers: The config, as Snakemake would merge it.
        targets: What is asked for; empty: everything.
        folder: Working directory. A study that was rehearsed in it before is only brought up to
            date, as in a directory of real results.
        cores: Jobs at a time.
        random_model: Put a random model for a small one too.

    Raises:
        ValueError: The config is refused, a file it names is missing, or a job fails: the message
            says where the logs are. Or a table or figure is empty that the config promises.
    """
    study = load_study(merge_layers(layers))
    config = shrink(study.model_dump(mode="json"))
    folder.mkdir(parents=True, exist_ok=True)
    stand_ins = tuple(settle(config, folder, random_model))
    file = folder / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    # The Snakefile names its default config, and rules name sources, relative to where it runs.
    for name in ("config", "src"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    os.environ["OMP_NUM_THREADS"] = "1"  # of every job: two with two threads each share two cores
    arguments = [*targets, "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    arguments += ["--cores", str(cores), "--rerun-incomplete", "--quiet", "rules"]
    arguments += ["--configfile", str(file), "--replace-workflow-config"]
    results = folder / "results" / study.study
    if not run_snakemake(arguments):
        raise ValueError(
            f"{study.study}: the rehearsal did not reach its end; what the failed job said stands "
            f"above and in {results / 'logs'}, the config it ran in {file}"
        )
    return Rehearsal(study.study, results, stand_ins, () if targets else _left_out(config, results))


def _left_out(config: dict[str, Any], results: Path) -> tuple[str, ...]:
    """A sentence for each part of the report without content.

    A ValueError where one was promised.
    """
    study = load_study(config)
    empty = empty_parts(study, results)
    broken = broken_promises(study, empty)
    if broken:
        raise ValueError(
            f"{study.study}: empty, although the config asks for it: {', '.join(broken)}; the"
            f" reason stands in the .csv below {results}"
        )
    return tuple(f"{part}: set {need.setting}" for part, need in empty.items() if need is not None)
