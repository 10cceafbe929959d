"""Accuracy against parallelism.

The area under a rule's curve, and which of many runs no other one beats.

Parallelism is canvas tokens per forward. Canvas tokens, not written ones: every run fills the same
canvas, so that the axis says what a run costs and nothing else, while counting what it wrote would
reward a rule for rambling. On the logarithmic axis used here any other constant number of tokens
(those of full decoding, say) would give the same area.
"""

import numpy as np


def area_weights(parallelism: np.ndarray, low: float, high: float) -> np.ndarray:
    """Weights of a curve's points in the area under it.

    `weights @ accuracies` is `area_under_curve`.

    They depend on where the points lie, not on their accuracies, so that the area is a mean over
    samples too: with `correct` of shape [points, samples], `weights @ correct` holds one value per
    sample, and two rules can be compared sample by sample.

    Args:
        parallelism: [n] tokens per forward, > 0, in any order; points that share one count as their
            mean.
        low: Lower limit, tokens per forward.
        high: Upper limit.

    Returns:
        [n], >= 0, with sum 1; NaN where there is no such area: fewer than two distinct points, or
            limits that leave nothing between them
        or go beyond the points.

    >>> area_weights(np.array([2.0, 4.0, 8.0]), 2, 8)
    array([0.25, 0.5 , 0.25])
    """
    parallelism = np.asarray(parallelism, dtype=float)
    if not (parallelism.size and parallelism.min() <= low < high <= parallelism.max()):
        return np.full(parallelism.shape, np.nan)
    places, index, counts = np.unique(np.log(parallelism), return_inverse=True, return_counts=True)
    begin, end = np.log(low), np.log(high)
    knots = np.clip(places, begin, end)  # what lies beyond a limit becomes a strip of no width
    # Each point's share of the line at every knot.
    hats = np.array([np.interp(knots, places, one) for one in np.eye(places.size)])
    return (np.trapezoid(hats, knots) / (end - begin) / counts)[index]


def area_under_curve(
    parallelism: np.ndarray, accuracy: np.ndarray, low: float, high: float
) -> float:
    """Mean accuracy between two parallelisms.

    On straight lines between a rule's points over log(tokens per forward).

    A(low, high) = 1 / (log high - log low) * integral of accuracy d log(parallelism), by the
    trapezoid rule, which is exact for such lines. The idea is d3LLM's AUP (arXiv 2601.07568):
    reward accuracy kept while tokens per forward grow. Unlike it, this area starts at stated limits
    instead of adding the rectangle left of the first point, so that rules measured at other
    parallelisms compare; it extends no curve beyond its points; it weights accuracies by nothing
    but 1; and its axis is logarithmic: twice as parallel is the same step everywhere.

    Args:
        parallelism: [n] tokens per forward, > 0, in any order.
        accuracy: [n], 0 to 1 (or any unit).
        low: Lower limit, tokens per forward.
        high: Upper limit.

    Returns:
        Area in the unit of accuracy, between its smallest and largest; NaN where `area_weights` is.

    >>> area_under_curve(np.array([2.0, 4.0, 8.0]), np.array([1.0, 0.5, 0.0]), 2, 8)
    0.5
    >>> area_under_curve(np.array([2.0, 8.0]), np.array([1.0, 0.0]), 2, 4)  # from 1 to 1/2
    0.75
    """
    return float(area_weights(parallelism, low, high) @ accuracy)


def pareto_front(cost: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Points that no other point beats.

    None is at most as expensive and at least as good, and better in one of the two.

    Args:
        cost: [n], e.g. mean forwards.
        value: [n], e.g. accuracy.

    Returns:
        bool [n]; equal points are on the front together.

    >>> pareto_front(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.9]))
    array([ True, False,  True])
    """
    no_worse = (cost[:, None] <= cost) & (value[:, None] >= value)
    better = (cost[:, None] < cost) | (value[:, None] > value)
    return np.logical_not(np.any(no_worse & better, axis=0))
