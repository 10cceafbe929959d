"""How sure a table may be: exact and bootstrap intervals, rank correlation, paired tests."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats

Statistic = str | Callable[..., np.ndarray]
"""A NumPy function by name ("mean", "median", ...), or one that takes (values, axis=-1)."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho in [-1, 1] with its interval.

    NaN with a reason where undefined ("" otherwise).

    Attributes:
        rho: In [-1, 1].
        low: Lower end of its interval.
        high: Upper end of its interval.
        n: Pairs used.
        dropped: Pairs left out because a value was NaN.
        degenerate: Resamples without a rho.
        reason: Why rho is undefined. Empty otherwise.
    """

    rho: float
    low: float
    high: float
    n: int
    dropped: int
    degenerate: int
    reason: str


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion.

    Covers it with at least the stated probability (Clopper and Pearson, 1934).

    Args:
        successes: 0..n.
        n: Trials, >= 0.
        confidence: In (0, 1).

    Returns:
        (low, high) in [0, 1]; (0, 1) without trials, when nothing is known.

    Raises:
        ValueError: successes is outside 0..n.

    >>> low, high = clopper_pearson(0, 10)
    >>> low, round(high, 6) == round(1 - 0.025 ** (1 / 10), 6)
    (0.0, True)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes lie between 0 and n={n}, got {successes}")
    tail = (1 - confidence) / 2
    low = scipy.stats.beta.ppf(tail, successes, n - successes + 1) if successes else 0.0
    high = scipy.stats.beta.isf(tail, successes + 1, n - successes) if successes < n else 1.0
    return float(low), float(high)


def bootstrap_interval(
    values: np.ndarray,
    statistic: Statistic = "mean",
    resamples: int = 1000,
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of independent samples.

    Source: TRACE section 4.3: 1,000 resamples, 95 %.

    Args:
        values: [n].
        statistic: Name or function of (values, axis=-1).
        resamples: >= 1.
        confidence: In (0, 1).
        rng: Source of randomness; the same state gives the same interval.

    Returns:
        (low, high) in the unit of the statistic; NaN without samples.

    Raises:
        ValueError: A value is NaN.

    >>> bootstrap_interval(np.array([2.0, 2.0, 2.0]), rng=np.random.default_rng(0))
    (2.0, 2.0)
    """
    values = _defined(values)
    if not values.size:
        return math.nan, math.nan
    return _percentiles(
        _reduce(statistic, values[_indices(values.size, resamples, rng)]), confidence
    )


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    statistic: Statistic = "mean",
    resamples: int = 1000,
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap interval of statistic(a) - statistic(b).

    On the same samples, which are drawn as pairs.

    Args:
        a: [n] first method, one value per sample.
        b: [n] second method, same samples in the same order.
        statistic: Name or function of (values, axis=-1).
        resamples: >= 1.
        confidence: In (0, 1).
        rng: Source of randomness.

    Returns:
        (low, high); a difference is resolved where 0 lies outside. NaN without samples.

    Raises:
        ValueError: The lengths differ or a value is NaN.

    >>> paired_bootstrap(np.array([3.0, 5.0]), np.array([2.0, 4.0]), rng=np.random.default_rng(0))
    (1.0, 1.0)
    """
    a, b = _defined(a), _defined(b)
    if a.shape != b.shape:
        raise ValueError(f"pairs need equally many values, got {a.size} and {b.size}")
    if not a.size:
        return math.nan, math.nan
    rows = _indices(a.size, resamples, rng)
    return _percentiles(_reduce(statistic, a[rows]) - _reduce(statistic, b[rows]), confidence)


def spearman(
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Correlation:
    """Spearman's rank correlation with a percentile bootstrap interval.

    Source: TRACE section 4.3, Table 2.

    A resample in which one side is constant has no rho. Left out, it would make few samples look
    sure: with one wrong answer among eight, every other resample has the same sign. It is counted,
    and as -1 at the lower end and 1 at the upper one.

    Args:
        x: [n], e.g. concentration at the stop; NaN pairs are dropped and counted.
        y: [n], e.g. correctness.
        rng: Source of randomness.
        resamples: >= 1.
        confidence: In (0, 1).

    Returns:
        Correlation; NaN with the reason where an input is constant or fewer than three pairs are
            defined.

    Raises:
        ValueError: The lengths differ.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]), np.random.default_rng(0)).rho
    1.0
    """
    if x.size != y.size:
        raise ValueError(f"pairs need equally many values, got {x.size} and {y.size}")
    defined = ~(np.isnan(x) | np.isnan(y))
    dropped = int((~defined).sum())
    x = x[defined]
    y = y[defined]
    constant = [name for name, v in (("x", x), ("y", y)) if v.size and (v == v[0]).all()]
    reason = (
        f"only {x.size} defined pairs"
        if x.size < 3
        else f"{' and '.join(constant)} constant"
        if constant
        else ""
    )
    if reason:
        return Correlation(
            rho=math.nan,
            low=math.nan,
            high=math.nan,
            n=x.size,
            dropped=dropped,
            degenerate=0,
            reason=reason,
        )
    rows = _indices(x.size, resamples, rng)
    rhos = _rank_correlation(x[rows], y[rows])
    low, _ = _percentiles(np.nan_to_num(rhos, nan=-1), confidence)
    _, high = _percentiles(np.nan_to_num(rhos, nan=1), confidence)
    return Correlation(
        rho=float(_rank_correlation(x[None], y[None])[0]),
        low=low,
        high=high,
        n=x.size,
        dropped=dropped,
        degenerate=int(np.isnan(rhos).sum()),
        reason="",
    )


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact McNemar test.

    Could two methods, right or wrong on the same samples, have the same accuracy?

    Args:
        a: bool [n], first method right.
        b: bool [n], second method right.

    Returns:
        Two-sided p-value in (0, 1]; 1 where the methods never disagree.

    Raises:
        ValueError: The lengths differ.

    >>> mcnemar(np.array([True] * 5), np.array([False] * 5))
    0.0625
    """
    a, b = a.astype(bool), b.astype(bool)
    if a.size != b.size:
        raise ValueError(f"pairs need equally many values, got {a.size} and {b.size}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return (
        float(scipy.stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)
        if only_a + only_b
        else 1.0
    )


