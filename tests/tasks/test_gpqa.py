"""GPQA: four options in an order that the seed decides, and the letter of one as the answer."""

from collections import Counter

import pytest

from tracedlm.tasks import get_task

GPQA = get_task("gpqa")
OPTIONS = {
    "Correct Answer": "neon",
    "Incorrect Answer 1": "iron",
    "Incorrect Answer 2": "zinc",
    "Incorrect Answer 3": "gold",
}


def problem(n=0):
    return {
        "Question": f"Which of these is noble gas number {n}?",
        **OPTIONS,
        "Subdomain": "Chemistry",
    }


def test_the_question_holds_every_option_once_and_its_order_is_kept():
    arranged = GPQA.arranged(problem(), seed=3)
    lines = GPQA.question(arranged).split("\n")
    assert lines[0] == problem()["Question"] and sorted(line[3:] for line in lines[1:]) == sorted(
        OPTIONS.values()
    )
    assert [line[:3] for line in lines[1:]] == ["A) ", "B) ", "C) ", "D) "]
    assert GPQA.arranged(problem(), seed=3) == arranged and GPQA.key(arranged) == GPQA.key(
        problem()
    )


def test_the_seed_and_the_question_decide_the_letter():
    letters = [
        GPQA.order(GPQA.arranged(problem(n), seed)).index("0")
        for n in range(200)
        for seed in (0, 1)
    ]
    assert all(70 < count < 130 for count in Counter(letters).values()) and len(set(letters)) == 4
    assert letters[::2] != letters[1::2]


@pytest.mark.parametrize("order", ["0123", "3120", "1302"])
def test_the_letter_of_the_correct_option_is_right_and_no_other(order):
    chosen = {**problem(), "Order": order}
    for letter, index in zip("ABCD", order, strict=True):
        for scorer in ("strict", "d1"):
            assert GPQA.score(chosen, rf"\boxed{{A}} or \boxed{{{letter}}}", scorer).correct is (
                index == "0"
            )


@pytest.mark.parametrize(
    ("text", "strict", "d1"),
    [
        (r"\boxed{\text{B}}", "B", "B"),
        (r"\boxed{(B)}", "B", "B"),
        ("<answer>B.</answer>", "B", "B"),
        ("<answer>B) iron</answer>", None, "B"),
        (r"\boxed{A or B}", None, "A"),
        (r"\boxed{Both}", None, None),
        (r"\boxed{b}", None, None),
        ("B", None, None),
        (r"\boxed{E}", None, None),
    ],
)
def test_what_counts_as_a_letter(text, strict, d1):
    assert GPQA.score(problem(), text).answer == strict
    assert GPQA.score(problem(), text, "d1").answer == d1


def test_there_are_no_worked_solutions():
    with pytest.raises(ValueError, match="gpqa has no worked solutions"):
        GPQA.solve(problem(), 128)
