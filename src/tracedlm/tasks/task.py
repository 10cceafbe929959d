"""What a benchmark task is: problems in the published file format, a prompt, a worked solution and a score.

A *problem* is one row of the task's data file, a mapping of column name to text. Splits are disjoint by
construction: a problem's `key` (equal for problems that are the same up to symmetry) is hashed, and the hash alone
decides whether it may be drawn for training, validation or test. Keys of the papers' own test files are shipped as
digests in `resources/held_out/` and belong to no generated split.
"""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tracedlm.resources import resource

Problem = dict[str, str]
Scorer = Literal["strict", "d1"]
Split = Literal["train", "validation", "test"]

SPLIT_SHARES: dict[Split, float] = {"test": 0.05, "validation": 0.19, "train": 0.76}
"""Share of all possible problems in each split; validation is 20 % of what is not test (EDIT App. B.1)."""

INSTRUCTION = "Think in <reasoning></reasoning>, then answer in <answer></answer>."


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
    """A benchmark task. Subclasses are final and hold no state."""

    name: str
    fields: tuple[str, ...]

    @abstractmethod
    def read(self, path: Path) -> list[Problem]:
        """Problems of a data file in the published format.

        Raises:
            ValueError: A row is malformed; the message names the file, the row and the field.
        """

    @abstractmethod
    def write(self, problems: list[Problem], path: Path) -> None:
        """Write problems in the published format."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """One problem from the distribution of the papers' test file."""

    @abstractmethod
    def key(self, problem: Problem) -> str:
        """Identity of a problem: equal exactly when two problems are the same up to the task's symmetry."""

    @abstractmethod
    def question(self, problem: Problem) -> str:
        """The problem in words."""

    @abstractmethod
    def solve(self, problem: Problem, length: int) -> str:
        """A worked response in `<reasoning>..</reasoning><answer>..</answer>` form, written for `length` tokens."""

    @abstractmethod
    def score(self, problem: Problem, text: str, scorer: Scorer = "strict") -> Score:
        """Mark a response. `d1` reproduces the published evaluation, `strict` is the careful default."""

    def prompt(self, problem: Problem) -> str:
        """The user turn: how to answer, then the problem."""
        return f"{INSTRUCTION}\n{self.question(problem)}"

    def split_of(self, problem: Problem) -> Split | None:
        """The one split this problem may appear in; None for problems of the papers' test files."""
        digest = key_digest(self.key(problem))
        if digest in held_out(self.name):
            return None
        position = int(digest[:8], 16) / 16**8
        for split, share in SPLIT_SHARES.items():
            position -= share
            if position < 0:
                return split
        return "train"

    def stream(self, split: Split, seed: int) -> Iterator[Problem]:
        """Endless problems of one split; the same seed gives the same stream. Problems may recur."""
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


def key_digest(key: str) -> str:
    """Digest under which a problem's key is compared and held out: 16 hexadecimal characters of SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@cache
def held_out(name: str) -> frozenset[str]:
    """Digests of the problems that no generated split may contain; empty for tasks without such a list."""
    path = resource("held_out", f"{name}.txt")
    return frozenset(path.read_text().split()) if path.exists() else frozenset()
