"""Answers under several prompt templates and seeds, in memory.

`evaluation/<dataset>/<seq_len>.parquet`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.evaluation import EVALUATION
from tracedlm.records.parquet import read_table

COLUMNS = ("template", "seed", "rule", "sample_id", "facets", "correct", "score_d1", "nfe")


@dataclass(frozen=True)
class Evaluated:
    """Exit rules under several templates and seeds, on one set.

    Arrays [templates, rules, problems, seeds].

    Attributes:
        templates, rules, seeds: In the order they were run.
        correct: 1 where the problem is solved (strict scorer).
        score_d1: Share that is right by the published scorer, 0 to 1.
        forwards: Forwards.
        facets: Of each problem, in the order of sample_id: what kind it is, e.g. {"Subdomain":
            "Genetics"}.
        temperature: Of drawing tokens.
        shots: Worked examples before each question.
    """

    templates: tuple[str, ...]
    rules: tuple[str, ...]
    seeds: tuple[int, ...]
    correct: np.ndarray
    score_d1: np.ndarray
    forwards: np.ndarray
    facets: tuple[dict[str, str], ...]
    temperature: float
    shots: int


def read_evaluated(path: Path) -> Evaluated:
    """Read the evaluation of one set.

    Raises:
        ValueError: The file is missing or unreadable, or some problems were not answered under some
            condition.
    """
    table = read_table(path, EVALUATION, "an evaluation", columns=list(COLUMNS))
    columns = {name: table[name].to_pylist() for name in COLUMNS}
    axes = {
        name: tuple(dict.fromkeys(columns[name]))
        for name in ("template", "rule", "sample_id", "seed")
    }
    places = {
        name: {value: place for place, value in enumerate(values)} for name, values in axes.items()
    }
    at = tuple(np.array([places[name][value] for value in columns[name]]) for name in axes)
    shape = tuple(map(len, axes.values()))
    if len(table) != np.prod(shape):
        raise ValueError(
            f"{path}: {len(table)} answers, not one for each of {' x '.join(map(str, shape))};"
            " delete it and run snakemake again"
        )
    facets = dict(zip(columns["sample_id"], columns["facets"], strict=True))
    metadata = table.schema.metadata
    correct, score_d1, forwards = (
        _placed(columns[name], at, shape) for name in ("correct", "score_d1", "nfe")
    )
    return Evaluated(
        templates=axes["template"],
        rules=axes["rule"],
        seeds=axes["seed"],
        correct=correct,
        score_d1=score_d1,
        forwards=forwards,
        facets=tuple(dict(facets[sample]) for sample in axes["sample_id"]),
        temperature=float(metadata[b"temperature"]),
        shots=int(metadata[b"shots"]),
    )


def _placed(values: list[Any], at: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> np.ndarray:
    placed = np.full(shape, np.nan)
    placed[at] = values
    return placed
