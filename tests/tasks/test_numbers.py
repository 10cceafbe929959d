"""Answers that are numbers (gsm8k, wordmath).

The published reading of method.md section 8, line by line, and the strict one.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.tasks import get_task
from tracedlm.tasks.gsm8k import read_number

GSM8K = get_task("gsm8k")


def right(text, gold="18", scorer="d1"):
    return GSM8K.score({"question": "q", "answer": f"so it is\n#### {gold}"}, text, scorer).correct


@pytest.mark.parametrize(
    ("text", "gold", "found"),
    [
        (r"\boxed{18}", "18", True),
        (r"\boxed{18.0}", "18", True),
        (r"\boxed{7} then \boxed{18}", "7", True),  # the first box
        (r"\boxed{7} then \boxed{18}", "18", False),
        (r"\boxed{} \boxed{...} \boxed{18}", "18", True),  # neither empty nor dots
        (r"\boxed{cubic} \boxed{18}", "18", True),  # nor without a number
        (r"\boxed{18 of 20}", "18", True),  # the first number in it
        (r"\boxed{\$18}", "18", True),
        (r"\boxed{-18}", "18", False),
        (r"\boxed{1,000}", "1,000", False),  # reads 1
        (r"\boxed{1,000}", "1", True),
        (r"\boxed{\frac{1}{2}}", "1", True),  # up to the first closing brace
        ("\\boxed{1\n8} \\boxed{18}", "18", True),  # on one line
        # Else the last number in <answer>.
        (
            r"\boxed{x}<answer>first 7, then 18</answer>",
            "18",
            True,
        ),
        ("<answer>18</answer><answer>7</answer>", "18", True),  # the first block
        ("<answer>18", "18", False),  # which must be closed
        ("it is 18", "18", False),
        (r"\boxed{1e1}", "10", True),  # as a float
        (r"\boxed{1_8}", "18", True),  # as Python reads one
        (r"\boxed{18}", "-18", False),
        (r"\boxed{-10}", "-10", False),  # its reader of gold answers finds none in a negative one
        (r"\boxed{0.1}", "0.1", True),
        ("\\boxed{١٨}", "18", False),  # unlike there: the digits of other scripts are no numbers
        (r"\boxed{0.30000000000000004}", "0.3", False),  # exact equality
    ],
)
def test_d1(text, gold, found):
    assert right(text, gold) is found


def published(text):
    """method.md section 8, gsm8k `d1`, with regular expressions, on ASCII."""
    for content in re.findall(r"\\boxed\{(.*?)\}", text):
        numbers = re.findall(r"-?\d+\.?\d*", content)
        for candidate in (content.strip(), *numbers[:1]):
            try:
                return float(candidate)
            except ValueError:
                continue
    block = re.search("<answer>(.*?)</answer>", text, re.DOTALL)
    for candidate in (
        (block[1].strip(), *re.findall(r"-?\d+\.?\d*", block[1])[-1:]) if block else ()
    ):
        try:
            return float(candidate)
        except ValueError:
            continue
    return None


PIECES = [
    r"\boxed{",
    "}",
    "{",
    "<answer>",
    "</answer>",
    "18",
    "-5",
    ",",
    ".",
    "...",
    " ",
    "\n",
    "x",
    "$",
    "1e3",
    "_0",
    "nan",
]


@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
def test_d1_is_the_published_reading_of_any_text(text):
    score = GSM8K.score({"question": "q", "answer": "#### 18"}, text, "d1")
    found = published(text)
    assert score.correct == (found == 18)
    assert score.answer == (None if found is None else f"{found:.15g}")


@pytest.mark.parametrize(
    ("text", "gold", "found"),
    [
        (r"\boxed{7} then \boxed{18}", "18", True),  # the last box
        (r"\boxed{1,000}", "1000", True),  # thousands
        (r"\boxed{1000}", "1,000", True),
        (r"\boxed{\$1{,}000}", "1000", True),
        (r"\boxed{10,00}", "1000", False),
        (r"\boxed{18 \text{ dollars}}", "18", True),  # units
        (r"\boxed{18 dollars a day}", "18", True),
        (r"\boxed{18\%}", "18", True),
        (r"\boxed{6 \times 3 = 18}", "18", True),
        (r"\boxed{\frac{36}{2}}", "18", True),  # mathematics
        (r"\boxed{x = 18}", "18", True),
        (r"\boxed{-10}", "-10", True),
        ("\\boxed{\N{MINUS SIGN}10}", "-10", True),
        (r"\boxed{18.00}", "18", True),
        # Without a box, the one number of the block.
        (
            "<answer>It takes 18 days.</answer>",
            "18",
            True,
        ),
        ("<answer>6 and 18</answer>", "18", False),
        ("it is 18", "18", False),
        (r"\boxed{17 or 18}", "18", False),
        ("\\boxed{١٨}", "18", False),
        (r"\boxed{2:00}", "2", False),
        (r"\boxed{cubic inches}", "72", False),
        ("<answer>" + "no " * 200 + "18</answer>", "18", False),
    ],
)
def test_strict(text, gold, found):
    assert right(text, gold, "strict") is found


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{:,}"]))
def test_a_whole_number_is_read_with_and_without_separators(number, form):
    assert read_number(form.format(number)) == number
    assert read_number(rf"\${form.format(number)}\text{{ cents}}") == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "1 2",
        "1,00",
        "1.2.3",
        "2^3",
        "2*3",
        "1/2",
        r"\frac{1}{2}",
        "٣",
        "3!",
        r"\sqrt{4}",
    ],
)
def test_what_is_not_one_number_is_none(text):
    assert read_number(text) is None
