"""A curve over training that has come to rest, and the mean of a few runs with its interval."""

import math
from collections.abc import Sequence

import numpy as np
import scipy.stats


def plateau(values: Sequence[float | None], tolerance: float, patience: int) -> int | None:
    """First checkpoint at which a curve has stood still for `patience` checkpoints, using nothing that comes after it.

    Args:
        values: [checkpoints] in the order of training; None where undefined, which nothing is compared with: the wait begins anew.
        tolerance: Change from one checkpoint to the next that counts as none, relative to the largest magnitude so far.
        patience: Changes in a row that must be that small, >= 1.

    Returns:
        Index into `values`; None where the curve never rests.

    >>> plateau([0.0, 0.5, 0.9, 0.905, 0.9, 0.1], tolerance=0.02, patience=2)
    4
    """
    still, largest = 0, 0.0
    for index, value in enumerate(values):
        before = values[index - 1] if index else None
        largest = max(largest, abs(value or 0.0))
        still = still + 1 if value is not None and before is not None and abs(value - before) <= tolerance * largest else 0
        if still == patience:
            return index
    return None


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent runs with Student's interval: (mean, low, high); the interval is NaN from fewer than two.

    >>> [round(value, 3) for value in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return mean, math.nan, math.nan
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half
