"""Benchmarks: problem -> prompt, text -> score.

With generators, and readers of the published files.
"""

from difflib import get_close_matches

from tracedlm.tasks.algebra import Algebra
from tracedlm.tasks.countdown import Countdown
from tracedlm.tasks.gpqa import Gpqa
from tracedlm.tasks.gsm8k import Gsm8k
from tracedlm.tasks.math500 import Math500
from tracedlm.tasks.s1k import S1k
from tracedlm.tasks.sudoku import Sudoku
from tracedlm.tasks.task import GeneratedTask, Problem, Score, Scorer, Split, Task
from tracedlm.tasks.wordmath import WordMath

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Algebra(), Countdown(), Gpqa(), Gsm8k(), Math500(), S1k(), Sudoku(), WordMath())
}
GENERATED: dict[str, GeneratedTask] = {
    name: task for name, task in TASKS.items() if isinstance(task, GeneratedTask)
}

__all__ = [
    "GENERATED",
    "TASKS",
    "GeneratedTask",
    "Problem",
    "Score",
    "Scorer",
    "Split",
    "Task",
    "generated_task",
    "get_task",
]


def get_task(name: str, difficulty: int | None = None) -> Task:
    """The task of this name.

    Args:
        name: See `TASKS`.
        difficulty: Level of what `wordmath` and `algebra` draw, 1 to 3; None for their default, and
            for all other tasks.

    Raises:
        ValueError: There is no such task (the message lists those that exist), or it has no such
            difficulty.
    """
    if name not in TASKS:
        nearest = get_close_matches(name, TASKS, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"unknown dataset {name!r}; known: {', '.join(sorted(TASKS))}.{hint}")
    task = TASKS[name]
    if difficulty is None:
        return task
    if not isinstance(task, Algebra | WordMath):
        raise ValueError(f"{name} has no difficulty; wordmath and algebra have")
    return type(task)(difficulty)


def generated_task(name: str, difficulty: int | None = None) -> GeneratedTask:
    """As `get_task`, for tasks whose problems can be drawn.

    Raises:
        ValueError: There is no such task, it has no such difficulty, or its problems come from
            files only.
    """
    task = get_task(name, difficulty)
    if not isinstance(task, GeneratedTask):
        raise ValueError(
            f"{name}: its problems come from files; those that can be drawn: {', '.join(GENERATED)}"
        )
    return task
