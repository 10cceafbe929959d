"""Distances between distributions on one support.

Accurate where they are tiny (1e-9 nats), which is where decoding ends.
"""

from typing import Any

from array_api_compat import array_namespace

Array = Any

NEAR = 1e-2
"""Below this log-ratio `kl_from_ratio` uses the series of r - 1 + exp(-r).

Its remainder there is 4e-14 of the term.
"""

TINY = 1e-290
"""Below this probability p exp(-r) may be no number where q is one."""


def entropy(p: Array, axis: int = -1) -> Array:
    """Shannon entropy H(p) = -sum p log p, with 0 log 0 = 0 (TRACE Eq. 13).

    Args:
        p: Probabilities, summing to 1 over `axis`.
        axis: Axis of the outcomes.

    Returns:
        Nats, in [0, log n]; NaN where an entry of p is NaN.

    >>> import numpy as np
    >>> round(float(entropy(np.array([0.5, 0.5, 0.0]))), 6)
    0.693147
    """
    p = _float64(p)
    return 0.0 - _xp(p).sum(p * _log(p, 0.0), axis=axis)


def kl(
    p: Array, q: Array, axis: int = -1, smoothing: float = 0.0, support: Array | None = None
) -> Array:
    """Kullback-Leibler divergence KL(p || q) = sum p log(p/q), with 0 log 0 = 0.

    Source: TRACE section 3, Conventions.

    Computed as sum p log(p/q) - p + q: the same number for normalised arguments, never negative,
    and free of the cancellation that costs the plain sum its digits below 1e-6.

    Args:
        p: Probabilities, summing to 1 over `axis`.
        q: Probabilities of the same shape.
        axis: Axis of the outcomes.
        smoothing: Added to both before renormalising; TRACE section 3.1 uses 1e-12, the definition
            needs none.
        support: bool mask of the outcomes compared; both arguments are taken as zero elsewhere.
            None: all.

    Returns:
        Nats, in [0, inf]; inf where p > 0 = q.

    >>> import numpy as np
    >>> p, q = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    >>> round(float(kl(p, q)), 6), float(kl(q, p)), round(float(kl(q, p, smoothing=1e-12)), 3)
    (0.693147, inf, 13.122)
    """
    p, q = _float64(p), _float64(q)
    xp = _xp(p)
    if support is not None:
        p, q = xp.where(support, p, 0.0), xp.where(support, q, 0.0)
    if smoothing:
        inside = xp.ones_like(p) if support is None else xp.astype(support, xp.float64)
        p, q = _smooth(p, inside, smoothing, axis), _smooth(q, inside, smoothing, axis)
    return kl_from_log(_log(p, -xp.inf), _log(q, -xp.inf), axis=axis)


def kl_from_log(log_p: Array, log_q: Array, axis: int = -1) -> Array:
    """KL(p || q) from log-probabilities; entries that are -inf in both are outside the support.

    Args:
        log_p: Log-probabilities in nats, float64.
        log_q: Log-probabilities of the same shape.
        axis: Axis of the outcomes.

    Returns:
        Nats, in [0, inf], to eight digits down to 1e-15; NaN where an entry is NaN.

    >>> import numpy as np
    >>> (
    ...     round(float(kl_from_log(np.log([0.5, 0.5]), np.log([0.25, 0.75]))), 6),
    ...     round(0.5 * float(np.log(4 / 3)), 6),
    ... )
    (0.143841, 0.143841)
    """
    xp = _xp(log_p)
    log_p, log_q = xp.moveaxis(log_p, axis, -1), xp.moveaxis(log_q, axis, -1)
    p = xp.exp(log_p)
    if bool(xp.any(p < TINY)):
        return kl_from_ratio(p, xp.exp(log_q), log_p - xp.where(log_p == -xp.inf, 0.0, log_q))
    # A vocabulary is large and has no zeros: a third of the passes over it. A term is off by 1e-16
    # / gap of itself, and may fall below 0.
    gap = log_q - log_p
    return xp.vecdot(xp.abs(xp.expm1(gap) - gap), p)