def sign_flip(differences: np.ndarray) -> float:
    """Exact paired test over problems that were answered several times.

    Could two methods change places in every problem?

    Whichever method is which, a problem's answers stay together: they need not be independent of
    each other. With one answer a problem this is McNemar's test.

    Args:
        differences: int [problems], answers that the first method has right less those that the
            second has.

    Returns:
        Two-sided p-value in (0, 1]: the share of all ways to give the differences signs whose sum
            is as far from 0; 1 without any.

    >>> sign_flip(np.array([3, 2]))
    0.5
    """
    sizes = np.abs(differences[differences != 0]).astype(int)
    ways = np.ones(1)  # probability of each sum from -total to total, one problem after another
    for size in sizes:
        ways = np.convolve(ways, [0.5, *[0.0] * (2 * size - 1), 0.5])
    sums = np.arange(len(ways)) - sizes.sum()
    return min(1.0, float(ways[np.abs(sums) >= abs(differences.sum())].sum()))


def _indices(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(n, size=(resamples, n))


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _reduce(statistic: Statistic, values: np.ndarray) -> np.ndarray:
    return (getattr(np, statistic) if isinstance(statistic, str) else statistic)(values, axis=-1)


def _defined(values: np.ndarray) -> np.ndarray:
    values = values.astype(float)
    if np.isnan(values).any():
        raise ValueError(
            "a value is NaN: an undefined sample must be excluded by name, not averaged"
        )
    return values


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of each row, NaN where a side is constant."""
    # Centred ranks, [rows, samples].
    middle = (x.shape[-1] + 1) / 2
    x = scipy.stats.rankdata(x, axis=-1) - middle
    y = scipy.stats.rankdata(y, axis=-1) - middle
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return np.divide((x * y).sum(axis=-1), scale, out=np.full(scale.shape, np.nan), where=scale > 0)
