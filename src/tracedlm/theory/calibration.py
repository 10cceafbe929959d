"""Choosing thresholds on held-out data: margin quantiles that keep their promise, and the (delta, Omega) of a grid."""

import math
from collections.abc import Sequence

import numpy as np


def beta_quantile(margins: Sequence[float] | np.ndarray, beta: float) -> float:
    """Margin that a new sample reaches with probability at least 1 - beta (corrects TRACE Cor. B.2, EDIT Cor. 6).

    The floor(beta (n + 1))-th smallest of n exchangeable calibration margins (method.md section 5, error 4).

    Args:
        margins: [n] top-2 margins at the stop, in [0, 1].
        beta: Allowed failure probability in (0, 1).

    Returns:
        In [0, 1]; NaN where beta (n + 1) < 1: too few samples to promise anything.

    Raises:
        ValueError: beta is outside (0, 1) or a margin is NaN (dropping undefined ones would bias the promise).

    >>> beta_quantile([0.4, 0.1, 0.3, 0.2], 0.4), beta_quantile([0.4, 0.1], 0.1)
    (0.2, nan)
    """
    ordered = np.sort(_margins(margins, beta))
    rank = min(math.floor(beta * (len(ordered) + 1) + 1e-9), len(ordered))  # 0.29 * 100 is 28.999999999999996 in binary
    return float(ordered[rank - 1]) if rank else math.nan


def paper_quantile(margins: Sequence[float] | np.ndarray, beta: float) -> float:
    """The papers' (1 - beta)-quantile of the margin, which only a fraction beta of samples reaches (EDIT Cor. 6, as printed).

    For comparison with `beta_quantile`. Args and Raises as there; NaN without samples.

    >>> round(paper_quantile([0.0, 0.1, 0.2, 0.3, 0.4], 0.25), 12)
    0.3
    """
    values = _margins(margins, beta)
    return float(np.quantile(values, 1 - beta)) if len(values) else math.nan


def select_pair(coverage: np.ndarray, deltas: Sequence[float], omegas: Sequence[int]) -> tuple[int, int]:
    """Indices of (delta*, Omega*): largest coverage, then smaller delta, then larger Omega (TRACE App. G; method.md section 6).

    Args:
        coverage: [deltas, omegas] fraction of validation samples certified; NaN entries are not chosen.
        deltas: KL thresholds in nats.
        omegas: Window lengths in steps.

    Returns:
        (i, j), the pair being (deltas[i], omegas[j]).

    Raises:
        ValueError: The shape does not fit, or no coverage is defined.

    >>> select_pair(np.array([[0.5, 0.9], [0.9, 0.9]]), [1e-6, 3e-6], [1, 2])
    (0, 1)
    """
    coverage = np.asarray(coverage, dtype=float)
    if coverage.shape != (len(deltas), len(omegas)):
        raise ValueError(f"coverage is {coverage.shape}, but there are {len(deltas)} deltas and {len(omegas)} omegas")
    candidates = [(i, j) for i in range(len(deltas)) for j in range(len(omegas)) if not math.isnan(coverage[i, j])]
    if not candidates:
        raise ValueError("no pair can be selected: no coverage is defined")
    return min(candidates, key=lambda pair: (-coverage[pair], deltas[pair[0]], -omegas[pair[1]]))


def _margins(margins: Sequence[float] | np.ndarray, beta: float) -> np.ndarray:
    values = np.asarray(margins, dtype=float).reshape(-1)
    if not 0 < beta < 1:
        raise ValueError(f"a failure probability is in (0, 1), got beta={beta}")
    if np.isnan(values).any():
        raise ValueError("a calibration margin is NaN: decide what an undefined margin means before calibrating")
    return values


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their counts (ECE).

    Args:
        confidence: [n] probabilities in [0, 1].
        correct: bool [n].
        bins: Number of bins.

    Returns:
        In [0, 1], 0 for a perfectly calibrated predictor; NaN without predictions.

    >>> round(expected_calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])), 12)
    0.1
    """
    if not len(confidence):
        return float("nan")
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=np.asarray(confidence) - np.asarray(correct, dtype=float), minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))
