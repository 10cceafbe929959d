"""Small files in the columns of the published data sets, for those that are not there yet."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracedlm.tasks import GeneratedTask, get_task

Row = dict[str, Any]

ROWS = 60
"""Of a training file. A fifth, by hash, is validation: enough for both splits at rehearsal size."""


def write_source(name: str, path: Path) -> None:
    """Write a stand-in for a file of resources/sources.csv, such as `gsm8k/test.jsonl`.

    Raises:
        KeyError: There is no such file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[name](path)


def _gsm8k(first: int) -> list[Row]:
    rows = []
    for apples in range(first, first + ROWS):
        sentence = f"Anna has {apples} apples and buys {apples + 3} more."
        total = 2 * apples + 3
        worked = f"{apples} + {apples + 3} = <<{apples}+{apples + 3}={total}>>{total}"
        rows.append(
            {"question": f"{sentence} How many has she now?", "answer": f"{worked}\n#### {total}"}
        )
    return rows


def _math(first: int) -> list[Row]:
    rows = []
    for number in range(first, first + ROWS):
        solution = rf"Twice ${number}$ is $\boxed{{{2 * number}}}$."
        rows.append(
            {"problem": f"What is $2 \\cdot {number}$?", "level": "Level 1", "solution": solution}
        )
    return rows


def _math500_test(path: Path) -> None:
    rows = []
    for number, row in enumerate(_math(first=1000)):
        answer = {"answer": str(2 * (1000 + number)), "subject": "Prealgebra", "level": 1}
        rows.append({**row, **answer, "unique_id": f"test/prealgebra/{number}.json"})
    _json_lines(path, rows)


def _math500_train(path: Path) -> None:
    _parquet(path, [{**row, "type": "Prealgebra"} for row in _math(first=1)])


def _gpqa(path: Path, rows: int) -> None:
    questions = []
    for number in range(rows):
        questions.append(
            {
                "Question": f"Which of these is the number {number}?",
                "Correct Answer": f"{number}",
                "Incorrect Answer 1": f"{number + 1}",
                "Incorrect Answer 2": f"{number + 2}",
                "Incorrect Answer 3": f"{number + 3}",
                "High-level domain": "Physics" if number % 2 else "Chemistry",
                "Subdomain": "Mechanics" if number % 2 else "Organic",
                "Record ID": f"rec{number}",
            }
        )
    _csv(path, questions)


def _s1k(path: Path) -> None:
    rows = []
    for number in range(ROWS):
        question = f"What is the square of {number}?"
        square = str(number**2)
        rows.append(
            {
                "solution": square,
                "question": question,
                "cot_type": "math",
                "source_type": "rehearsal",
                "metadata": "{}",
                "cot": None,
                "thinking_trajectories": [f"{number} times {number} is {square}."],
                "attempt": f"The square is {square}.",
            }
        )
    _parquet(path, rows)


def _drawn(task_name: str) -> Callable[[Path], None]:
    """A writer of problems that the task draws itself, in its published format."""

    def write(path: Path) -> None:
        task = get_task(task_name)
        assert isinstance(task, GeneratedTask)
        task.write(task.sample("test", ROWS, seed=0), path)

    return write


def _json_lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _parquet(path: Path, rows: list[Row]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "countdown/test.jsonl": _drawn("countdown"),
    "sudoku/test.csv": _drawn("sudoku"),
    "gsm8k/train.jsonl": lambda path: _json_lines(path, _gsm8k(first=1)),
    "gsm8k/test.jsonl": lambda path: _json_lines(path, _gsm8k(first=1000)),
    "math500/test.jsonl": _math500_test,
    "math500/train.parquet": _math500_train,
    # What is in the extended set and not in the main one serves for training and validation.
    "gpqa/main.csv": lambda path: _gpqa(path, rows=8),
    "gpqa/extended.csv": lambda path: _gpqa(path, rows=8 + ROWS),
    "s1k/train.parquet": _s1k,
}
"""File of resources/sources.csv -> what writes its stand-in."""
