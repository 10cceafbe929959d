"""Countdown with three numbers: reach a target with + - * /, using each number exactly once.

File format of the papers' test set: JSON lines with `input` ("30,100,93") and `output` ("23").
"""

import json
import random
from itertools import permutations
from pathlib import Path
from typing import final

from tracedlm.tasks.arithmetic import ArithmeticRefused, evaluate, integers
from tracedlm.tasks.extract import answer_block, last_boxed
from tracedlm.tasks.task import Problem, Score, Scorer, Task

LARGEST_PRODUCT = 200
"""The worked solutions multiply only up to here: larger products almost never lead to a target of at most 100."""

ROOM_FOR_ANSWER = 30
"""Tokens a response needs besides its lines; in these lines a token is a character, or less."""


@final
class Countdown(Task):
    """Three numbers in 1..100, one target in 1..100; the distribution of the papers' 256 test puzzles."""

    name = "countdown"
    fields = ("input", "output")

    def read(self, path: Path) -> list[Problem]:
        problems = []
        for row, line in enumerate(path.read_text().splitlines(), start=1):
            try:
                problem = {field: str(json.loads(line)[field]) for field in self.fields}
                numbers, target = _parse(problem)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f'{path}, row {row}: {line[:60]!r} is not a Countdown problem ({error}); expected {{"input": "3,5,7", "output": "8"}}'
                ) from error
            if not numbers or target < 0:
                raise ValueError(f"{path}, row {row}: needs at least one number and a target >= 0, got {line[:60]!r}")
            problems.append(problem)
        return problems

    def write(self, problems: list[Problem], path: Path) -> None:
        path.write_text("".join(json.dumps(problem) + "\n" for problem in problems))

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
        """Work backwards from the target.

        For each number as the last one used, list what the other two would have to make and what they can make; where
        the lists meet is an answer. From 256 tokens on, every sum is written out.
        """
        (a, b, c), target = _parse(problem)
        lasts = [(a, b, c), (b, a, c), (c, a, b)]
        answer, lines = None, []
        for last, x, y in lasts:
            needed, made = _needed(last, target), _made(max(x, y), min(x, y))
            hit = next((value for value in needed if value in made), None)
            needs = (f"{how.split('=')[0]}={value}" if length >= 256 else str(value) for value, (how, _) in needed.items())
            line = f"{last}:{','.join(needs)};{','.join(f'{how}={v}' for v, how in made.items())}>{'no' if hit is None else 'yes'}\n"
            if answer is not None and sum(map(len, lines)) + len(line) > length - ROOM_FOR_ANSWER:
                break
            lines.append(line)
            if answer is None and hit is not None:
                answer = needed[hit][1].replace("v", f"({made[hit]})")
                check = f"{made[hit]}={hit},{needed[hit][1].replace('v', str(hit))}={target}\n"
        if answer is None:
            answer, check = _any_solution((a, b, c), target)
            lines.append(check)
        elif length >= 256:
            lines.append(check)
        return f"<reasoning>\n{''.join(lines)}</reasoning>\n<answer>\n\\boxed{{{answer}}}\n</answer>"

    def score(self, problem: Problem, text: str, scorer: Scorer = "strict") -> Score:
        numbers, target = _parse(problem)
        answer = last_boxed(text) or answer_block(text)
        if answer is None and scorer == "d1":
            answer = text
        if not answer:
            return Score(None, 0.0, False)
        for latex, plain in ((r"\div", "/"), (r"\times", "*"), (r"\cdot", "*")):
            answer = answer.replace(latex, plain)
        expression = answer.split("=")[0].strip()
        try:
            right = sorted(integers(expression)) == sorted(numbers) and abs(evaluate(expression) - target) < 1e-5
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


def _needed(last: int, target: int) -> dict[int, tuple[str, str]]:
    """Value the other two must make -> (the sum that shows it, the finished expression with `v` for that value)."""
    rows: list[tuple[int, str, str]] = []
    if target >= last:
        rows.append((target - last, f"{target}-{last}", f"v+{last}"))
    else:
        rows.append((last - target, f"{last}-{target}", f"{last}-v"))
    rows.append((target + last, f"{target}+{last}", f"v-{last}"))
    if target * last <= LARGEST_PRODUCT:
        rows.append((target * last, f"{target}*{last}", f"v/{last}"))
    if target % last == 0:
        rows.append((target // last, f"{target}/{last}", f"v*{last}"))
    elif last % target == 0:
        rows.append((last // target, f"{last}/{target}", f"{last}/v"))
    needed: dict[int, tuple[str, str]] = {}
    for value, shown, finish in rows:
        needed.setdefault(value, (shown, finish))
    return needed


def _made(x: int, y: int) -> dict[int, str]:
    """Value -> how x >= y make it."""
    rows = [(x + y, f"{x}+{y}"), (x - y, f"{x}-{y}")]
    if x * y <= LARGEST_PRODUCT:
        rows.append((x * y, f"{x}*{y}"))
    if y > 1 and x % y == 0:
        rows.append((x // y, f"{x}/{y}"))
    made: dict[int, str] = {}
    for value, how in rows:
        made.setdefault(value, how)
    return made


def _any_solution(numbers: tuple[int, int, int], target: int) -> tuple[str, str]:
    """(expression, its two steps) of some solution, for problems the backward table does not reach."""
    for x, y, z in permutations(numbers):
        for first in "*/-+":
            partial = _apply(x, first, y)
            for second in "/*-+":
                if partial is None:
                    continue
                if _apply(partial, second, z) == target:
                    return f"({x}{first}{y}){second}{z}", f"{x}{first}{y}={partial},{partial}{second}{z}={target}\n"
                if _apply(z, second, partial) == target:
                    return f"{z}{second}({x}{first}{y})", f"{x}{first}{y}={partial},{z}{second}{partial}={target}\n"
    raise ValueError(f"no expression of {numbers} makes {target}")
