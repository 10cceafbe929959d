"""Intrinsic dimension of each layer's states.

Over sentences and over tokens, on a fixed evaluation set.
"""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from tracedlm.dynamics.outputs import share_seconds
from tracedlm.records.measures import Measure
from tracedlm.theory.dimension import (
    components_for,
    covariance_spectrum,
    distinct,
    neighbour_ratios,
    participation_ratio,
    two_nn,
)

FEWEST = 10
"""Points below which no dimension is estimated."""

CONFIDENCE = 0.95


def dimension_measures(
    states: np.ndarray,
    attention_mask: np.ndarray,
    seed: int,
    points: int = 2000,
    resamples: int = 50,
) -> list[Measure]:
    """TwoNN and PCA of the states of every layer.

    Padding and duplicates are dropped, and no more than `points` are used.

    Three clouds: `token`, one point a real token; `sentence`, the mean over a sentence's tokens;
    `flat`, a sentence's states side by side, of those sentences that have the commonest length: the
    toolkit's definition without its padding, for TwoNN only.

    Args:
        states: float32 [layers + 1, n, length, d] of `hidden_states`.
        attention_mask: [n, length], 1 for real tokens.
        seed: Of the choice of points and of the bootstrap, the same at every checkpoint.
        points: Most of a cloud that are used, drawn at random without replacement.
        resamples: Of the bootstrap.

    Returns:
        module = cloud; two_nn, participation_ratio and components_90 with their bootstrap's
            standard error, and `_low` and `_high` of the
        resamples' 95 % percentiles about the estimate; n = points left. The bootstrap of TwoNN
            draws ratios of distances: drawing points
        would double them. Errors are those of a cloud of n points, and estimates of clouds of
            different sizes are not alike.
    """
    real = np.asarray(attention_mask) == 1
    measures = []
    for layer, layer_states in enumerate(states):
        for module, cloud in _clouds(layer_states, real):
            started = time.process_time()
            rng = np.random.default_rng(seed)
            chosen = cloud[np.sort(rng.permutation(len(cloud))[:points])].astype(np.float64)
            # Repeated points have a distance of zero, for which TwoNN's ratio is undefined.
            distinct_points = chosen[distinct(chosen)] if len(chosen) else chosen
            rows = _two_nn(distinct_points, resamples, rng)
            if module != "flat":
                rows = rows + _pca(distinct_points, resamples, rng)
            layer_measures = [
                Measure(
                    module,
                    layer,
                    metric=metric,
                    label="",
                    value=value,
                    stderr=error,
                    n=len(distinct_points),
                    seconds=0.0,
                    reason=reason,
                )
                for metric, value, error, reason in rows
            ]
            measures += share_seconds(layer_measures, time.process_time() - started)
    return measures


def _clouds(states: np.ndarray, real: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and points [m, k] of each cloud of a layer, states [n, length, d]."""
    lengths = real.sum(axis=1)
    yield "token", states[real]
    filled = lengths > 0  # an empty sentence has no mean
    yield (
        "sentence",
        np.where(real[..., None], states, 0)[filled].sum(axis=1) / lengths[filled, None],
    )
    commonest = int(np.bincount(lengths).argmax())
    alike = lengths == commonest
    yield "flat", states[alike][real[alike]].reshape(int(alike.sum()), -1)


Row = tuple[str, float | None, float | None, str]
"""Metric, value, standard error, reason."""


def _two_nn(points: np.ndarray, resamples: int, rng: np.random.Generator) -> list[Row]:
    if len(points) < FEWEST:
        return _undefined("two_nn", f"{len(points)} distinct points, fewer than {FEWEST}")
    ratios = neighbour_ratios(points)
    draws = two_nn(ratios[rng.integers(len(ratios), size=(resamples, len(ratios)))])
    return _with_interval("two_nn", float(two_nn(ratios)), draws)


def _pca(points: np.ndarray, resamples: int, rng: np.random.Generator) -> list[Row]:
    names: dict[str, Callable[[np.ndarray], float]] = {
        "participation_ratio": participation_ratio,
        "components_90": components_for,
    }
    if len(points) < FEWEST:
        return [
            row
            for name in names
            for row in _undefined(name, f"{len(points)} distinct points, fewer than {FEWEST}")
        ]
    counts = rng.multinomial(len(points), np.full(len(points), 1 / len(points)), size=resamples)
    spectrum = covariance_spectrum(points)
    drawn = [covariance_spectrum(points, count) for count in counts]
    return [
        row
        for name, statistic in names.items()
        for row in _with_interval(name, statistic(spectrum), np.array(list(map(statistic, drawn))))
    ]


def _with_interval(metric: str, value: float, draws: np.ndarray) -> list[Row]:
    if math.isnan(value):
        return _undefined(metric, "the points do not vary")
    # Resamples have fewer distinct points, which alone lowers a participation ratio: their spread
    # is meant, not where they lie.
    low, high = (
        value - draws.mean() + np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    )
    return [
        (metric, value, float(np.std(draws, ddof=1)), ""),
        (f"{metric}_low", float(low), None, ""),
        (f"{metric}_high", float(high), None, ""),
    ]


def _undefined(metric: str, reason: str) -> list[Row]:
    return [(name, None, None, reason) for name in (metric, f"{metric}_low", f"{metric}_high")]
