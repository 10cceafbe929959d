"""What a benchmark task is.

Problems in the published file format, a prompt, a worked solution and a score.

A *problem* is one row of the task's data file, a mapping of column name to text. Splits are
disjoint by construction: a problem's `key` (equal for problems that are the same up to symmetry) is
hashed, and the hash alone decides which split it may appear in. Keys of the papers' own test files
are shipped as digests in `resources/held_out/` and belong to no split that anything trains on.
"""

import hashlib
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from tracedlm.resources import resource
from tracedlm.tasks.files import Form, read_rows, write_rows

Problem = dict[str, str]
Scorer = Literal["strict", "d1"]
Split = Literal["train", "validation", "test"]

INSTRUCTION = "Think in <reasoning></reasoning>, then answer in <answer></answer>."

PLACE = "{question}"
"""Where a prompt template puts the question."""

LONGEST_RESPONSE = 100_000
"""Characters; 512 tokens are a few thousand.

A longer response scores 0 unread: no model of these canvases wrote it.
"""


@dataclass(frozen=True)
class Score:
    """How a response was marked.

    Attributes:
        answer: The extracted answer, or None where nothing could be extracted.
        value: Share of the problem that is right, in [0, 1] (Sudoku: blank cells).
        correct: Whether the whole problem is solved.
    """

    answer: str | None
    value: float
    correct: bool


class Task(ABC):
    """A benchmark task, its problems read from files. Subclasses are final.

    Attributes:
        name: Name in configs and folders.
        fields: Columns that every row of a data file has.
        extras: Further columns that are kept where a file has them.
        facets: Those extras that say what kind of problem it is, such as a subdomain, from coarse
            to fine.
        form: Form of its files where the suffix does not say.
        shares: Share of all problems that belongs to each split; a test file's problems belong to
            none of them.
        held_out_with: Tasks whose test problems are held out here too.
        scored: Whether responses can be marked; otherwise the task is for fine-tuning and has no
            test set.
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    extras: ClassVar[tuple[str, ...]] = ()
    facets: ClassVar[tuple[str, ...]] = ()
    form: ClassVar[Form] = "jsonl"
    shares: ClassVar[dict[Split, float]] = {"validation": 0.2, "train": 0.8}
    held_out_with: ClassVar[tuple[str, ...]] = ()
    scored: ClassVar[bool] = True

    def read(self, path: Path) -> list[Problem]:
        """Problems of a data file in the published format.

        Raises:
            ValueError: A row is malformed; the message names the file, the row and the field.
        """
        problems = []
        for row, record in read_rows(path, self.form):
            try:
                problems.append(self.parse(record))
            except ValueError as error:
                raise ValueError(f"{path}, row {row}: {error}") from error
        return problems

    def write(self, problems: list[Problem], path: Path) -> None:
        """Write problems in the published format."""
        write_rows(path, self.form, problems)

    def parse(self, record: dict[str, Any]) -> Problem:
        """The problem in one row.

        Raises:
            ValueError: A field is missing, or its value cannot be; the message names it.
        """
        for field in self.fields:
            if record.get(field) is None:
                raise ValueError(
                    f"field {field!r} is missing; expected the fields {', '.join(self.fields)}"
                )
        kept = [field for field in (*self.extras, "prompt") if record.get(field) not in (None, "")]
        problem = {field: str(record[field]) for field in (*self.fields, *kept)}
        self.check(problem)
        return problem

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Raise a ValueError that names the field whose value cannot be."""

    @abstractmethod
    def key(self, problem: Problem) -> str:
        """Identity of a problem.

        Equal exactly when two problems are the same up to the task's symmetry.
        """

    @abstractmethod
    def question(self, problem: Problem) -> str:
        """The problem in words."""

    @abstractmethod
    def solve(self, problem: Problem, length: int) -> str:
        """A worked response, written for `length` tokens.

        Its form is `<reasoning>..</reasoning><answer>..</answer>`.

        Raises:
            ValueError: The task's data holds no worked solutions.
        """

    @abstractmethod
    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        """Mark a response of at most `LONGEST_RESPONSE` characters."""

    def score(self, problem: Problem, text: str, scorer: Scorer = "strict") -> Score:
        """Mark a response.

        `d1` reproduces the published evaluation (method.md section 8), `strict` is the careful
        default.
        """
        return (
            Score(None, 0.0, False)
            if len(text) > LONGEST_RESPONSE
            else self.mark(problem, text, scorer)
        )

    def template(self) -> str:
        """Prompt template, with `{question}` where the question goes.

        `resources/prompts/<name>.txt`.
        """
        return resource("prompts", f"{self.name}.txt").read_text().strip()

    def prompt(self, problem: Problem) -> str:
        """The user turn: the problem's own (rule `data`), else the template filled."""
        return problem.get("prompt") or fill(self.template(), self.question(problem))

    def arranged(self, problem: Problem, seed: int) -> Problem:
        """The problem with what a study's seed decides about it, such as the order of options.

        Most tasks leave nothing to it.
        """
        return problem

    def split_of(self, problem: Problem) -> Split | None:
        """The one split this problem may appear in; None for problems of the papers' test files."""
        digest = key_digest(self.key(problem))
        if any(digest in held_out(name) for name in (self.name, *self.held_out_with)):
            return None
        position = int(digest[:8], 16) / 16**8
        for split, share in self.shares.items():
            position -= share
            if position < 0:
                return split
        return "train"


