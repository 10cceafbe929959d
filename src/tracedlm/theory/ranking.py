"""Do two rankings of the same methods agree, and is a difference between them more than noise?"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats

from tracedlm.theory.resampling import bootstrap_interval, clopper_pearson, mcnemar


@dataclass(frozen=True)
class Gap:
    """How much better one method is than another on the same problems.

    Attributes:
        mean: Difference of the accuracies, -1 to 1.
        low, high: 95 % bootstrap interval over problems, which are drawn as pairs; NaN where every
            problem shows the same difference or there are fewer than two.
        p: Exact McNemar p; NaN where problems were answered several times, which makes their
            outcomes shares.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def resolved(self) -> bool:
        """Whether 0 lies outside the interval and p is below 0.05, where they are defined.

        Nothing is corrected for many comparisons.
        """
        return (
            self.p < 0.05
            if math.isnan(self.low)
            else (self.low > 0 or self.high < 0) and not self.p >= 0.05
        )


def paired_spearman(x: np.ndarray, y: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """Spearman's rank correlation of few pairs, with its two-sided permutation p.

    Exact for up to 7 pairs, else by random permutations.

    Pairs along one training are not exchangeable where both curves have a trend; p then says how
    rare the order is, not what causes it.

    Args:
        x: [n].
        y: [n].
        resamples: Permutations to draw where there are more than so many.

    Returns:
        rho in [-1, 1] and p in (0, 1]; both NaN where n < 3 or either is constant.

    >>> rho, p = paired_spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 4.0, 9.0, 16.0]))
    >>> round(rho, 6), round(p, 6)
    (1.0, 0.083333)
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan
    # Centred ranks: their mean is (n + 1) / 2.
    x_ranks = scipy.stats.rankdata(x) - (len(x) + 1) / 2
    y_ranks = scipy.stats.rankdata(y) - (len(x) + 1) / 2
    scale = np.sqrt((x_ranks**2).sum() * (y_ranks**2).sum())

    def correlation(permuted: np.ndarray, axis: int) -> np.ndarray:
        return (permuted * y_ranks).sum(axis=axis) / scale

    test = scipy.stats.permutation_test(
        (x_ranks,),
        correlation,
        permutation_type="pairings",
        n_resamples=resamples,
        rng=np.random.default_rng(0),
    )
    return float(test.statistic), float(test.pvalue)


def kendall_tau(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of two score lists of the same methods.

    Pairs in the same order less pairs in the other, corrected for ties.

    Args:
        x: [methods], e.g. accuracies under one prompt template.
        y: [methods], the same methods under another.

    Returns:
        -1 (reversed) to 1 (the same order); NaN with fewer than two methods, or where all scores on
            one side are equal.

    >>> round(kendall_tau(np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.7, 0.6])), 6)
    0.333333
    """
    return float(scipy.stats.kendalltau(x, y).statistic) if len(x) > 1 else math.nan  # pyright: ignore[reportAttributeAccessIssue]


def paired_gap(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Gap:
    """Mean of `a` less mean of `b` with its uncertainty.

    A problem that was answered several times (seeds, templates) is one draw of the bootstrap with
    all its answers: its answers are not independent of each other.

    Args:
        a: [problems, answers], 1 where right.
        b: [problems, answers], the same problems and answers in the same order.
        rng: Source of randomness.

    >>> gap = paired_gap(np.ones((4, 1)), np.zeros((4, 1)), np.random.default_rng(0))
    >>> gap.mean, gap.low, gap.p
    (1.0, nan, 0.125)
    """
    each = a.mean(axis=1) - b.mean(axis=1)
    p = mcnemar(a[:, 0], b[:, 0]) if a.shape[1] == 1 else math.nan
    return Gap(float(each.mean()), *_interval(each, rng), p)


def change_of_gap(
    a: np.ndarray, b: np.ndarray, other_a: np.ndarray, other_b: np.ndarray, rng: np.random.Generator
) -> Gap:
    """How much larger the gap of two methods is under one condition than another.

    On the same problems. As `paired_gap`.
    """
    each = (a.mean(axis=1) - b.mean(axis=1)) - (other_a.mean(axis=1) - other_b.mean(axis=1))
    return Gap(float(each.mean()), *_interval(each, rng), math.nan)


def accuracy_interval(correct: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of an accuracy, over problems.

    Args:
        correct: [problems, answers], 1 where right.
        rng: Source of randomness.

    Returns:
        Clopper-Pearson where each problem was answered once; else the bootstrap over problems, NaN
            where it has nothing to vary.

    >>> low, high = accuracy_interval(np.zeros((10, 1)), np.random.default_rng(0))
    >>> low, round(high, 3)
    (0.0, 0.308)
    """
    if correct.shape[1] == 1:
        return clopper_pearson(int(correct.sum()), len(correct))
    return _interval(correct.mean(axis=1), rng)


def _interval(each: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """A bootstrap of equal values has no width, which would say that nothing is uncertain."""
    return (
        (math.nan, math.nan)
        if len(each) < 2 or np.ptp(each) == 0
        else bootstrap_interval(each, rng=rng)
    )
