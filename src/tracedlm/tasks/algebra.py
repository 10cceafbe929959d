r"""Algebra with worked solutions in MATH's form, drawn from a few kinds of problems.

They are not MATH.

JSON lines with `problem`, `solution` (its calculations between dollar signs, the answer in a box)
and `answer`.
"""

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

from tracedlm.tasks.extract import last_boxed
from tracedlm.tasks.math500 import check_boxed_answer, mark_boxed
from tracedlm.tasks.task import GeneratedTask, Problem, Score, Scorer, text_key
from tracedlm.tasks.worked import check_difficulty, reasoning, response, step

VARIABLES = "nxy"
MARK = re.compile(r"\$(\d+[-+*/]\d+=\d+)\$")


class Worked(NamedTuple):
    """A problem, the calculations that solve it, and its answer."""

    problem: str
    steps: list[str]
    answer: str


def _shifted(rng: random.Random, x: str) -> Worked:
    root, shift = rng.randint(1, 99), rng.randint(1, 99)
    calculation, _ = step(root + shift, "-", shift)
    return Worked(f"Solve ${x}+{shift}={root + shift}$ for ${x}$.", [calculation], str(root))


def _scaled(rng: random.Random, x: str) -> Worked:
    root, scale = rng.randint(2, 30), rng.randint(2, 9)
    calculation, _ = step(root * scale, "/", scale)
    return Worked(f"Solve ${scale}{x}={root * scale}$ for ${x}$.", [calculation], str(root))


def _evaluated(rng: random.Random, x: str) -> Worked:
    at, scale, shift = rng.randint(2, 20), rng.randint(2, 9), rng.randint(1, 50)
    first, product = step(scale, "*", at)
    second, value = step(product, "+", shift)
    return Worked(f"If ${x}={at}$, what is ${scale}{x}+{shift}$?", [first, second], str(value))


def _linear(rng: random.Random, x: str) -> Worked:
    root, scale, shift = rng.randint(2, 20), rng.randint(2, 9), rng.randint(1, 50)
    right = root * scale + shift
    first, rest = step(right, "-", shift)
    second, _ = step(rest, "/", scale)
    return Worked(f"Solve ${scale}{x}+{shift}={right}$ for ${x}$.", [first, second], str(root))


def _both_sides(rng: random.Random, x: str) -> Worked:
    root = rng.randint(2, 15)
    few = rng.randint(2, 5)
    more = rng.randint(2, 5)
    shift = rng.randint(1, 40)
    right = more * root + shift
    first, scale = step(few + more, "-", few)
    second, rest = step(right, "-", shift)
    third, _ = step(rest, "/", scale)
    return Worked(
        f"Solve ${few + more}{x}+{shift}={few}{x}+{right}$ for ${x}$.",
        [first, second, third],
        str(root),
    )


def _simplified(rng: random.Random, _: str) -> Worked:
    above, below, factor = rng.randint(1, 12), rng.randint(2, 12), rng.randint(2, 9)
    factor *= math.gcd(above, below)
    above, below = above // math.gcd(above, below), below // math.gcd(above, below)
    first, _above = step(above * factor, "/", factor)
    second, _below = step(below * factor, "/", factor)
    return Worked(
        rf"Simplify $\frac{{{above * factor}}}{{{below * factor}}}$.",
        [first, second],
        _fraction(above, below),
    )


def _sum_and_difference(rng: random.Random, _: str) -> Worked:
    small, difference = rng.randint(1, 50), rng.randint(1, 50)
    total = 2 * small + difference
    first, double = step(total, "+", difference)
    second, large = step(double, "/", 2)
    problem = (
        f"Two numbers have the sum ${total}$ and the difference ${difference}$. What is the larger"
        " one?"
    )
    return Worked(problem, [first, second], str(large))


def _quadratic(rng: random.Random, x: str) -> Worked:
    small, large = sorted(rng.sample(range(1, 15), 2))
    first, product = step(small, "*", large)
    second, total = step(small, "+", large)
    return Worked(
        f"What is the larger root of ${x}^2-{total}{x}+{product}=0$?", [first, second], str(large)
    )


def _expanded(rng: random.Random, x: str) -> Worked:
    a, b = sorted((rng.randint(1, 14), rng.randint(1, 14)))
    first, total = step(a, "+", b)
    second, product = step(a, "*", b)
    return Worked(f"Expand $({x}+{a})({x}+{b})$.", [first, second], f"{x}^2+{total}{x}+{product}")


