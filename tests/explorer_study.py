"""A study made up by hand for tests of the denoising explorer."""

import numpy as np

from tracedlm.records.replay import (
    Commit,
    ExitReplay,
    PartialAnswer,
    ReadoutReplay,
    SampleReplay,
    SetReplay,
    StudyReplay,
)
from tracedlm.theory.certificate import BOUNDS

HOSTILE = "</script><img src=x onerror=document.title='stolen'><!--"
TOKENS = {
    7: ("1", False),
    3: ("+", False),
    9: (HOSTILE, False),
    4: ("\n", False),
    0: ("<|end|>", True),
}
LENGTH, STEPS, REFINE = 8, 8, 2
ORDER = (1, 0, 3, 2, 5, 4, 7, 6)
"""Position written after each step: two blocks of four."""
WRITTEN = (7, 3, 7, 4, 9, 7, 3, 0)
"""Token of each position."""


def readout(seed, steps=STEPS + REFINE, length=LENGTH, every=False):
    """Random similarities; visible is what was written before, or everything.

    `tv` certifies every other step, `paper` none.
    """
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(-0.3, 0.7, (steps, length))
    if not every:
        first = np.array([ORDER.index(position) + 1 for position in range(length)])
        similarity[np.arange(steps)[:, None] < first] = np.nan
    kl = rng.uniform(1e-7, 1e-5, steps)
    kl[:2] = np.nan
    certified = {bound: np.zeros(steps, bool) for bound in BOUNDS}
    certified["tv"] = np.arange(steps) % 2 == 1
    return ReadoutReplay(similarity, kl, np.full(steps, 1e-3), np.full(steps, 1e-4), certified)


def sample(number, finished=True, readouts=("q", "v")):
    """Eight steps that write a token each and two refine steps, the last of which writes one anew.

    Answered after step 5, or never.
    """
    commits = [[Commit(p, WRITTEN[p], 0.5 + p / 16)] for p in ORDER] + [[], [Commit(0, 7, 0.5)]]
    if not finished:
        commits[-5:] = [[]] * 5
    answers = [
        PartialAnswer(1, None, False),
        PartialAnswer(3, "1", False),
        PartialAnswer(5, "1+1", True),
    ]
    return SampleReplay(
        sample_id=number,
        prompt=f"prompt {number} {HOSTILE}",
        answer="1+1" if finished else None,
        correct=finished,
        score=float(finished),
        forwards=STEPS,
        block=[0] * 4 + [1] * 4 + [-1] * REFINE,
        late=[False] * STEPS + [True] * REFINE,
        commits=commits,
        confidence=[None if n >= STEPS else 0.25 for n in range(STEPS + REFINE)],
        entropy=[None if n >= STEPS else 0.125 for n in range(STEPS + REFINE)],
        answers=answers if finished else answers[:1],
        readouts={name: readout(number * 10 + n) for n, name in enumerate(readouts)},
        exits=[
            ExitReplay("full", 8, [(1, 4), (5, 8)], "1+1", True, True),
            ExitReplay(f"rad({HOSTILE})", 4, [(1, 2), (5, 6)], None, False, False),
        ],
    )


def study():
    """Two sets of which one shows 2 of its 3 samples.

    One without the readout v, one that was never finished.
    """
    sets = [
        SetReplay(
            "countdown", LENGTH, [0, 4], 3, [sample(0), sample(1, finished=False, readouts=("q",))]
        ),
        SetReplay("sudoku", LENGTH, [0, 4], 1, [sample(2)]),
    ]
    return StudyReplay("made-up", ["q", "v"], 1e-6, 3, 1.0, 4e-3, TOKENS, sets)


def large_study(samples, steps, length, readouts):
    """Samples of random similarities, all of them visible: nothing that could be compressed."""
    names = [f"r{n}" for n in range(readouts)]
    commits = [
        [Commit(p, 7, 0.123) for p in range(n * length // steps, (n + 1) * length // steps)]
        for n in range(steps)
    ]
    made = [
        SampleReplay(
            n,
            "prompt " * 30,
            "1",
            True,
            1.0,
            steps,
            [0] * steps,
            [True] * steps,
            commits,
            [0.123] * steps,
            [0.123] * steps,
            [PartialAnswer(1, "1", True)],
            {name: readout((n, i), steps, length, every=True) for i, name in enumerate(names)},
            [ExitReplay(f"rule({i})", 4, [(1, 4)], "1", True, True) for i in range(5)],
        )
        for n in range(samples)
    ]
    return StudyReplay(
        "large",
        names,
        1e-6,
        3,
        1.0,
        4e-3,
        TOKENS,
        [SetReplay("countdown", length, [0], samples, made)],
    )
