"""Denoising as the explorer replays it.

Samples of full decoding, step by step, with what readouts and exit rules made of them.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ReadoutReplay:
    """One readout of a sample; arrays [steps] unless said otherwise.

    Attributes:
        similarity: [steps, positions], -1 to 1; NaN where a position is not visible.
        kl, margin, concentration: As stored with the readout; NaN where undefined.
        certified: Bound -> bool: whether it certifies the step at the set's (delta, omega).
    """

    similarity: np.ndarray
    kl: np.ndarray
    margin: np.ndarray
    concentration: np.ndarray
    certified: dict[str, np.ndarray]


@dataclass(frozen=True)
class ExitReplay:
    """What an exit rule did with the sample, in a run of its own.

    Attributes:
        rule: Rule with its settings.
        forwards: Forwards it took.
        spans: First and last step, from 1, of the forwards it spent in each block, laid on the
            steps of full decoding.
        answer, correct: Its answer, and whether the problem is solved.
        same: Whether that is full decoding's answer.
    """

    rule: str
    forwards: int
    spans: list[tuple[int, int]]
    answer: str | None
    correct: bool
    same: bool


@dataclass(frozen=True)
class Commit:
    """A token written after a step; `confidence` is its probability then."""

    position: int
    token: int
    confidence: float


@dataclass(frozen=True)
class PartialAnswer:
    """The answer that can be read from this step on, and whether it solves the problem.

    The text may be unfinished.
    """

    step: int
    answer: str | None
    correct: bool


@dataclass(frozen=True)
class SampleReplay:
    """Full decoding of one problem, refine steps included; lists have one entry a step.

    Attributes:
        sample_id: Index in the test split.
        prompt: User turn.
        answer, correct, score: Of the finished response; None where no answer was found.
        forwards: Steps of denoising; those after them refine.
        block: Active block, -1 while refining.
        late: Whether the step is in the late window, where certificates count.
        commits: Tokens written; a committed mask, which leaves its position open, is none.
        confidence, entropy: Means over the masked positions of the active block: of the largest
            probability, and in nats; None where nothing is masked.
        answers: The answer so far, where it changes; the first entry is of step 1.
        readouts: Readout -> what it says; without those that hold no row of the sample.
        exits: Every run of every exit rule.
    """

    sample_id: int
    prompt: str
    answer: str | None
    correct: bool
    score: float
    forwards: int
    block: list[int]
    late: list[bool]
    commits: list[list[Commit]]
    confidence: list[float | None]
    entropy: list[float | None]
    answers: list[PartialAnswer]
    readouts: dict[str, ReadoutReplay]
    exits: list[ExitReplay]


@dataclass(frozen=True)
class SetReplay:
    """Samples of one dataset at one canvas length; `total` is how many the test split has."""

    dataset: str
    seq_len: int
    begins: list[int]
    total: int
    samples: list[SampleReplay]


@dataclass(frozen=True)
class StudyReplay:
    """All sets of a study.

    Attributes:
        study: Its name.
        readouts: Readouts it has.
        delta, omega, tau: KL threshold (nats), window (steps) and temperature of the certificates.
        required_margin: Margin that delta and omega ask for.
        tokens: Id -> text of every token that is written, and whether it is markup of the model.
        sets: One for each dataset and length.
    """

    study: str
    readouts: list[str]
    delta: float
    omega: int
    tau: float
    required_margin: float
    tokens: dict[int, tuple[str, bool]]
    sets: list[SetReplay]
