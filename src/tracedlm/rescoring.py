"""`rescore`: mark released generations again and count their forwards.

It says where the published scorer is wrong, and loads no torch.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.released import Released, read_released, read_settings
from tracedlm.tasks import Problem, Score, Scorer, get_task
from tracedlm.theory.resampling import bootstrap_interval, clopper_pearson
from tracedlm.theory.schedule import effective_steps, gaussian


@dataclass(frozen=True)
class BlockSteps:
    """Forwards that samples spent in one block.

    Attributes:
        block: From 1, as in EDIT's files.
        mean: Mean forwards.
        quantiles: Least, lower quartile, median, upper quartile, most.
    """

    block: int
    mean: float
    quantiles: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Agreement:
    """On how many samples the two scorers say what; samples without a gold answer are left out."""

    both_right: int
    only_d1: int
    only_strict: int
    both_wrong: int

    @property
    def share(self) -> float | None:
        """Share of samples on which they agree; None without samples."""
        n = self.both_right + self.only_d1 + self.only_strict + self.both_wrong
        return (self.both_right + self.both_wrong) / n if n else None


@dataclass(frozen=True)
class Disagreement:
    """A sample, counted from 0, on which the two scorers disagree.

    With the answers that they read in the response.
    """

    sample: int
    question: str
    gold: str
    solved_by: Scorer
    d1_answer: str | None
    strict_answer: str | None


@dataclass(frozen=True)
class Rescored:
    """What released generations score, and what they cost.

    Attributes:
        dataset: Task name.
        scorer: `d1` or `strict`.
        n: Samples scored.
        ungraded: Samples whose released gold answer is null: d1 counts them as wrong, as published;
            strict leaves them out of n.
        accuracy: In [0, 1]: share solved; for Sudoku under d1, share of blank cells that are right,
            pooled over the set.
        low: Lower end of its 95 % interval: Clopper-Pearson, or for pooled cells a bootstrap over
            puzzles.
        high: Upper end.
        solved: Share of problems solved as a whole, in [0, 1].
        gen_length: Tokens of the canvas.
        full_steps: Forwards of the full schedule, summed over blocks.
        mean_steps: Mean forwards of a sample, summed over blocks; None where no steps were released
            (d1's layout).
        reduction: 1 - mean_steps / full_steps; None like it.
        blocks: Distribution of the forwards over samples, block by block; empty where no steps were
            released.
        skip_noop_steps: Forwards of the same schedule without its no-op steps and without any exit
            rule; None without settings.
        agreement: Both scorers, sample by sample.
        disagreements: Where they differ.
    """

    dataset: str
    scorer: Scorer
    n: int
    ungraded: int
    accuracy: float
    low: float
    high: float
    solved: float
    gen_length: int
    full_steps: int
    mean_steps: float | None
    reduction: float | None
    blocks: tuple[BlockSteps, ...]
    skip_noop_steps: int | None
    agreement: Agreement
    disagreements: tuple[Disagreement, ...]


def rescore(
    folder: str | Path,
    dataset: str,
    scorer: Scorer = "d1",
    settings: str | Path | None = None,
    setup: str | None = None,
    partial: bool = False,
) -> Rescored:
    """Mark released generations and count their forwards (method.md sections 7 and 8).

    Args:
        folder: EDIT's or d1's layout: `*_generations.json`, and `*_early_exit_steps_device-*.csv`
            where there are steps.
        dataset: countdown, gsm8k, math500 or sudoku. Files of other data sets are passed over.
        scorer: `d1` is the published evaluation, `strict` the careful one.
        settings: The JSON of EDIT's settings for this set-up; with it, `skip_noop_steps` is known.
        setup: Which set-up, where the folder holds several models, canvases or temperatures: a
            file's name without `_<device>_generations.json`.
        partial: Mark what is there where the files of some devices are missing.

    Raises:
        ValueError: The dataset or the scorer is unknown, or the folder does not hold what it
            should; the message says what.
    """
    if dataset not in PROBLEMS:
        raise ValueError(
            f"dataset {dataset!r} cannot be rescored; known: {', '.join(sorted(PROBLEMS))}"
        )
    if scorer not in ("d1", "strict"):
        raise ValueError(f"unknown scorer {scorer!r}; known: d1, strict")
    released = read_released(folder, RELEASED_AS.get(dataset, (dataset,)), setup, partial)
    problems = [
        _problem(folder, dataset, item, sample) for sample, item in enumerate(released.items)
    ]
    marks = [
        _marks(dataset, problem, item["generations"])
        for problem, item in zip(problems, released.items, strict=True)
    ]
    steps = None if released.block_steps is None else float(released.block_steps.sum(axis=1).mean())
    return Rescored(
        dataset=dataset,
        scorer=scorer,
        **_accuracy(scorer, problems, marks),
        gen_length=released.gen_length,
        full_steps=released.steps,
        mean_steps=steps,
        reduction=None if steps is None else 1 - steps / released.steps,
        blocks=_blocks(released),
        skip_noop_steps=(
            None
            if settings is None
            else skip_noop_steps(settings, released.gen_length, released.steps)
        ),
        agreement=_agreement([mark for mark in marks if mark is not None]),
        disagreements=tuple(_disagreements(released.items, marks)),
    )


def skip_noop_steps(settings: str | Path, gen_length: int, steps: int) -> int:
    """Forwards that EDIT's released schedule needs when steps that commit nothing are skipped.

    Source: method.md section 2.

    Nothing else is skipped: no exit rule is involved, and the output is that of the full schedule.

    Args:
        settings: The JSON of the settings.
        gen_length: Tokens of the canvas.
        steps: Forwards of the full schedule.

    Raises:
        ValueError: The settings are unreadable, or do not fit the canvas.
    """
    return sum(
        effective_steps(gaussian(block.tokens, block.steps, block.center, block.width))
        for block in read_settings(settings, gen_length, steps)
    )


Marks = tuple[Score, Score]
"""A response's scores by d1 and by strict."""


def _marks(dataset: str, problem: Problem | None, text: str) -> Marks | None:
    task = get_task(dataset)
    return (
        None
        if problem is None
        else (task.score(problem, text, "d1"), task.score(problem, text, "strict"))
    )


def _accuracy(
    scorer: Scorer, problems: list[Problem | None], marks: list[Marks | None]
) -> dict[str, Any]:
    """Fields of `Rescored` that a scorer decides."""
    chosen = [None if mark is None else mark[0 if scorer == "d1" else 1] for mark in marks]
    ungraded = chosen.count(None)
    # d1 counts a sample without a gold answer as wrong, as published; strict leaves it out.
    scored = [
        (problem, score)
        for problem, score in zip(problems, chosen, strict=True)
        if scorer == "d1" or score is not None
    ]
    if not scored:
        raise ValueError(f"no sample can be scored: {ungraded} samples, none with a gold answer")
    solved = np.array([score is not None and score.correct for _, score in scored])
    low, high = clopper_pearson(int(solved.sum()), len(solved))
    accuracy = float(solved.mean())
    blanks = np.array([(problem or {}).get("Puzzle", "").count("0") for problem, _ in scored])
    # d1 pools the blank cells of all Sudokus: a puzzle weighs as many as it has.
    if scorer == "d1" and blanks.any():
        cells = (
            np.array([0.0 if score is None else score.value for _, score in scored])
            * blanks
            / blanks.mean()
        )
        accuracy = float(cells.mean())
        low, high = bootstrap_interval(cells, rng=np.random.default_rng(0))
    return {
        "n": len(scored),
        "ungraded": ungraded,
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "solved": float(solved.mean()),
    }


def _agreement(marks: list[Marks]) -> Agreement:
    pairs = [(d1.correct, strict.correct) for d1, strict in marks]
    return Agreement(
        both_right=pairs.count((True, True)),
        only_d1=pairs.count((True, False)),
        only_strict=pairs.count((False, True)),
        both_wrong=pairs.count((False, False)),
    )


def _disagreements(items: list[dict[str, Any]], marks: list[Marks | None]) -> list[Disagreement]:
    return [
        Disagreement(
            sample,
            str(item["question"]),
            gold=str(item["ground_truth"]),
            solved_by="d1" if mark[0].correct else "strict",
            d1_answer=mark[0].answer,
            strict_answer=mark[1].answer,
        )
        for sample, (item, mark) in enumerate(zip(items, marks, strict=True))
        if mark is not None and mark[0].correct != mark[1].correct
    ]


def _blocks(released: Released) -> tuple[BlockSteps, ...]:
    if released.block_steps is None:
        return ()
    # block_steps: [samples, blocks]; quantiles: a list of five a block.
    quantiles = np.quantile(released.block_steps, (0, 0.25, 0.5, 0.75, 1), axis=0).T.tolist()
    means = released.block_steps.mean(axis=0).tolist()
    return tuple(
        BlockSteps(block, mean, tuple(q))
        for block, (mean, q) in enumerate(zip(means, quantiles, strict=True), start=1)
    )


def _problem(folder: str | Path, dataset: str, item: dict[str, Any], sample: int) -> Problem | None:
    """The problem of a released generation; None where its gold answer is null."""
    if item["ground_truth"] is None:
        return None
    try:
        problem = PROBLEMS[dataset](item["question"], item["ground_truth"])
        # The task itself says what is none of its problems.
        get_task(dataset).check(problem)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(
            f"{folder}: generation {sample + 1} is not one of {dataset}: {error}"
        ) from error
    return problem


def _gsm8k(question: str, gold: Any) -> Problem:
    # GSM8K's own files mark the final number by ####, which the task's reader looks for.
    return {"question": question, "answer": f"#### {float(gold):.15g}"}


def _math(question: str, gold: Any) -> Problem:
    return {"problem": question, "answer": str(gold)}


def _countdown(question: str, gold: Any) -> Problem:
    numbers, target = gold
    return {"input": ",".join(map(str, numbers)), "output": str(target)}


def _sudoku(question: str, gold: Any) -> Problem:
    # A question may hold more than the 4 x 4 grid: 16 digits, 0 for a blank.
    puzzle = re.search("[0-9]{16}", question)
    return {"Puzzle": puzzle[0] if puzzle else question[:16], "Solution": str(gold)}


RELEASED_AS = {"math500": ("math500", "math")}
"""First words of a data set's released files, where they are not its name here."""

PROBLEMS: dict[str, Callable[[str, Any], Problem]] = {
    "countdown": _countdown,
    "gsm8k": _gsm8k,
    "math500": _math,
    "sudoku": _sudoku,
}
"""A task's problem from the question and the gold answer of a released generation."""
