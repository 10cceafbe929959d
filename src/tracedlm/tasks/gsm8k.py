"""GSM8K: word problems of grade school whose answer is a number.

JSON lines with `question` and `answer` (the gold after `####`).
"""

import re
from fractions import Fraction
from typing import final

from tracedlm.tasks.equivalence import equivalent
from tracedlm.tasks.extract import answer_block, boxes_of_a_line, final_answer
from tracedlm.tasks.notation import undressed
from tracedlm.tasks.quantity import CURRENCY
from tracedlm.tasks.task import Problem, Score, Scorer, Task, text_key
from tracedlm.tasks.worked import response

NUMBER = re.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?|-?\.[0-9]+")
DEGREES = r"\^\s*\{?\\circ\s*\}?"
WHOLE_NUMBER = re.compile(r"-?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)?(\.[0-9]+)?")
D1_NUMBER = re.compile(r"-?[0-9]+\.?[0-9]*")
D1_GOLD = re.compile(r"\s*\$?([0-9,]+(?:\.[0-9]+)?)")
CALCULATION = re.compile("<<[^<>]*>>")
LONGEST_ANSWER = 400


@final
class Gsm8k(Task):
    """The papers' 1,319 test problems, or any file of their form."""

    name = "gsm8k"
    fields = ("question", "answer")

    def check(self, problem: Problem) -> None:
        check_number_answer(problem)

    def key(self, problem: Problem) -> str:
        return text_key(problem["question"])

    def question(self, problem: Problem) -> str:
        return problem["question"]

    def solve(self, problem: Problem, length: int) -> str:
        """The solution printed with the problem, without its calculator marks."""
        worked = CALCULATION.sub("", problem["answer"].rpartition("####")[0]).strip()
        return response(worked, rf"\boxed{{{gold_number(problem)}}}")

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        return mark_number(problem, text, scorer)


def check_number_answer(problem: Problem) -> None:
    """Raise a ValueError where `question` is empty or `answer` does not end in `#### number`."""
    if not problem["question"].strip():
        raise ValueError("field 'question' is empty")
    if "####" not in problem["answer"] or read_number(gold_number(problem)) is None:
        raise ValueError(
            f"field 'answer': {problem['answer'][-40:]!r} does not end in '#### <number>'"
        )


def gold_number(problem: Problem) -> str:
    """The gold answer as printed, thousands separators included."""
    return problem["answer"].rpartition("####")[2].strip()


def mark_number(problem: Problem, text: str, scorer: Scorer) -> Score:
    """Mark a response whose answer is a number; `problem` has its gold after `####` in `answer`."""
    if scorer == "d1":
        found, gold = _d1_number(text), D1_GOLD.match(problem["answer"].rpartition("####")[2])
        # The published reader of gold answers finds none in a negative one, so that nothing is
        # right there.
        right = found is not None and gold is not None and found == float(gold[1].replace(",", ""))
        return Score(None if found is None else f"{found:.15g}", float(right), right)
    answer = final_answer(text)
    if not answer or len(answer) > LONGEST_ANSWER:
        return Score(answer and answer[:200], 0.0, False)
    number, gold = read_number(answer), gold_number(problem)
    right = equivalent(answer, gold) if number is None else number == read_number(gold)
    return Score(answer[:200], float(right), right)


def read_number(text: str) -> Fraction | None:
    r"""The one number in a text that holds no other mathematics.

    None where there are none or several.

    >>> (
    ...     read_number(r"\$1,450 per week"),
    ...     read_number("6*3 = 18"),
    ...     read_number("3 or 4"),
    ...     read_number("1,45"),
    ... )
    (Fraction(1450, 1), None, None, None)
    """
    dress = rf"{DEGREES}|\\text\b|\\[$%]|[{{}}%{CURRENCY}]"
    plain = re.sub(dress, "", undressed(text)).strip()
    found = NUMBER.findall(plain)
    if (
        len(found) != 1
        or re.search(r"[\\^_*/+=!]|[^\x00-\x7f]", plain)
        or not WHOLE_NUMBER.fullmatch(found[0])
    ):
        return None
    return Fraction(found[0].replace(",", ""))


def _d1_number(text: str) -> float | None:
    """First box with a number, as a float or the first number in it.

    Else `<answer>`, as a float or the last number in it.
    """
    for content in boxes_of_a_line(text):
        if (found := _d1_float(content, first=True)) is not None:
            return found
    return _d1_float(answer_block(text) or "", first=False)


def _d1_float(text: str, first: bool) -> float | None:
    # Python's float also reads the digits of other scripts; here they are no numbers.
    try:
        return float(text) if text.isascii() else _chosen(text, first)
    except ValueError:
        return _chosen(text, first)


def _chosen(text: str, first: bool) -> float | None:
    numbers = D1_NUMBER.findall(text)
    return float(numbers[0 if first else -1]) if numbers else None
