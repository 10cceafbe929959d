"""Rule `data`: the problems of each split, in the published file format, each with its prompt."""

import random
from pathlib import Path

from tracedlm.config import Dataset
from tracedlm.records.manifest import write_manifest
from tracedlm.resources import located
from tracedlm.tasks import GeneratedTask, Problem, Split, Task, get_task
from tracedlm.tasks.task import fill
from tracedlm.tasks.templates import read_template


def make_data(
    dataset: str, entry: Dataset, seed: int, out: dict[str, Path], manifest: Path
) -> None:
    """Write a dataset's test, validation and train problems.

    The test set is the head of its file. No problem may be in two splits.

    Where problems come from files, validation is the fifth of the training file whose keys hash
    lowest, and problems that are also in the test file, or held out, belong to neither.

    Args:
        dataset: Task name.
        entry: Its entry in the catalogue.
        seed: Decides which problems are drawn or chosen, and their options' order where they have
            options.
        out: A file for each split.
        manifest: Written last.

    Raises:
        ValueError: A file is missing, malformed or too short, or a drawn split shares a problem
            with the test file.
    """
    task = get_task(dataset, entry.difficulty)
    tests = _test_problems(task, entry)
    problems: dict[str, list[Problem]] = {"test": tests[: entry.test_samples]}
    left_out: dict[str, int] = {}
    asked: dict[Split, int] = {"train": entry.train_samples, "validation": entry.validation_samples}
    for split, n in asked.items():
        problems[split], left_out[split] = _learnt_from(
            task, entry, split=split, n=n, seed=seed, tests={task.key(problem) for problem in tests}
        )
    _check_disjoint(task, entry, problems)
    template = _template(task, entry)
    for split, chosen in problems.items():
        arranged = [task.arranged(problem, seed) for problem in chosen]
        task.write(
            [{**problem, "prompt": fill(template, task.question(problem))} for problem in arranged],
            out[split],
        )
    sizes = {split: len(chosen) for split, chosen in problems.items()}
    write_manifest(
        manifest,
        "data.problems",
        dataset=dataset,
        entry=entry.model_dump(),
        seed=seed,
        sizes=sizes,
        left_out=left_out,
    )


def _test_problems(task: Task, entry: Dataset) -> list[Problem]:
    """All problems of the test file, or drawn ones; none for a task without a test set."""
    if entry.test is None:
        if isinstance(task, GeneratedTask):
            return task.sample("test", entry.test_samples, seed=0)
        if not task.scored:
            return []
        raise ValueError(
            f"catalogue.{task.name}.test: null, but problems of {task.name} cannot be drawn; name a"
            f" file ({_fields(task)})"
        )
    problems = _read(task, entry.test, "test")
    if len(problems) < entry.test_samples:
        raise ValueError(
            f"{entry.test} has {len(problems)} problems, catalogue.{task.name}.test_samples asks"
            f" for {entry.test_samples}"
        )
    return problems


def _learnt_from(
    task: Task, entry: Dataset, split: Split, n: int, seed: int, tests: set[str]
) -> tuple[list[Problem], int]:
    """Problems of a split that something is trained or chosen on.

    And how many of the file were left out as test problems.
    """
    if isinstance(task, GeneratedTask):
        return task.sample(split, n, seed), 0
    if entry.train is None:
        raise ValueError(
            f"catalogue.{task.name}.train: null; the {split} problems of {task.name} come from a"
            f" file ({_fields(task)})"
        )
    every = {task.key(problem): problem for problem in _read(task, entry.train, "train")}
    free = {
        key: problem
        for key, problem in every.items()
        if key not in tests and task.split_of(problem) is not None
    }
    pool = [problem for problem in free.values() if task.split_of(problem) == split]
    if len(pool) < n:
        raise ValueError(
            f"{entry.train} has {len(pool)} problems for {split} ({len(every) - len(free)} of its"
            f" {len(every)} are test problems), catalogue.{task.name}.{split}_samples asks for {n}"
        )
    return random.Random(f"{task.name}/{split}/{seed}").sample(pool, n), len(every) - len(free)


def _check_disjoint(task: Task, entry: Dataset, problems: dict[str, list[Problem]]) -> None:
    keys = {split: {task.key(problem) for problem in chosen} for split, chosen in problems.items()}
    for split in ("train", "validation"):
        if shared := keys[split] & keys["test"]:
            raise ValueError(
                f"{entry.test}: {len(shared)} test problems are also in the {split} split, for"
                f" example {sorted(shared)[0]}; add their digests to"
                f" resources/held_out/{task.name}.txt (see resources/held_out/README.md)"
            )
    assert not keys["train"] & keys["validation"]


def _template(task: Task, entry: Dataset) -> str:
    if entry.prompt_template is None:
        return task.template()
    path = located(entry.prompt_template)
    if not path.exists():
        raise ValueError(
            f"catalogue.{task.name}.prompt_template: {entry.prompt_template} does not exist"
        )
    return read_template(path)


def _read(task: Task, file: str, split: str) -> list[Problem]:
    path = located(file)
    if not path.exists():
        raise ValueError(
            f"catalogue.{task.name}.{split}: {file} does not exist; expected a file"
            f" ({_fields(task)})"
        )
    return task.read(path)


def _fields(task: Task) -> str:
    return f"fields: {', '.join(task.fields)}; where to get it: resources/sources.csv"
