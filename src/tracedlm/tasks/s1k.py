"""s1K: a thousand questions with reasoning traces, the papers' fine-tuning data.

For training only: nothing scores it.

Parquet or JSON lines with `question`, `thinking_trajectories` (a text or a list of texts) and
`attempt` (else `solution`).
"""

from typing import Any, final

from tracedlm.tasks.task import Problem, Score, Scorer, Task, text_key
from tracedlm.tasks.worked import response


@final
class S1k(Task):
    """Question, trace and answer; problems of the papers' test sets are left out."""

    name = "s1k"
    fields = ("question", "thinking_trajectories", "attempt")
    held_out_with = ("gpqa", "gsm8k", "math500")
    scored = False

    def parse(self, record: dict[str, Any]) -> Problem:
        traces = record.get("thinking_trajectories")
        if isinstance(traces, list):
            record = {**record, "thinking_trajectories": "\n".join(map(str, traces))}
        if record.get("attempt") is None:
            record = {**record, "attempt": record.get("solution")}
        return super().parse(record)

    def check(self, problem: Problem) -> None:
        for field in self.fields:
            if not problem[field].strip():
                raise ValueError(f"field {field!r} is empty")

    def key(self, problem: Problem) -> str:
        return text_key(problem["question"])

    def question(self, problem: Problem) -> str:
        return problem["question"]

    def solve(self, problem: Problem, length: int) -> str:
        return response(problem["thinking_trajectories"].strip(), problem["attempt"].strip())

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        raise ValueError("s1k is for fine-tuning: it has no score")
