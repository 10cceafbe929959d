"""Countdown with three numbers: reach a target with + - * /, using each number exactly once.

File format of the papers' test set: JSON lines with `input` ("30,100,93") and `output` ("23").
"""

import random
from itertools import permutations
from typing import NamedTuple, final

from tracedlm.tasks.arithmetic import ArithmeticRefused, digit_runs, evaluate, integers, python_value
from tracedlm.tasks.extract import answer_block, d1_boxed, last_boxed
from tracedlm.tasks.task import GeneratedTask, Problem, Score, Scorer

LARGEST_PRODUCT = 200
"""The worked solutions multiply only up to here: larger products almost never lead to a target of at most 100."""

ROOM_FOR_ANSWER = 30
"""Tokens a response needs besides its lines; in these lines a token is a character, or less."""


@final
class Countdown(GeneratedTask):
    """Three numbers in 1..100, one target in 1..100; the distribution of the papers' 256 test puzzles."""

    name = "countdown"
    fields = ("input", "output")

    def check(self, problem: Problem) -> None:
        try:
            numbers, target = _parse(problem)
        except ValueError:
            raise ValueError(
                f"fields 'input' and 'output': {problem['input']!r} and {problem['output']!r} are no numbers; "
                'expected {"input": "3,5,7", "output": "8"}'
            ) from None
        if not numbers or target < 0:
            raise ValueError(f"field 'output': the target {target} is negative; expected a number from 0")

    def draw(self, rng: random.Random) -> Problem:
        # The numbers are drawn first and kept, as in the papers' file: redrawing them with the expression favours small ones.
        while True:
            a, b, c = (rng.randint(1, 100) for _ in range(3))
            for _ in range(100):
                first, second = rng.choice("+-*/"), rng.choice("+-*/")
                partial = _apply(a, first, b)
                if partial is None:
                    continue
                value = _apply(partial, second, c) if rng.random() < 0.5 else _apply(c, second, partial)
                if value is not None and 1 <= value <= 100:
                    return {"input": f"{a},{b},{c}", "output": str(value)}

    def key(self, problem: Problem) -> str:
        numbers, target = _parse(problem)
        return f"{sorted(numbers)}={target}"

    def question(self, problem: Problem) -> str:
        numbers, target = _parse(problem)
        return f"Countdown: make {target} from {','.join(map(str, numbers))}."

    def solve(self, problem: Problem, length: int) -> str:
        """Work forwards: what two numbers make, and what each of that makes with the third; then the line that makes the target.

        The sum and the difference of the first two numbers come first: if + and - alone reach the target, then from these.
        Otherwise the row that reaches it follows. Further rows fill the room there is.
        """
        (a, b, c), target = _parse(problem)
        rows = [row for pair in ((a, b, c), (a, c, b), (b, c, a)) for row in _rows(*pair, target)]
        hit = next((row for row in rows[:2] if row.answer), None) or next((row for row in rows[2:] if row.answer), None)
        if hit is None:
            hit = _any_solution((a, b, c), target)
        kept = rows[:2] if hit in rows[:2] else [*rows[:2], hit]
        room = length - ROOM_FOR_ANSWER - len(hit.check) - sum(len(row.text) for row in kept)
        for row in rows[2:]:
            if row is not hit and (room := room - len(row.text)) >= 0:
                kept.append(row)
        lines = "".join(row.text for row in kept)
        return f"<reasoning>\n{lines}{hit.check}</reasoning>\n<answer>\n\\boxed{{{hit.answer}}}\n</answer>"

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        numbers, target = _parse(problem)
        found = (_d1_expression, python_value, digit_runs) if scorer == "d1" else (_strict_expression, evaluate, integers)
        expression_in, value_of, numbers_in = found
        expression = expression_in(text)
        if not expression:
            return Score(None, 0.0, False)
        try:
            right = abs(value_of(expression) - target) < 1e-5 and sorted(numbers_in(expression)) == sorted(numbers)
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


class Row(NamedTuple):
    """A line of reasoning; where it reaches the target, the step that does and the answer."""

    text: str
    check: str = ""
    answer: str = ""


def _rows(x: int, y: int, last: int, target: int) -> list[Row]:
    """One row for each value that x and y make; it goes on with what that value makes with the last number."""
    rows = []
    for inner, value in _made(x, y):
        finished = _made(value, last)
        text = ",".join(f"{step}={result}" for step, result in [(inner, value), *finished]) + "\n"
        check = next((step for step, result in finished if result == target), None)
        if check is None:
            rows.append(Row(text))
        else:
            operator = next(character for character in check if character in "+-*/")
            answer = f"({inner}){operator}{last}" if value >= last else f"{last}{operator}({inner})"
            rows.append(Row(text, f"{check}={target}\n", answer))
    return rows


def _made(x: int, y: int) -> list[tuple[str, int]]:
    """What two numbers make, larger number first: the step as text, and its value."""
    x, y = max(x, y), min(x, y)
    made = [(f"{x}+{y}", x + y), (f"{x}-{y}", x - y)]
    if x * y <= LARGEST_PRODUCT:
        made.append((f"{x}*{y}", x * y))
    if y > 1 and x % y == 0:
        made.append((f"{x}/{y}", x // y))
    return made


def _any_solution(numbers: tuple[int, int, int], target: int) -> Row:
    """Some solution, for problems whose products are too large for the rows."""
    for x, y, z in permutations(numbers):
        for first in "*/-+":
            partial = _apply(x, first, y)
            for second in "/*-+":
                if partial is None:
                    continue
                if _apply(partial, second, z) == target:
                    return Row(f"{x}{first}{y}={partial}\n", f"{partial}{second}{z}={target}\n", f"({x}{first}{y}){second}{z}")
                if _apply(z, second, partial) == target:
                    return Row(f"{x}{first}{y}={partial}\n", f"{z}{second}{partial}={target}\n", f"{z}{second}({x}{first}{y})")
    raise ValueError(f"no expression of {numbers} makes {target}")


OPERATORS = ((r"\div", "/"), (r"\times", "*"), (r"\cdot", "*"))


def _strict_expression(text: str) -> str | None:
    """What stands in the last box or in `<answer>`, up to an equals sign."""
    answer = last_boxed(text) or answer_block(text)
    return answer and _plain(answer).split("=")[0].strip()


def _d1_expression(text: str) -> str:
    """The published extraction: the last box, else `<answer>`, else the whole text; of `expr = number`, the expression."""
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
