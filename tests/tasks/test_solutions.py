"""Every worked solution that a model is trained on is right, by both scorers, and short enough for
its canvas.
"""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedlm.tasks import GENERATED, TASKS, generated_task, get_task, names


@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.parametrize("length", [128, 256, 512])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_a_generated_solution_is_correct_under_both_scorers(name, length, seed):
    task, rng = GENERATED[name], random.Random(seed)
    problem = task.draw(rng)
    text = task.solve(problem, length)
    for scorer in ("strict", "d1"):
        score = task.score(problem, text, scorer)
        assert score.correct and score.value == 1.0, text


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_countdowns_marks_compare_each_result_with_the_target(seed):
    problem = GENERATED["countdown"].draw(random.Random(seed))
    first, second, marks = GENERATED["countdown"].solve(problem, 128).splitlines()[1:4]
    target, results = (
        int(problem["output"]),
        [int(value) for row in (first, second) for value in re.findall(r"= *(-?\d+)", row)[1:]],
    )
    meaning = {"=": lambda value: value == target, "-": lambda value: value == -target}
    meaning |= {"<": lambda value: value < target, ">": lambda value: value > target}
    assert len(marks) == len(results) == 4
    assert all(meaning[mark](value) for mark, value in zip(marks, results, strict=True))
    assert all(
        (mark == "=") == (value == target) for mark, value in zip(marks, results, strict=True)
    )


@pytest.mark.parametrize("name", GENERATED)
def test_the_solution_of_another_problem_is_wrong(name):
    task = GENERATED[name]
    one, other = task.sample("train", 2, 0)
    assert not task.score(one, task.solve(other, 128)).correct


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(
        ValueError,
        match=(
            r"unknown dataset 'sudku'; known: algebra, countdown, .*wordmath. Did you mean 'sudoku'"
        ),
    ):
        get_task("sudku")


def test_the_names_that_configs_know_are_those_of_the_tasks():
    assert set(names.TASK_NAMES) == set(TASKS) and set(names.GENERATED) == set(GENERATED)
    assert set(names.TRAINING_ONLY) == {name for name, task in TASKS.items() if not task.scored}
    assert set(names.GRADED) == {
        name for name, task in GENERATED.items() if hasattr(task, "difficulty")
    }


def test_what_a_task_cannot_do_is_said():
    with pytest.raises(
        ValueError,
        match="gsm8k: its problems come from files; those that can be drawn: algebra, countdown",
    ):
        generated_task("gsm8k")
    with pytest.raises(ValueError, match="countdown has no difficulty; wordmath and algebra have"):
        get_task("countdown", difficulty=2)
