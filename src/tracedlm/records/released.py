"""What other projects release.

Generations and early-exit steps in EDIT's and d1's layout, and EDIT's settings.

A folder holds, for each device k of a set-up, `<set-up>_<k>_generations.json` (texts, questions,
gold answers) and, in EDIT's, `<set-up>_early_exit_steps_device-<k>.csv`: one row a sample,
`Block_i` = forwards spent in block i, the last row their means.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracedlm.records.json_text import parse_json

SETUP = ("gen_length", "diffusion_steps", "block_length")
DATASETS = ("gsm8k", "math", "math500", "countdown", "sudoku", "gpqa", "humaneval", "mbpp")
"""First word of the names of released files."""

ITEM = ("question", "generations", "ground_truth")


@dataclass(frozen=True)
class Released:
    """Generations of one set-up, device after device.

    Attributes:
        gen_length: Tokens of the canvas.
        steps: Forwards of the full schedule, all blocks together.
        block_length: Tokens of a block, as the file says; EDIT's settings may say otherwise of all
            but the first.
        items: One mapping a sample: `question`, `generations` (the response), `ground_truth`.
        block_steps: int [n, blocks] forwards spent in each block; None where the folder has no step
            files.
    """

    gen_length: int
    steps: int
    block_length: int
    items: list[dict[str, Any]]
    block_steps: np.ndarray | None


class Block(NamedTuple):
    """A block of EDIT's schedule.

    Tokens, steps, and the centre and width of the Gaussian as fractions of the block.
    """

    tokens: int
    steps: int
    center: float
    width: float


def read_released(
    folder: str | Path,
    datasets: Sequence[str] = (),
    setup: str | None = None,
    partial: bool = False,
) -> Released:
    """Read one set-up of a folder.

    Args:
        folder: Holds the files of every device of the set-up. It may hold other data sets too.
        datasets: Names of the data set wanted. Files named after another one of `DATASETS` are
            passed over.
        setup: Name of the set-up, where the folder holds several: a file's name without
            `_<device>_generations.json`.
        partial: Take what is there where the files of some devices are missing.

    Raises:
        ValueError: There are no generations in the folder, a file is unreadable or of another
            form, the files belong to several set-ups, a device is missing, or a device has as many
            rows of steps as it has no generations.
    """
    folder = Path(folder)
    files = _files_of_setup(folder, datasets, setup)
    records = [_read_json(path, (*SETUP, "generations")) for path in files]
    for path, record in zip(files, records, strict=True):
        if not isinstance(record["generations"], list) or not all(
            _is_count(record[key]) for key in SETUP
        ):
            raise ValueError(
                f"{path}: expected a list `generations`, and whole numbers above 0 for"
                f" {', '.join(SETUP)}"
            )
    setups = {_canvas_of(record) for record in records}
    if len(setups) > 1:
        raise ValueError(
            f"{folder}: generations of {len(setups)} set-ups ({', '.join(SETUP)} ="
            f" {sorted(setups)}); one folder for each"
        )
    items = [
        _checked(item, path, n)
        for path, record in zip(files, records, strict=True)
        for n, item in enumerate(record["generations"])
    ]
    counts = {
        _device(path): len(record["generations"])
        for path, record in zip(files, records, strict=True)
    }
    # Devices are numbered from 0, so that a gap is a file that is missing.
    missing = sorted(set(range(max(counts) + 1)) - counts.keys())
    if missing and not partial:
        raise ValueError(
            f"{folder}: the generations of device {', '.join(map(str, missing))} are missing of 0"
            f" to {max(counts)}, so that the mark would be of a part of the data set; add them, or"
            " say that a part is meant (partial=True, --partial)"
        )
    gen_length, steps, block_length = setups.pop()
    return Released(
        gen_length, steps, block_length, items, _read_steps(folder, _setup_name(files[0]), counts)
    )


def _canvas_of(record: dict[str, Any]) -> tuple[int, ...]:
    """Tokens, steps and block length that a file of generations says: the values of `SETUP`."""
    return tuple(record[key] for key in SETUP)


def _files_of_setup(folder: Path, datasets: Sequence[str], setup: str | None) -> list[Path]:
    """The generations of one set-up, device after device.

    The name is all that tells set-ups apart.
    """
    files = sorted(folder.glob("*_generations.json"), key=_device)
    if not files:
        below = (
            sorted({str(path.parent) for path in folder.rglob("*_generations.json")})
            if folder.is_dir()
            else []
        )
        hint = (
            f"; there are in {', '.join(below[:6])}"
            if below
            else f"; {folder} does not exist"
            if not folder.exists()
            else ""
        )
        raise ValueError(f"{folder}: no file named *_generations.json{hint}")
    setups: dict[str, list[Path]] = {}
    for path in files:
        dataset = path.name.split("_")[0]
        if not datasets or dataset in datasets or dataset not in DATASETS:
            setups.setdefault(_setup_name(path), []).append(path)
    names = sorted(setups)
    if not names:
        present = sorted({path.name.split("_")[0] for path in files})
        raise ValueError(
            f"{folder}: no generations of {datasets[0]}; there are of {', '.join(present)}"
        )
    if setup is None and len(names) > 1:
        raise ValueError(
            f"{folder}: generations of {len(names)} set-ups, {', '.join(names)}; say which one"
            f" (setup={names[0]!r}, --setup {names[0]})"
        )
    if setup is not None and setup not in setups:
        raise ValueError(f"{folder}: no set-up {setup!r}; there are {', '.join(names)}")
    return setups[names[0] if setup is None else setup]


def _setup_name(path: Path) -> str:
    """A file's name without its device: data set, model, temperature, canvas and steps."""
    return re.sub(r"_\d+_generations\.json$", "", path.name)


