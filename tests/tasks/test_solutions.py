"""Every worked solution that a model is trained on is right, by both scorers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.tasks import TASKS, get_task


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("length", [128, 256])
@given(seed=st.integers(0, 2**32))
def test_a_generated_solution_is_correct_under_both_scorers(name, length, seed):
    task, rng = get_task(name), random.Random(seed)
    problem = task.draw(rng)
    text = task.solve(problem, length)
    for scorer in ("strict", "d1"):
        score = task.score(problem, text, scorer)
        assert score.correct and score.value == 1.0, text


@pytest.mark.parametrize("name", TASKS)
def test_the_solution_of_another_problem_is_wrong(name):
    task = get_task(name)
    one, other = task.sample("train", 2, 0)
    assert not task.score(one, task.solve(other, 128)).correct


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown dataset 'sudku'; known: countdown, sudoku. Did you mean 'sudoku'"):
        get_task("sudku")
