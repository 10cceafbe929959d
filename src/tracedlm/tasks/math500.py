r"""MATH-500: competition problems whose answer is LaTeX. JSON lines with `problem` and `answer`.

Files of MATH itself have `solution` and no `answer`: there the gold answer is what the solution
boxes.
"""

from typing import Any, final

from tracedlm.tasks.equivalence import equivalent
from tracedlm.tasks.extract import answer_block, d1_boxed, final_answer, last_boxed
from tracedlm.tasks.hendrycks import same_answer
from tracedlm.tasks.task import Problem, Score, Scorer, Task, text_key
from tracedlm.tasks.worked import response


@final
class Math500(Task):
    """The papers' 500 test problems, or any file of MATH's form."""

    name = "math500"
    fields = ("problem", "answer")
    extras = ("solution", "subject", "level")
    facets = ("subject", "level")

    def parse(self, record: dict[str, Any]) -> Problem:
        solution = record.get("solution")
        if record.get("answer") is None and isinstance(solution, str):
            record = {**record, "answer": _boxed_in(solution)}
        return super().parse(record)

    def check(self, problem: Problem) -> None:
        check_boxed_answer(problem)

    def key(self, problem: Problem) -> str:
        return text_key(problem["problem"])

    def question(self, problem: Problem) -> str:
        return problem["problem"]

    def solve(self, problem: Problem, length: int) -> str:
        if "solution" not in problem:
            raise ValueError(
                "math500: this file has no field 'solution' to learn from; MATH's own training file"
                " has one"
            )
        return response(problem["solution"], rf"\boxed{{{problem['answer']}}}")

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        return mark_boxed(problem, text, scorer)


def check_boxed_answer(problem: Problem) -> None:
    """Raise a ValueError where `problem` or `answer` is empty."""
    for field in ("problem", "answer"):
        if not problem[field].strip():
            raise ValueError(f"field {field!r} is empty")


def mark_boxed(problem: Problem, text: str, scorer: Scorer) -> Score:
    """Mark a response whose answer is LaTeX in a box; `problem` has the gold in `answer`."""
    gold = problem["answer"]
    if scorer == "d1":
        boxed, block = d1_boxed(text), answer_block(text)
        answer = boxed if boxed or block is None else block
        right = answer is not None and same_answer(answer, gold)
    else:
        answer = final_answer(text)
        right = answer is not None and equivalent(answer, gold)
    return Score(answer and answer[:200], float(right), right)


def _boxed_in(solution: str) -> str | None:
    r"""What a printed solution boxes last.

    MATH also writes `\fbox{..}` and, without braces, `$\boxed 2$`.
    """
    text = solution.replace(r"\fbox", r"\boxed")
    _, bare, rest = text.rpartition(r"\boxed ")
    return last_boxed(text) or (rest.split("$", 1)[0].strip() if bare else "") or None