def read_settings(path: str | Path, gen_length: int, steps: int) -> list[Block]:
    """Blocks of one of EDIT's released settings files.

    On a canvas of `gen_length` tokens and a budget of `steps` forwards.

    The first block has its own length and that length's share of the steps; the others share the
    rest evenly.

    Raises:
        ValueError: The file is unreadable or lacks a key, or its blocks do not fit the canvas.
    """
    record = _read_json(Path(path), ("first_block_length", "num_blocks", "token_schedule"))
    first = record["first_block_length"]
    blocks = record["num_blocks"]
    schedule = record["token_schedule"]
    if not (
        _is_count(first)
        and _is_count(blocks)
        and isinstance(schedule, list)
        and all(map(_is_gaussian, schedule))
    ):
        raise ValueError(
            f"{path}: expected whole numbers and, for each block, a `center` and a `std` above 0,"
            " as EDIT releases them"
        )
    if len(schedule) != blocks or gen_length % first or not 0 < first <= gen_length:
        raise ValueError(
            f"{path}: {len(schedule)} settings for {blocks} blocks, the first of {first} tokens;"
            f" the canvas has {gen_length}"
        )
    first_steps = steps // (gen_length // first)
    # The first block has its share of the steps, the later ones share the rest evenly.
    later = blocks - 1
    lengths = [first] + [(gen_length - first) // max(later, 1)] * later
    budgets = [first_steps] + [(steps - first_steps) // max(later, 1)] * later
    if sum(lengths) != gen_length:
        raise ValueError(f"{path}: blocks of {lengths} tokens do not add up to {gen_length}")
    # EDIT gives reciprocals: of the peak's place, and of the width.
    return [
        Block(length, budget, 1 / entry["center"], 1 / entry["std"])
        for length, budget, entry in zip(lengths, budgets, schedule, strict=True)
    ]


def _read_steps(folder: Path, setup: str, counts: dict[int, int]) -> np.ndarray | None:
    """Forwards per sample and block, in the order of the devices; None without step files."""
    # Their names lack canvas and steps.
    step_files = [
        path
        for path in folder.glob("*_early_exit_steps_device-*.csv")
        if setup.startswith(path.name.partition("_early_exit_steps_")[0])
    ]
    files = {_device(path): path for path in step_files}
    if not files:
        return None
    if files.keys() != counts.keys():
        raise ValueError(
            f"{folder}: generations of devices {sorted(counts)}, but steps of devices"
            f" {sorted(files)}"
        )
    tables = []
    for device, n in sorted(counts.items()):
        try:
            with files[device].open(newline="", encoding="utf-8") as file:
                # The last row holds the means, and is no sample.
                rows = [
                    row for row in csv.DictReader(file) if str(row.get("")).startswith("Sample_")
                ]
        except (OSError, ValueError, csv.Error) as error:
            raise ValueError(f"{files[device]}: not readable as CSV ({error})") from error
        if len(rows) != n:
            raise ValueError(
                f"{files[device]}: steps of {len(rows)} samples, but that device has {n}"
                " generations"
            )
        tables.append([_forwards(row, files[device]) for row in rows])
    if len(widths := {len(row) for table in tables for row in table}) > 1:
        raise ValueError(
            f"{folder}: step files with {sorted(widths)} blocks; one folder for each set-up"
        )
    return np.array([row for table in tables for row in table], dtype=int)


def _forwards(row: dict[str, str], path: Path) -> list[int]:
    blocks = [(name, value) for name, value in row.items() if name and name.startswith("Block_")]
    try:
        values = [float(value) for _, value in blocks]
    except (TypeError, ValueError):
        raise ValueError(f"{path}, row {row['']}: a block's forwards are no number") from None
    # A whole number may be written as 12.0.
    if not blocks or any(value % 1 or not 0 <= value < 2**31 for value in values):
        raise ValueError(
            f"{path}, row {row['']}: expected whole numbers of forwards in Block_1, Block_2, ..,"
            f" got {dict(blocks)}"
        )
    return [int(value) for value in values]


def _checked(item: Any, path: Path, n: int) -> dict[str, Any]:
    if (
        not isinstance(item, dict)
        or any(key not in item for key in ITEM)
        or not all(isinstance(item[key], str) for key in ITEM[:2])
    ):
        raise ValueError(
            f"{path}, generation {n + 1}: expected the fields {', '.join(ITEM)}, the first two of"
            " them texts"
        )
    return item


def _read_json(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from error
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; expected a file as EDIT releases it")
    return record


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 < value < 2**31


def _is_gaussian(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(x := entry.get(key), int | float) and 1e-9 < x < 1e9 for key in ("center", "std")
    )


def _device(path: Path) -> int:
    """Number of the device in a file's name."""
    # Generations and step files name the device differently.
    match = re.search(r"_(\d+)_generations\.json$|_device-(\d+)\.csv$", path.name)
    if match is None:
        raise ValueError(f"{path}: the name does not end in _<device>_generations.json")
    return int(match[1] or match[2])
