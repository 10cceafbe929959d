"""GPQA: questions for experts with four options.

CSV of the official release, options shuffled by a seed.

The official file is behind a form that asks not to publish it: nothing of it is shipped.
"""

import random
import re
from typing import final

from tracedlm.tasks.extract import answer_block, final_answer, last_boxed
from tracedlm.tasks.notation import undressed
from tracedlm.tasks.task import Problem, Score, Scorer, Task, text_key

LETTERS = "ABCD"
OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


@final
class Gpqa(Task):
    """The answer is the letter of an option.

    `Order` says which option has which letter, where a study has decided it.
    """

    name = "gpqa"
    fields = ("Question", *OPTIONS)
    extras = ("High-level domain", "Subdomain", "Order")
    facets = ("High-level domain", "Subdomain")
    form = "csv"

    def check(self, problem: Problem) -> None:
        for field in self.fields:
            if not problem[field].strip():
                raise ValueError(f"field {field!r} is empty")
        if sorted(self.order(problem)) != list("0123"):
            raise ValueError(
                f"field 'Order': {problem['Order']!r} is not an order of the digits 0123"
            )

    def key(self, problem: Problem) -> str:
        return text_key(problem["Question"])

    def question(self, problem: Problem) -> str:
        options = (
            f"{letter}) {problem[OPTIONS[int(index)]].strip()}"
            for letter, index in zip(LETTERS, self.order(problem), strict=True)
        )
        return "\n".join((problem["Question"].strip(), *options))

    def arranged(self, problem: Problem, seed: int) -> Problem:
        """The problem with its options in the order that the seed gives this very question."""
        return {**problem, "Order": _shuffled(self.key(problem), seed)}

    def order(self, problem: Problem) -> str:
        """Which option (0 is the correct one) stands at each letter."""
        return problem.get("Order") or _shuffled(self.key(problem), seed=0)

    def solve(self, problem: Problem, length: int) -> str:
        raise ValueError("gpqa has no worked solutions to learn from; fine-tune on s1k")

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        gold = LETTERS[self.order(problem).index("0")]
        if scorer == "d1":
            letter = _first_letter(last_boxed(text) or answer_block(text) or "")
        else:
            letter = _only_letter(undressed(final_answer(text) or ""))
        return Score(letter, float(letter == gold), letter == gold)


def _shuffled(key: str, seed: int) -> str:
    order = list("0123")
    random.Random(f"gpqa/{seed}/{key}").shuffle(order)
    return "".join(order)


def _first_letter(answer: str) -> str | None:
    """The first letter A to D that stands alone."""
    match = re.search(r"\b([A-D])\b", answer)
    return match and match[1]


def _only_letter(answer: str) -> str | None:
    r"""The letter, if the answer is nothing else, dress apart.

    As in `(B)`, `B.` and `\text{B}`.
    """
    match = re.fullmatch(r"\s*(?:\\(?:text|textbf|mathrm)\{)?\(?([A-D])[).]?\}?\s*", answer[:40])
    return match and match[1]
