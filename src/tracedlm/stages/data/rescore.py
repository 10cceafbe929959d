"""Rule `rescore`: others' released generations, marked again by both scorers.

With what their schedules save alone.
"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracedlm.records.manifest import write_manifest
from tracedlm.rescoring import rescore, skip_noop_steps

FOLDER_NAMES = {"math": "math500"}
"""EDIT's names of datasets where they are not ours."""


def rescore_releases(folder: Path, settings: Path | None, out: Path) -> None:
    """Mark every `<dataset>/seq<length>` of a folder and write the scores.

    A manifest says how they were made.

    Args:
        folder: In EDIT's or d1's layout.
        settings: Folder of EDIT's settings files, or None.
        out: JSON with `sets` (accuracy and steps), `schedules` (forwards without no-op steps) and
            `disagreements` of the scorers.

    Raises:
        ValueError: A folder does not exist, holds nothing of that form, or a file cannot be read;
            the message says what.
    """
    places = sorted(path for path in folder.glob("*/seq*") if re.fullmatch(r"seq\d+", path.name))
    if not places:
        raise ValueError(
            f"rescore.folder: {folder} holds no folder <dataset>/seq<length>, such as"
            " countdown/seq128"
        )
    files = _settings_files(settings)
    sets, disagreements = [], []
    for place in places:
        dataset, seq_len = (
            FOLDER_NAMES.get(place.parent.name, place.parent.name),
            int(place.name.removeprefix("seq")),
        )
        row, differences = _marked(place, dataset, seq_len)
        sets.append(row)
        disagreements += differences
    schedules = [
        {
            "dataset": dataset,
            "seq_len": seq_len,
            "full_steps": seq_len // 2,
            "skip_noop_steps": skip_noop_steps(path, seq_len, seq_len // 2),
        }
        for (dataset, seq_len), path in files.items()
    ]
    write_manifest(
        out,
        "data.rescore",
        folder=str(folder),
        sets=sets,
        schedules=schedules,
        disagreements=disagreements,
    )


def _marked(place: Path, dataset: str, seq_len: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A row of `sets`, and what the scorers disagree on there."""
    d1, strict = rescore(place, dataset, "d1"), rescore(place, dataset, "strict")
    if d1.gen_length != seq_len:
        raise ValueError(f"{place}: its generations have {d1.gen_length} tokens")
    row = {
        "dataset": dataset,
        "seq_len": seq_len,
        "n": d1.n,
        "accuracy": d1.accuracy,
        "low": d1.low,
        "high": d1.high,
        "strict": strict.accuracy,
        "strict_n": strict.n,
        "full_steps": d1.full_steps,
        "steps": d1.mean_steps,
        "reduction": d1.reduction,
        "only_d1": d1.agreement.only_d1,
        "only_strict": d1.agreement.only_strict,
    }
    return row, [
        {"dataset": dataset, "seq_len": seq_len, **asdict(one)} for one in d1.disagreements
    ]


def _settings_files(settings: Path | None) -> dict[tuple[str, int], Path]:
    """EDIT's settings by dataset and canvas length."""
    if settings is None:
        return {}
    named = {
        path: re.fullmatch(r"EDIT_([a-z0-9]+)_seq(\d+)", path.stem)
        for path in sorted(settings.glob("*.json"))
    }
    found = {
        (FOLDER_NAMES.get(match[1], match[1]), int(match[2])): path
        for path, match in named.items()
        if match
    }
    if not found:
        raise ValueError(
            f"rescore.settings: {settings} holds no file EDIT_<dataset>_seq<length>.json"
        )
    return dict(sorted(found.items()))
