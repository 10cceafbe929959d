"""Text that means harm scores 0 for every task and scorer, and the work it makes is bounded.

Lines are counted, no clock is read.
"""

import sys

import pytest

from tracedlm.tasks import equivalence, get_task

SCORED = {
    "algebra": {"problem": "p", "solution": "s", "answer": "7"},
    "countdown": {"input": "30,100,93", "output": "23"},
    "gpqa": {
        "Question": "q",
        "Correct Answer": "c",
        **{f"Incorrect Answer {n}": str(n) for n in (1, 2, 3)},
    },
    "gsm8k": {"question": "q", "answer": "#### 387420489"},
    "math500": {"problem": "p", "answer": r"\frac{1}{7}"},
    "sudoku": {"Puzzle": "3102200002100320", "Solution": "3142243142131324"},
    "wordmath": {"question": "q", "answer": "#### 4711"},
}
HOSTILE = {
    "power": "9**9**9",
    "tower": "9^{9^{9}}",
    "equation": "9**9**9**9=23",
    "brackets": "(" * 3_000_000,
    "nul": "\0" * 1000,
    "nul in a number": "2\x003",
    "digits of another script": "٢٣",
    "expression in them": "٩٣-(١٠٠-٣٠)",
    "division by zero": "1/0",
    "hidden division by zero": "30/(100-100)*93",
    "long number": "9" * 100_000,
    "longer number": "9" * 3_000_000,
    "minus signs": "-" * 10_000 + "1",
    "open boxes": r"\boxed{" * 5000,
    "nested boxes": r"\boxed{" * 5000 + "}" * 5000,
    "code": "__import__('os').getcwd()",
    "answers": "<answer>" * 10_000 + "</answer>" * 10_000,
    "sixteens": "1234567890123456 " * 10_000,
    "grid of another script": "٣١٤٢٢٤٣١٤٢١٣١٣٢٤",
    "surrogate": "\ud800",
    "nothing": "",
    "factorial": "100000!",
    "sum": r"\sum_{n=1}^{10^{9}} n",
    "nested powers": "((((9^9)^9)^9)^9)^9",
    "roots": r"\sqrt{2+" * 100 + "1" + "}" * 100,
    "fractions": r"\frac{1}{" * 100 + "1" + "}" * 100,
    "slashes": "1/" * 50_000 + "1",
    "file": r"\input{/etc/passwd}",
    "infinite": "inf",
    "not a number": "nan",
    "huge exponent": "1e999999999",
}
FRAMES = [
    "{}",
    "<answer>{}</answer>",
    r"\boxed{{{}}}",
    "<answer>```{}```</answer>",
    r"<answer>\boxed{{{}}}</answer>",
]


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("scorer", ["strict", "d1"])
def test_hostile_text_scores_zero_and_its_answer_is_short(name, scorer):
    task, problem = get_task(name), SCORED[name]
    for text in HOSTILE.values():
        for frame in FRAMES:
            score = task.score(problem, frame.format(text), scorer)
            assert not score.correct
            assert score.answer is None or len(score.answer) <= 310  # a float of 300 digits
            # By position, some cells of anything may be right.
            assert score.value == 0 or name == "sudoku"


@pytest.mark.parametrize(
    "text", [text for text in HOSTILE.values() if len(text) < 5000 and text.isascii()]
)
def test_what_could_last_never_reaches_the_library(text, monkeypatch):
    """Of these, only what is harmless is looked at by math-verify, and in another process."""
    asked = []
    monkeypatch.setattr(
        equivalence.Judge, "equal", lambda self, answer, gold: asked.append(answer) or False
    )
    assert not equivalence.equivalent(text, r"\frac{1}{7}")
    assert set(asked) <= {"1/0", "30/(100-100)*93", "inf", "nan", "1e999999999"}


def lines_run(function, *arguments):
    """Source lines executed in a call: the work done, without a clock."""
    count = 0

    def tracer(frame, event, _):
        nonlocal count
        count += event == "line"
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", ["countdown", "gsm8k", "gpqa", "math500", "sudoku"])
@pytest.mark.parametrize(
    "piece",
    [
        "(",
        r"\boxed{",
        "{",
        "}",
        "<answer>",
        "</answer>",
        "-",
        "1+",
        "1=",
        "1234567890123456 ",
        "```",
        "``` ",
        r"\frac",
        r"\sqrt{",
    ],
)
def test_the_work_of_scoring_is_at_most_linear_in_the_text(name, piece, monkeypatch):
    monkeypatch.setattr(equivalence.Judge, "equal", lambda self, answer, gold: False)
    for scorer in ("d1", "strict"):
        for frame in ("{}", "<answer>{}</answer>", r"\boxed{{{}}}"):
            small, large = (
                lines_run(get_task(name).score, SCORED[name], frame.format(piece * n), scorer)
                for n in (100, 1000)
            )
            assert large <= 10 * small + 1000


@pytest.mark.parametrize("name", SCORED)
def test_the_longest_text_that_is_read_is_read_quickly(name):
    """Characters of one kind, the worst for a search that goes back.

    All regular expressions see each a bounded number of times.
    """
    for character in ("1", "-", " ", "\n", "`", "{", "=", "/", "<", "\\"):
        for frame in FRAMES:
            assert (
                not get_task(name)
                .score(SCORED[name], frame.format(character * 30_000), "d1")
                .correct
            )