class GeneratedTask(Task):
    """A task whose problems are drawn.

    Training and validation need no file, a test file is optional.
    """

    shares: ClassVar[dict[Split, float]] = {"test": 0.05, "validation": 0.19, "train": 0.76}
    # Validation is 20 % of what is not test (EDIT App. B.1).

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """One problem, of any split."""

    def template(self) -> str:
        return f"{INSTRUCTION}\n{PLACE}"

    def stream(self, split: Split, seed: int) -> Iterator[Problem]:
        """Endless problems of one split; the same seed gives the same stream. Problems may recur.

        Raises:
            ValueError: There is no such split.
        """
        if split not in self.shares:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(self.shares)}")
        rng = random.Random(f"{self.name}/{split}/{seed}")
        while True:
            problem = self.draw(rng)
            if self.split_of(problem) == split:
                yield problem

    def sample(self, split: Split, n: int, seed: int) -> list[Problem]:
        """`n` distinct problems of one split."""
        chosen: dict[str, Problem] = {}
        for problem in self.stream(split, seed):
            chosen.setdefault(self.key(problem), problem)
            if len(chosen) >= n:
                break
        return list(chosen.values())[:n]


def fill(template: str, question: str) -> str:
    r"""A prompt from a template.

    Raises:
        ValueError: The template does not say where the question goes, or says it twice.

    >>> fill("Answer in a box.\n{question}", "What is 2 + 3?")
    'Answer in a box.\nWhat is 2 + 3?'
    """
    if template.count(PLACE) != 1:
        raise ValueError(
            f"a prompt template names {PLACE} once, this one {template.count(PLACE)} times:"
            f" {template[:60]!r}"
        )
    return template.replace(PLACE, question)


def text_key(text: str) -> str:
    """Identity of a question in words.

    Case, spacing and punctuation do not count, numbers and operators do.

    >>> text_key("What is $2 + 3$ ?") == text_key("what is 2+3"), text_key("1.5") == text_key("15")
    (True, False)
    """
    return " ".join(re.findall(r"[^\W_]+|[-+*/^=<>()]", text.casefold()))


def key_digest(key: str) -> str:
    """Digest under which a problem's key is compared and held out.

    16 hexadecimal characters of SHA-256.
    """
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@cache
def held_out(name: str) -> frozenset[str]:
    """Digests of the problems that no drawn split may contain.

    Empty for tasks without such a list.
    """
    path = resource("held_out", f"{name}.txt")
    return frozenset(path.read_text().split()) if path.exists() else frozenset()
