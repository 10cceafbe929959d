"""Countdown with three numbers: reach a target with + - * /, using each number exactly once.

File format of the papers' test set: JSON lines with `input` ("30,100,93") and `output` ("23").
"""

import random
import re
from itertools import permutations
from typing import NamedTuple, final

from tracedlm.tasks.arithmetic import (
    ArithmeticRefused,
    digit_runs,
    evaluate,
    integers,
    python_value,
)
from tracedlm.tasks.extract import answer_block, d1_boxed, final_answer
from tracedlm.tasks.notation import undressed
from tracedlm.tasks.task import GeneratedTask, Problem, Score, Scorer

ROOM_FOR_ANSWER = 30
"""Tokens a response needs besides its lines; in these lines a token is a character, or less."""


@final
class Countdown(GeneratedTask):
    """Three numbers in 1..100, one target in 1..100.

    The distribution of the papers' 256 test puzzles.
    """

    name = "countdown"
    fields = ("input", "output")

    def check(self, problem: Problem) -> None:
        try:
            numbers, target = _parse(problem)
        except ValueError:
            raise ValueError(
                f"fields 'input' and 'output': {problem['input']!r} and {problem['output']!r} are"
                ' no numbers; expected {"input": "3,5,7", "output": "8"}'
            ) from None
        if not numbers or target < 0:
            raise ValueError(
                f"field 'output': the target {target} is negative; expected a number from 0"
            )

    def draw(self, rng: random.Random) -> Problem:
        # The numbers are drawn first and kept, as in the papers' file: redrawing them with the
        # expression favours small ones.
        while True:
            a = rng.randint(1, 100)
            b = rng.randint(1, 100)
            c = rng.randint(1, 100)
            for _ in range(100):
                first, second = rng.choice("+-*/"), rng.choice("+-*/")
                partial = _apply(a, first, b)
                if partial is None:
                    continue
                value = (
                    _apply(partial, second, c) if rng.random() < 0.5 else _apply(c, second, partial)
                )
                if value is not None and 1 <= value <= 100:
                    return {"input": f"{a},{b},{c}", "output": str(value)}

    def key(self, problem: Problem) -> str:
        numbers, target = _parse(problem)
        return f"{sorted(numbers)}={target}"

    def question(self, problem: Problem) -> str:
        numbers, target = _parse(problem)
        return f"Countdown: make {target} from {','.join(map(str, numbers))}."

    def solve(self, problem: Problem, length: int) -> str:
        """Work forwards: what two numbers make, and what that and the last one make.

        Then the line that makes the target.

        The sum and the difference of the first two come first, then how each result compares with
        the target; where none is it, a line that leads to it follows. The other pairs' sums and
        differences fill the room there is.
        """
        (a, b, c), target = _parse(problem)
        rows = [row for pair in ((a, b, c), (a, c, b), (b, c, a)) for row in _rows(*pair)]
        found = _sum_or_difference(rows[:2], target) or _any_solution((a, b, c), target)
        lines = [row.text for row in rows[:2]] + [
            f"{''.join(row.marks(target) for row in rows[:2])}\n",
            found.line,
        ]
        room = length - ROOM_FOR_ANSWER - len(found.check) - sum(map(len, lines))
        lines += [row.text for row in rows[2 : 2 + room // len(rows[0].text)]]
        reasoning = f"<reasoning>\n{''.join(lines)}{found.check}</reasoning>"
        return f"{reasoning}\n<answer>\n\\boxed{{{found.answer}}}\n</answer>"

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        numbers, target = _parse(problem)
        found = (
            (_d1_expression, python_value, digit_runs)
            if scorer == "d1"
            else (_strict_expression, evaluate, integers)
        )
        expression_in, value_of, numbers_in = found
        expression = expression_in(text)
        if not expression:
            return Score(None, 0.0, False)
        try:
            right = abs(value_of(expression) - target) < 1e-5 and sorted(
                numbers_in(expression)
            ) == sorted(numbers)
        except ArithmeticRefused:
            right = False
        return Score(expression[:200], float(right), right)


def _parse(problem: Problem) -> tuple[list[int], int]:
    return [int(number) for number in problem["input"].split(",")], int(problem["output"])


def _apply(a: int, operator: str, b: int) -> int | None:
    """Integer result of one operation, or None where it is not an integer."""
    if operator == "/":
        return a // b if b and a % b == 0 else None
    return {"+": a + b, "-": a - b, "*": a * b}[operator]


def _wide(a: int, operator: str, b: int, result: int) -> str:
    """A step in which every number takes three characters.

    In steps as wide as their numbers, the place of a later word tells what will be chosen before
    anything is calculated, and a denoiser, which writes down first what is most certain, commits
    itself to the likeliest choice (docs/log.md).
    """
    return f"{a:3}{operator}{b:3}={result:3}"


class Row(NamedTuple):
    """What two numbers make, and what that and the last one make."""

    x: int
    operator: str
    y: int
    value: int
    last: int

    @property
    def text(self) -> str:
        r"""A line; all are equally long.

        >>> Row(86, "+", 74, 160, 12).text
        ' 86+ 74=160:+ 12=172,- 12=148\n'
        """
        sum_, difference = self.value + self.last, self.value - self.last
        first = _wide(self.x, self.operator, self.y, self.value)
        return f"{first}:+{self.last:3}={sum_:3},-{self.last:3}={difference:3}\n"

    def marks(self, target: int) -> str:
        """How the sum and the difference compare with the target.

        `=`, `<`, `>`, or `-` where it is the target's negative.

        Four small comparisons, one token each, instead of one choice spread over the eight tokens
        of the next step.

        >>> Row(86, "+", 74, 160, 12).marks(148)
        '>='
        """
        results = self.value + self.last, self.value - self.last
        return "".join(
            "=" if one == target else "-" if one == -target else "<" if one < target else ">"
            for one in results
        )


class Solution(NamedTuple):
    """A line of reasoning that no row gives, or nothing; the step that makes the target.

    And the answer.
    """

    line: str
    check: str
    answer: str


def _rows(x: int, y: int, last: int) -> list[Row]:
    x, y = max(x, y), min(x, y)
    return [Row(x, "+", y, x + y, last), Row(x, "-", y, x - y, last)]


def _sum_or_difference(rows: list[Row], target: int) -> Solution | None:
    for x, operator, y, value, last in rows:
        inner = f"({x}{operator}{y})"
        for step, answer in (
            ((value, "+", last), f"{inner}+{last}"),
            ((value, "-", last), f"{inner}-{last}"),
            ((last, "-", value), f"{last}-{inner}"),
        ):
            if _apply(*step) == target:
                return Solution("", f"{_wide(*step, target)}\n", answer)
    return None


def _any_solution(numbers: tuple[int, int, int], target: int) -> Solution:
    for x, y, z in permutations(numbers):
        for first in "*/-+":
            partial = _apply(x, first, y)
            for second in "/*-+":
                if partial is None:
                    continue
                line, inner = f"{_wide(x, first, y, partial)}\n", f"({x}{first}{y})"
                for step, answer in (
                    ((partial, second, z), f"{inner}{second}{z}"),
                    ((z, second, partial), f"{z}{second}{inner}"),
                ):
                    if _apply(*step) == target:
                        return Solution(line, f"{_wide(*step, target)}\n", answer)
    raise ValueError(f"no expression of {numbers} makes {target}")


OPERATORS = ((r"\div", "/"), (r"\times", "*"), (r"\cdot", "*"))


STRICT_SPELLINGS = (
    (r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))"),
    (r"\\div(?![a-z])|(?<=[0-9)\s]):(?=[0-9(\s])", "/"),
    (r"\\(?:times|cdot)(?![a-z])", "*"),
    (r"(?<=[0-9)\s])[xX](?=[0-9(\s])", "*"),
    (r"\\text\s*(?=\{)", ""),
    (r"\\?[{\[]", "("),
    (r"\\?[}\]]", ")"),
    (r"(?<![a-z])(?:equals|is)(?![a-z])", "="),
    (r"(?<=[0-9)])\s*\(", "*("),
    (r"\)\s*(?=[0-9])", ")*"),
)
"""How people write sums -> how `evaluate` reads them, in this order."""


def _strict_expression(text: str) -> str | None:
    """What the response answers, as a sum of + - * / and round brackets.

    Of an equation, the side with most numbers.
    """
    answer = final_answer(text)
    if answer is None:
        return None
    answer = undressed(answer)
    for pattern, spelling in STRICT_SPELLINGS:
        answer = re.sub(pattern, spelling, answer)
    sides = [undressed(side) for side in answer.split("=")]
    return max(sides, key=lambda side: len(digit_runs(side)))


def _d1_expression(text: str) -> str:
    """The published extraction: the last box, else `<answer>`, else the whole text.

    Of `expr = number`, the expression.
    """
    answer = d1_boxed(text) if r"\boxed" in text else None
    if answer is None:
        answer = answer_block(text)
    answer = _plain(text if answer is None else answer)
    at = 0
    while (equals := answer.find("=", at)) >= 0:
        expression = answer[at:equals]
        start = len(expression.rstrip("0123456789+-*/() "))
        if start < len(expression) and answer[equals + 1 : equals + 2] in tuple("0123456789. "):
            return expression[start:].strip()
        at = equals + 1
    return answer


def _plain(answer: str) -> str:
    for latex, plain in OPERATORS:
        answer = answer.replace(latex, plain)
    return answer
