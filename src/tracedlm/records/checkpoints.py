"""What a folder of somebody else's training checkpoints holds, by name alone."""

import re
from pathlib import Path

CHECKPOINT = re.compile(r"checkpoint-(\d+)")
TRAINER_STATE = "optimizer.pt"
RELEASED_STATE = "lora_optim_step*.pt"
"""EDIT's released layout: `checkpoint-N/rank-R/lora_optim_stepN-rankR.pt`.

Without `rank-R` where one process trained.
"""


def checkpoints(folder: Path) -> list[Path]:
    """Its `checkpoint-N` folders in the order of training.

    A folder without any is taken for a checkpoint itself.
    """
    by_step = {
        int(match[1]): path
        for path in folder.iterdir()
        if path.is_dir() and (match := CHECKPOINT.fullmatch(path.name))
    }
    # By number: as a text, checkpoint-1000 comes before checkpoint-200.
    return [by_step[step] for step in sorted(by_step)] or [folder]


def optimizer_files(folder: Path) -> list[list[Path]]:
    """Optimiser dumps of each checkpoint that has any, one file a process.

    EDIT's dumps are preferred to the Trainer's where both are there: they name their parameters.
    """
    released = [
        sorted([*path.glob(RELEASED_STATE), *path.glob(f"rank-*/{RELEASED_STATE}")])
        for path in checkpoints(folder)
    ]
    trainer = [
        [path / TRAINER_STATE] for path in checkpoints(folder) if (path / TRAINER_STATE).exists()
    ]
    return [files for files in released if files] or trainer