def _added(rng: random.Random, _: str) -> Worked:
    while True:
        (a, b), (c, d) = sorted((rng.randint(1, 9), rng.randint(2, 10)) for _ in range(2))
        if math.gcd(a, b) == math.gcd(c, d) == 1 and b != d and (a * d + c * b) % (b * d):
            break
    first, below = step(b, "*", d)
    second, left = step(a, "*", d)
    third, right = step(c, "*", b)
    fourth, above = step(left, "+", right)
    steps, factor = [first, second, third, fourth], math.gcd(above, below)
    if factor > 1:
        steps += [step(above, "/", factor)[0], step(below, "/", factor)[0]]
    return Worked(
        f"What is ${_fraction(a, b)}+{_fraction(c, d)}$?",
        steps,
        _fraction(above // factor, below // factor),
    )


def _system(rng: random.Random, _: str) -> Worked:
    x = rng.randint(2, 12)
    y = rng.randint(1, 30)
    few = rng.randint(2, 5)
    more = rng.randint(2, 4)
    first, scale = step(few + more, "-", few)
    second, rest = step((few + more) * x + y, "-", few * x + y)
    third, _x = step(rest, "/", scale)
    equations = f"${few + more}x+y={(few + more) * x + y}$ and ${few}x+y={few * x + y}$"
    return Worked(f"If {equations}, what is $x$?", [first, second, third], str(x))


Kind = Callable[[random.Random, str], Worked]
KINDS: dict[int, dict[str, Kind]] = {
    1: {"addition": _shifted, "multiplication": _scaled, "evaluation": _evaluated},
    2: {
        "linear": _linear,
        "both sides": _both_sides,
        "fraction": _simplified,
        "sum and difference": _sum_and_difference,
    },
    3: {
        "quadratic": _quadratic,
        "expansion": _expanded,
        "sum of fractions": _added,
        "system": _system,
    },
}
"""Kinds of problems, by name, under the difficulty from which they are drawn."""


@final
@dataclass(frozen=True)
class Algebra(GeneratedTask):
    """Equations in one unknown, fractions, roots and expansions; whole numbers, none above 300.

    Attributes:
        difficulty: 1 to 3: one-step equations; also two-step ones and fractions; also quadratics,
            sums of fractions and systems.
    """

    difficulty: int = 2

    name = "algebra"
    fields = ("problem", "solution", "answer")
    extras = ("kind",)
    facets = ("kind",)

    def __post_init__(self) -> None:
        check_difficulty(self.name, self.difficulty)

    def draw(self, rng: random.Random) -> Problem:
        kinds: dict[str, Kind] = {}
        for level in range(1, self.difficulty + 1):
            kinds |= KINDS[level]
        kind = rng.choice(list(kinds))
        problem, steps, answer = kinds[kind](rng, rng.choice(VARIABLES))
        solution = (
            f"We have {', '.join(f'${text}$' for text in steps)}. The answer is"
            f" $\\boxed{{{answer}}}$."
        )
        return {"problem": problem, "solution": solution, "answer": answer, "kind": kind}

    def check(self, problem: Problem) -> None:
        check_boxed_answer(problem)
        if last_boxed(problem["solution"]) != problem["answer"]:
            raise ValueError(
                f"field 'solution' boxes {last_boxed(problem['solution'])!r}, field 'answer' is"
                f" {problem['answer']!r}"
            )

    def key(self, problem: Problem) -> str:
        """The problem with its unknowns numbered: which letter stands for one does not matter."""
        unknown = re.compile(rf"(?<![A-Za-z\\])[{VARIABLES}](?![A-Za-z])")
        letters = list(dict.fromkeys(unknown.findall(problem["problem"])))
        return text_key(
            unknown.sub(lambda letter: f" unknown{letters.index(letter[0])} ", problem["problem"])
        )

    def question(self, problem: Problem) -> str:
        return problem["problem"]

    def solve(self, problem: Problem, length: int) -> str:
        return response(
            reasoning(MARK.findall(problem["solution"]), length), rf"\boxed{{{problem['answer']}}}"
        )

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        return mark_boxed(problem, text, scorer)


def _fraction(above: int, below: int) -> str:
    return str(above) if below == 1 else rf"\frac{{{above}}}{{{below}}}"
