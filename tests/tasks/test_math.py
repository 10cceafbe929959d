"""Answers in LaTeX (math500, algebra): Hendrycks' spelling, and what is equal as mathematics."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.tasks import get_task
from tracedlm.tasks.equivalence import Judge, equivalent, tractable
from tracedlm.tasks.hendrycks import same_answer

MATH = get_task("math500")


def right(text, gold, scorer="d1"):
    return MATH.score({"problem": "p", "answer": gold}, text, scorer).correct


@pytest.mark.parametrize(
    ("text", "gold", "found"),
    [
        (r"\boxed{1} no, \boxed{2}", "2", True),  # the last box
        (r"\boxed{1} no, \boxed{2}", "1", False),
        (r"\boxed{\boxed{2}}", "2", True),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", True),  # balanced
        (r"\boxed{2 <answer>3</answer>", "3", True),  # never closed: <answer>
        (r"\boxed{} <answer>3</answer>", "3", True),
        ("3", "3", True),  # no box: the whole text
        ("<answer>3</answer>", "3", False),
        (r"\fbox{3}", "3", False),
        (r"it is $\boxed 3$ and \boxed{4}", "3", True),
    ],
)
def test_d1_takes_the_published_answer(text, gold, found):
    assert right(text, gold) is found


SPELT_ALIKE = [
    ("1\n2", "12"),
    (r"10,\!080", "10,080"),
    (r"\dfrac{1}{2}", r"\tfrac{1}{2}"),
    (r"\left( 1, 2 \right)", "(1,2)"),
    (r"90^\circ", "90"),
    (r"90^{\circ}", "90"),
    (r"\$32", "32"),
    (r"5 \text{ cm}", "5"),
    (r"50\%", "50"),
    (".5", r"\frac{1}{2}"),
    ("0.5", r"\frac12"),
    ("x = 3", "3"),
    ("k=3", "3"),
    (r"\sqrt3", r"\sqrt{3}"),
    (r"\frac12", r"\frac{1}{2}"),
    (r"\frac1{72}", r"\frac{1}{72}"),
    ("3/4", r"\frac{3}{4}"),
    ("{.5}", "{0.5}"),
    (r"\\pi", r"\pi"),
]
SPELT_DIFFERENTLY = [
    (r"2\sqrt{3}", r"\sqrt{12}"),
    ("xyz=3", "3"),
    ("x=y=3", "3"),
    ("0.50", r"\frac{1}{2}"),
    ("a/b", r"\frac{a}{b}"),
    ("1000", "1,000"),
    (r"5 \text{ cm} \text{ or }", "5"),  # units in two places: compared as it stands
    (r"\frac", ""),
    (r"\frac{1}{2}\frac1", r"\frac{1}{2}\frac{1}"),
    (r"1 \sqrt", r"1\sqrt"),
    ("03/4", r"\frac{3}{4}"),
]


@pytest.mark.parametrize(("one", "other"), SPELT_ALIKE)
def test_one_spelling(one, other):
    assert same_answer(one, other) and same_answer(other, one)
    assert right(rf"\boxed{{{one}}}", other)


@pytest.mark.parametrize(("one", "other"), SPELT_DIFFERENTLY)
def test_different_spellings(one, other):
    assert not same_answer(one, other)


@given(st.text(alphabet="\\fracsqrt{}12/ =.%", max_size=20))
def test_every_text_is_spelt_like_itself(text):
    assert same_answer(text, text)


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        ("1000", "1,000", True),
        ("x^2-1", "(x-1)(x+1)", True),
        ("(3, \\pi/2)", r"\left( 3, \frac{\pi}{2} \right)", True),
        ("2, 1", "1, 2", True),
        ("(2, 1)", "(1, 2)", False),
        (r"\frac{2}{4}", "0.5", True),
        ("x", "y", False),
        ("1.41", r"\sqrt{2}", False),
        (r"\text{(C)}", "C", True),
        ("", "0", False),
    ],
)
def test_equal_as_mathematics(answer, gold, equal):
    assert equivalent(answer, gold) is equal
    assert right(rf"so \boxed{{{answer}}}", gold, "strict") is equal


def test_a_question_that_ends_the_judge_is_undecided_and_the_next_is_answered():
    judge = Judge()
    # `tractable` refuses it, the judge runs into its limit.
    assert judge.equal("9^{9^{9^{9}}}", "1") is False and judge.process is None
    assert judge.equal("2/4", "1/2") is True
    judge.process.kill()
    judge.process.wait()
    assert judge.equal("2/4", "1/2") is False and judge.process is None  # ended by somebody else


def test_several_threads_may_ask():
    answers = [None] * 4

    def ask(n):
        answers[n] = equivalent(rf"{n + 2}\sqrt{{3}}", rf"\sqrt{{{3 * (n + 2) ** 2}}}")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4


PLAIN = [
    "2^{200}",
    r"x^{\frac{1}{2}}",
    "(x+1)^{9}",
    r"\{1\pm\sqrt{5},-2\}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"11,\! 111",
]
LONG = [
    "2^{201}",
    "2^{2^2}",
    "(x+1)^{10}",
    "(((2^9)^9)^9)^9",
    "2**3",
    "5!",
    "1" * 21,
    "x" * 161,
    r"\int x",
    "{{{{{1}}}}}",
    "(((((",
]
BROKEN = ["", "{", "}{", "٣", "\0", "'x'", "\N{NO-BREAK SPACE}"]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_mathematics_is_tractable(text):
    assert tractable(text)


@pytest.mark.parametrize("text", [*LONG, *BROKEN])
def test_what_could_take_long_or_is_broken_is_not(text):
    assert not tractable(text)


@pytest.mark.shared
def test_every_gold_of_math500_is_tractable_and_right_under_both_scorers(shared):
    for problem in MATH.read(shared / "data/math500.jsonl"):
        assert tractable(problem["answer"])
        for scorer in ("d1", "strict"):
            assert MATH.score(
                problem, rf"<answer>\boxed{{{problem['answer']}}}</answer>", scorer
            ).correct
