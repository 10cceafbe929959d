"""Benchmarks: problem -> prompt, text -> score, with generators and readers of the published files."""

from difflib import get_close_matches

from tracedlm.tasks.countdown import Countdown
from tracedlm.tasks.sudoku import Sudoku
from tracedlm.tasks.task import Problem, Score, Scorer, Split, Task

TASKS: dict[str, Task] = {task.name: task for task in (Countdown(), Sudoku())}

__all__ = ["TASKS", "Problem", "Score", "Scorer", "Split", "Task", "get_task"]


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ValueError: There is no such task; the message lists those that exist.
    """
    if name not in TASKS:
        nearest = get_close_matches(name, TASKS, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"unknown dataset {name!r}; known: {', '.join(sorted(TASKS))}.{hint}")
    return TASKS[name]
