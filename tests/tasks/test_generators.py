"""wordmath and algebra against naive solvers that read the question alone.

Their calculations, their sizes and their keys.
"""

import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedlm.tasks import get_task
from tracedlm.tasks.arithmetic import evaluate
from tracedlm.tasks.wordmath import LARGEST, NAMES, STEPS, THINGS

LEVELS = [(name, difficulty) for name in ("wordmath", "algebra") for difficulty in (1, 2, 3)]
seeds = st.integers(0, 2**32)


def told(question):
    """The answer to a story, sentence by sentence."""
    count = other = None
    for sentence in re.split(r"(?<=[.?]) ", question):
        numbers = [int(number) for number in re.findall(r"\d+", sentence)]
        if "bags with" in sentence:
            count = numbers[0] * numbers[1]
        elif "times as many" in sentence and " as " in sentence.split("many")[1]:
            other = count * numbers[0]
        elif "more" in sentence and "than" in sentence:
            other = count + numbers[0]
        elif re.fullmatch(r"\w+ has \d+ \w+\.", sentence):
            count, other = (numbers[0], other) if count is None else (count, numbers[0])
        elif "gives" in sentence:
            count += numbers[0]
        elif "times as many" in sentence or "dollars each" in sentence:
            count *= numbers[0]
        elif "puts them into" in sentence:
            count = Fraction(count, numbers[0])
        elif "sells" in sentence:
            count -= numbers[0]
        if "together?" in sentence:
            count += other
    return count


def value(text, **unknowns):
    """A LaTeX expression with its unknowns replaced, in exact fractions."""
    text = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"Fraction(\1,\2)", text)
    text = re.sub(r"(?<=[\d)])(?=[nxy(])", "*", text.replace("^", "**"))
    return eval(
        text,
        {"Fraction": Fraction, **{name: Fraction(number) for name, number in unknowns.items()}},
    )


def solved(problem):
    """The answers that a problem allows, found by trying.

    For an expansion, the values of both sides at a few points.
    """
    formulas = re.findall(r"\$([^$]+)\$", problem)
    if problem.startswith(("Solve", "What is the larger root")):
        left, right = formulas[0].split("=")
        (name,) = set(re.findall("[nxy]", formulas[0]))
        roots = [n for n in range(300) if value(left, **{name: n}) == value(right, **{name: n})]
        return max(roots)
    if problem.startswith("Two numbers"):
        total, difference = map(int, formulas)
        return next(n for n in range(total) if n - (total - n) == difference)
    if problem.endswith("what is $x$?"):
        (one, a), (two, b) = (formula.split("=") for formula in formulas[:2])
        pairs = [(x, y) for x in range(50) for y in range(100)]
        (found,) = {
            x for x, y in pairs if value(one, x=x, y=y) == int(a) and value(two, x=x, y=y) == int(b)
        }
        return found
    if problem.startswith("If"):
        name, at = formulas[0].split("=")
        return value(formulas[1], **{name: int(at)})
    return value(formulas[0])


@pytest.mark.parametrize("difficulty", [1, 2, 3])
@settings(max_examples=60)
@given(seed=seeds)
def test_the_gold_of_a_story_is_what_the_story_says(difficulty, seed):
    problem = get_task("wordmath", difficulty).draw(random.Random(seed))
    assert told(problem["question"]) == int(problem["answer"].split("####")[1]), problem
    calculations = re.findall("<<(.*?)>>", problem["answer"])
    assert STEPS[difficulty][0] <= len(calculations) <= STEPS[difficulty][1]
    assert max(map(int, re.findall(r"\d+", problem["question"] + problem["answer"]))) <= LARGEST