def kl_from_ratio(p: Array, q: Array, log_ratio: Array) -> Array:
    """KL(p || q) over the last axis as the sum of p (r - 1 + exp(-r)), r = log(p / q).

    No term is negative, so none cancels.

    The sum is stationary in the normalisers, so an error e in either of them costs e^2, not e: this
    is what keeps 1e-9 nats accurate.

    Args:
        p: Probabilities, float64, summing to 1 over the last axis.
        q: Probabilities of the same shape.
        log_ratio: r in nats; not read where p is 0, so that 0 log 0 = 0; inf where p > 0 = q.

    Returns:
        Nats, in [0, inf]; NaN where an entry is NaN.

    >>> import numpy as np
    >>> round(
    ...     float(
    ...         kl_from_ratio(
    ...             np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([np.log(2.0), -np.inf])
    ...         )
    ...     ),
    ...     6,
    ... )
    0.693147
    """
    xp, r = _xp(p), log_ratio
    near = xp.abs(r) < NEAR
    if bool(xp.all(near)):
        return xp.vecdot(_excess(r), p)
    far = xp.where(near | (p == 0), 0.0, r)
    return xp.sum(xp.where(near, p * _excess(xp.where(near, r, 0.0)), p * far - p + q), axis=-1)


def total_variation(p: Array, q: Array, axis: int = -1) -> Array:
    """Total variation distance, half the l1 distance (TRACE section 3, Conventions).

    Args:
        p: Probabilities, summing to 1 over `axis`.
        q: Probabilities of the same shape.
        axis: Axis of the outcomes.

    Returns:
        In [0, 1]: the largest difference in probability that p and q give to one event.

    >>> import numpy as np
    >>> float(total_variation(np.array([0.5, 0.5]), np.array([0.25, 0.75])))
    0.25
    """
    p, q = _float64(p), _float64(q)
    xp = _xp(p)
    return xp.sum(xp.abs(p - q), axis=axis) / 2


def top_two_margin(p: Array, axis: int = -1, support: Array | None = None) -> Array:
    """Margin m = p(1) - p(2) between the two largest probabilities (TRACE Eq. 16).

    Args:
        p: Probabilities.
        axis: Axis of the outcomes.
        support: bool mask of the outcomes that count. None: those with positive probability.

    Returns:
        In [0, 1]; 0 in a tie; NaN where fewer than two outcomes are in the support or one of them
            is NaN.

    >>> import numpy as np
    >>> (
    ...     float(top_two_margin(np.array([0.125, 0.625, 0.25]))),
    ...     float(top_two_margin(np.array([1.0, 0.0]))),
    ... )
    (0.375, nan)
    """
    p = _float64(p)
    xp = _xp(p)
    support = ~(p <= 0) if support is None else support
    p, support = xp.moveaxis(xp.where(support, p, -1.0), axis, -1), xp.moveaxis(support, axis, -1)
    top = xp.argmax(p, axis=-1, keepdims=True)
    rank = xp.cumulative_sum(xp.ones_like(p, dtype=xp.int64), axis=-1) - 1
    margin = xp.max(p, axis=-1) - xp.max(xp.where(rank == top, -1.0, p), axis=-1)
    return xp.where(xp.sum(xp.astype(support, xp.int64), axis=-1) >= 2, margin, xp.nan)


def _xp(array: Array) -> Any:
    return array_namespace(array)


def _float64(array: Array) -> Array:
    xp = _xp(array)
    return xp.astype(array, xp.float64, copy=False)


def _log(p: Array, at_zero: float) -> Array:
    xp = _xp(p)
    return xp.where(p == 0, at_zero, xp.log(xp.where(p == 0, 1.0, p)))


def _excess(r: Array) -> Array:
    """Series of r - 1 + exp(-r)."""
    return (((((1 / 720) * r - 1 / 120) * r + 1 / 24) * r - 1 / 6) * r + 0.5) * r * r


def _smooth(p: Array, inside: Array, amount: float, axis: int) -> Array:
    raised = p + amount * inside
    total = _xp(p).sum(raised, axis=axis, keepdims=True)
    return raised / _xp(p).where(total == 0, _xp(p).nan, total)
