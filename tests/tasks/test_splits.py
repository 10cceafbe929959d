"""No problem is in two splits, and the papers' test problems are in none that we draw."""

import json
import random

import pytest

from tracedlm.resources import resource
from tracedlm.tasks import GENERATED, get_task
from tracedlm.tasks.sudoku import solutions
from tracedlm.tasks.task import held_out, key_digest, text_key

SPLITS = ("train", "validation", "test")
PAPERS = {
    "countdown": ("countdown_cd3_test.jsonl", 256),
    "sudoku": ("4x4_test_sudoku.csv", 500),
    "gsm8k": ("gsm8k/test.jsonl", 1319),
    "math500": ("math500.jsonl", 500),
}


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="unknown split 'val'; known: test, validation, train"):
        get_task("sudoku").sample("val", 1, seed=0)


@pytest.mark.parametrize("name", GENERATED)
def test_samples_of_the_splits_are_disjoint(name):
    task = get_task(name)
    keys = {
        split: {task.key(problem) for problem in task.sample(split, 60, seed=3)} for split in SPLITS
    }
    assert all(len(found) == 60 for found in keys.values())
    assert (
        not keys["train"] & keys["validation"]
        and not keys["train"] & keys["test"]
        and not keys["validation"] & keys["test"]
    )


@pytest.mark.parametrize("name", GENERATED)
def test_a_split_is_a_function_of_the_problem_alone(name):
    task = get_task(name)
    for split in SPLITS:
        assert all(
            task.split_of(dict(problem)) == split for problem in task.sample(split, 20, seed=5)
        )
    assert (
        task.sample("train", 20, seed=5)
        == task.sample("train", 20, seed=5)
        != task.sample("train", 20, seed=6)
    )


def test_countdown_problems_are_the_same_in_any_order_of_the_numbers():
    task = get_task("countdown")
    one, other = {"input": "30,100,93", "output": "23"}, {"input": "93,30,100", "output": "23"}
    assert task.key(one) == task.key(other) != task.key({**one, "output": "24"})


@pytest.mark.parametrize("name", ["countdown", "sudoku"])
def test_the_shipped_test_files_hold_problems_of_the_test_split(name):
    task = get_task(name)
    shipped = task.read(next(resource("data").glob(f"{name}_test.*")))
    assert {task.split_of(problem) for problem in shipped} == {"test"}


@pytest.mark.shared
@pytest.mark.parametrize("name", PAPERS)
def test_all_of_the_papers_test_problems_are_held_out(name, shared):
    file, count = PAPERS[name]
    task = get_task(name)
    problems = task.read(shared / "data" / file)
    assert len(problems) == count
    assert {key_digest(task.key(problem)) for problem in problems} == held_out(name)
    assert {task.split_of(problem) for problem in problems} == {None}
    if name in ("gsm8k", "math500"):  # questions in words: s1K is kept free of them too
        assert all(
            get_task("s1k").split_of({"question": task.question(problem)}) is None
            for problem in problems
        )


def fifth(splits):
    """Whether validation is 20 % of what may be learnt from, within three standard errors."""
    learnt = [split for split in splits if split != "test"]
    return learnt.count("validation") / len(learnt) == pytest.approx(
        0.2, abs=3 * (0.16 / len(learnt)) ** 0.5
    )


@pytest.mark.parametrize("name", GENERATED)
def test_a_fifth_of_what_is_drawn_and_not_test_is_validation(name):
    task, rng = get_task(name), random.Random(0)
    assert task.shares["validation"] / (1 - task.shares["test"]) == pytest.approx(0.2)
    assert fifth([task.split_of(task.draw(rng)) for _ in range(1500)])


@pytest.mark.parametrize(
    ("name", "field"),
    {"gpqa": "Question", "gsm8k": "question", "math500": "problem", "s1k": "question"}.items(),
)
def test_a_fifth_of_any_training_file_is_validation_and_none_of_it_test(name, field):
    splits = [get_task(name).split_of({field: f"What is {n} + 1?"}) for n in range(3000)]
    assert set(splits) == {"train", "validation"} and fifth(splits)


@pytest.mark.shared
def test_a_fifth_of_a_training_file_is_validation(shared):
    task = get_task("gsm8k")
    splits = [task.split_of(problem) for problem in task.read(shared / "data/gsm8k/train.jsonl")]
    assert set(splits) == {"train", "validation"}
    assert fifth(splits)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is $2+3$?", "what is  2 + 3", True),
        ("What is $2+3$?", "What is $2-3$?", False),
        ("Take 1.5.", "Take 15.", False),
        ("Tom has 3 pens.", "Tom has 4 pens.", False),
        (r"\left( x \right)", "( x )", False),
    ],
)
def test_the_key_of_a_question_is_its_words_numbers_and_operators(one, other, same):
    assert (text_key(one) == text_key(other)) is same


@pytest.mark.shared
def test_no_generated_split_contains_a_paper_puzzle(shared):
    for name in ("countdown", "sudoku"):
        task = GENERATED[name]
        papers = {task.key(problem) for problem in task.read(shared / "data" / PAPERS[name][0])}
        for split in SPLITS:
            assert not papers & {task.key(problem) for problem in task.sample(split, 200, seed=0)}


@pytest.mark.shared
def test_a_quarter_of_the_papers_sudokus_have_several_solutions(shared):
    puzzles = [
        problem["Puzzle"]
        for problem in get_task("sudoku").read(shared / "data/4x4_test_sudoku.csv")
    ]
    assert (sum(len(solutions(puzzle)) > 1 for puzzle in puzzles), len(puzzles)) == (124, 500)


def test_drawn_sudokus_have_eight_blanks_and_drawn_countdowns_a_solution_of_integers():
    for seed in range(20):
        assert GENERATED["sudoku"].draw(random.Random(seed))["Puzzle"].count("0") == 8
        problem = GENERATED["countdown"].draw(random.Random(seed))
        assert len(problem["input"].split(",")) == 3 and 1 <= int(problem["output"]) <= 100
        json.dumps(problem)