@pytest.mark.parametrize("difficulty", [1, 2, 3])
@settings(max_examples=40)
@given(seed=seeds)
def test_the_answer_of_algebra_solves_the_problem(difficulty, seed):
    problem = get_task("algebra", difficulty).draw(random.Random(seed))
    answer = problem["answer"]
    if problem["problem"].startswith("Expand"):
        (name,) = set(re.findall("[nxy]", answer))
        product = re.findall(r"\$([^$]+)\$", problem["problem"])[0]
        assert all(value(product, **{name: n}) == value(answer, **{name: n}) for n in range(3))
    else:
        assert solved(problem["problem"]) == value(answer), problem
    # In lowest terms.
    assert "frac" not in answer or Fraction(value(answer)).denominator == int(
        re.findall(r"\d+", answer)[1]
    )


@pytest.mark.parametrize(("name", "difficulty"), LEVELS)
@settings(max_examples=25)
@given(seed=seeds)
def test_every_line_of_reasoning_is_a_true_equation_and_longer_canvases_hold_more(
    name, difficulty, seed
):
    task = get_task(name, difficulty)
    problem = task.draw(random.Random(seed))
    texts = [task.solve(problem, length) for length in (128, 256, 512)]
    for length, text in zip((128, 256, 512), texts, strict=True):
        lines = text.split("<reasoning>\n")[1].split("\n</reasoning>")[0].split("\n")
        for line in lines:
            left, right = line.split("=")
            assert evaluate(left) == evaluate(right), line
        assert text.endswith(
            "</reasoning>\n<answer>\n"
            f"\\boxed{{{problem['answer'].rpartition('#### ')[2]}}}\n</answer>"
        )
        assert len(text) < length  # a token is at least a character
    assert len(texts[0]) < len(texts[1]) <= len(texts[2])


@pytest.mark.parametrize(("name", "difficulty"), LEVELS)
def test_what_is_drawn_is_diverse_and_readable_again(name, difficulty, tmp_path):
    task, rng = get_task(name, difficulty), random.Random(0)
    problems = [task.draw(rng) for _ in range(400)]
    assert len({task.key(problem) for problem in problems}) > 320
    task.write(problems, tmp_path / "file")
    assert task.read(tmp_path / "file") == problems


def test_difficulty_is_part_of_no_name_and_off_the_scale_it_is_refused():
    for name in ("wordmath", "algebra"):
        assert get_task(name, 3).name == name
        with pytest.raises(ValueError, match=f"{name}: difficulty 4 is not 1, 2 or 3"):
            get_task(name, 4)


@given(seed=seeds, shuffle=st.permutations(NAMES), thing=st.sampled_from(THINGS))
def test_renaming_people_and_things_leaves_the_key_of_a_story(seed, shuffle, thing):
    task = get_task("wordmath")
    problem = task.draw(random.Random(seed))
    renamed = re.sub(
        "|".join(NAMES), lambda name: shuffle[NAMES.index(name[0])], problem["question"]
    )
    renamed = re.sub("|".join(THINGS), thing, renamed)
    assert task.key({"question": renamed}) == task.key(problem)
    changed = re.sub(r"\d+", lambda number: str(int(number[0]) + 1), problem["question"], count=1)
    assert task.key({"question": changed}) != task.key(problem)


def test_swapping_who_has_what_is_another_story():
    task = get_task("wordmath")
    one = {"question": "Ann has 5 pens. Ben gives Ann 2 more. Ann has how many?"}
    other = {"question": "Ann has 5 pens. Ann gives Ben 2 more. Ann has how many?"}
    assert task.key(one) != task.key(other)


@given(seed=seeds, letter=st.sampled_from("nxy"))
def test_renaming_the_unknown_leaves_the_key_of_algebra(seed, letter):
    task = get_task("algebra", 3)
    problem = task.draw(random.Random(seed))["problem"]
    if "x+y" in problem:  # two unknowns: swapping their names changes nothing either
        renamed = problem.translate(str.maketrans("xy", "yx"))
    else:
        renamed = re.sub(r"(?<![A-Za-z\\])[nxy](?![A-Za-z])", letter, problem)
    assert task.key({"problem": renamed}) == task.key({"problem": problem})
