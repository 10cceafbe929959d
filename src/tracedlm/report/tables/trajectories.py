"""Measures of training as curves over checkpoints: one a seed, and their mean with an interval."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.measures import read_measures
from tracedlm.records.metrics import read_json
from tracedlm.theory.early_stopping import mean_interval


@dataclass(frozen=True)
class Which:
    """A curve's name: the columns of `records.measures` that tell it from others.

    `layer` -1 is the last one.
    """

    metric: str
    module: str = ""
    layer: int | None = None
    label: str = ""


@dataclass(frozen=True)
class Curve:
    """One quantity over training.

    Attributes:
        steps: Optimiser steps, ascending.
        seeds: Seeds, ascending.
        values: float64 [seeds, steps]; NaN where undefined.
        stderrs: float64, same shape; NaN where none was estimated.
    """

    steps: tuple[int, ...]
    seeds: tuple[int, ...]
    values: np.ndarray
    stderrs: np.ndarray

    def at(self, index: int) -> tuple[float, float, float]:
        """Mean over the seeds that have a value at a checkpoint, with Student's 95 % interval.

        NaN where there is none.
        """
        column = self.values[:, index]
        return mean_interval(column[~np.isnan(column)].tolist())


class Trajectories:
    """All measures of a study.

    Attributes:
        rows: One a measure, as in `records.measures.MEASURES`.
        summary: What rule `dynamics_summary` says beside them.
        runs: `causal`, `masked`, in the order of the table.
    """

    def __init__(self, measures: Path, summary: Path) -> None:
        """Read both files.

        Raises:
            ValueError: One is missing or unreadable.
        """
        self.rows: list[dict[str, Any]] = read_measures([measures]).to_pylist()
        self.summary = read_json(summary, ("limits", "trainings", "skipped", "stopping"))
        self.runs = list(dict.fromkeys(row["run"] for row in self.rows))
        self._found: dict[tuple[Any, ...], dict[tuple[int, int], dict[str, Any]]] = {}
        for row in self.rows:
            key = (row["run"], row["metric"], row["module"], row["layer"], row["label"])
            self._found.setdefault(key, {})[row["seed"], row["step"]] = row

    @property
    def limits(self) -> dict[str, Any]:
        """Floors and ceilings of the corpus; `reason` where none is known."""
        return self.summary["limits"]

    def layers(self, run: str) -> list[int]:
        """Hidden states that were measured, 0 = embeddings."""
        return sorted(
            {layer for found, _, _, layer, _ in self._found if found == run and layer is not None}
        )

    def labels(self, run: str, metric: str, module: str) -> list[str]:
        """Labels of a metric, in the order of the table."""
        return list(
            dict.fromkeys(
                key[4] for key in self._found if key[:3] == (run, metric, module) and key[4]
            )
        )

    def curve(self, run: str, which: Which) -> Curve | None:
        """A quantity over training; None where it was not measured."""
        layer = self.layers(run)[-1] if which.layer == -1 and self.layers(run) else which.layer
        found = self._found.get((run, which.metric, which.module, layer, which.label))
        if found is None:
            return None
        seeds = tuple(sorted({seed for seed, _ in found}))
        steps = tuple(sorted({step for _, step in found}))
        values = np.full((len(seeds), len(steps)), np.nan)
        stderrs = np.full((len(seeds), len(steps)), np.nan)
        for (seed, step), row in found.items():
            place = (seeds.index(seed), steps.index(step))
            values[place] = np.nan if row["value"] is None else row["value"]
            stderrs[place] = np.nan if row["stderr"] is None else row["stderr"]
        return Curve(steps, seeds, values, stderrs)
