"""What one step's movement says of all later ones, if every step shrinks the next.

The papers' tails, and the sound one.

A forward bound exists only for a contraction, alpha < 1; TRACE's own estimates are 2.1 to 2.6
(method.md section 5, error 3).
"""

import math
from typing import Any

from array_api_compat import array_namespace

from tracedlm.theory.divergence import total_variation

Array = Any


def contraction_rate(tv: Array) -> Array:
    """The smallest alpha with TV_(r+1) <= alpha TV_r for every r.

    What TRACE's Assumption 3.1 asks of a sample (TRACE Eq. 19).

    Unlike `stability.lscr` it counts a movement after a standstill, which no alpha allows.

    Args:
        tv: [..., steps] total variation to the step before, NaN where undefined; on one support.

    Returns:
        [...] in [0, inf]: 0 where nothing ever moved, inf where something moved after a standstill;
            NaN without two successive values.

    >>> import numpy as np
    >>> contraction_rate(np.array([[0.5, 0.25, 0.2], [0.0, 0.0, 0.0], [0.5, 0.0, 0.1]])).tolist()
    [0.8, 0.0, inf]
    """
    return _largest(_ratio(tv[..., 1:], tv[..., :-1]))


def dobrushin(kernel: Array) -> Array:
    """Dobrushin's coefficient alpha(K).

    The sup of TV(pK, qK) / TV(p, q), attained at two rows of K (TRACE Eq. 10).

    Args:
        kernel: [states, states] Markov kernel, each row a distribution.

    Returns:
        In [0, 1]; below 1 the kernel contracts.

    >>> import numpy as np
    >>> round(float(dobrushin(np.array([[0.75, 0.25], [0.25, 0.75]]))), 12)
    0.5
    """
    return array_namespace(kernel).max(total_variation(kernel[:, None, :], kernel[None, :, :]))


def dobrushin_estimate(p: Array) -> Array:
    """Lower estimate of alpha(K) from a path p_(r+1) = p_r K.

    The largest TV(p_(r+1), p_(s+1)) / TV(p_r, p_s) (TRACE Eq. 10).

    It holds for one operator that moves every step; successive steps give `contraction_rate`, which
    is never above it.

    Args:
        p: [..., steps, positions] distributions on one support; NaN where undefined.

    Returns:
        [...] in [0, inf]: 0 where nothing ever moved, inf where equal distributions became
            different; NaN with fewer than three steps.

    >>> import numpy as np
    >>> path = np.array([[1.0, 0.0], [0.75, 0.25], [0.625, 0.375], [0.5625, 0.4375]])
    >>> float(dobrushin_estimate(path))
    0.5
    """
    xp = array_namespace(p)
    ratios = []
    for lag in range(1, max(p.shape[-2], 2)):  # at least once: too few steps make an empty array
        apart = total_variation(p[..., lag:, :], p[..., :-lag, :])
        ratios.append(_ratio(apart[..., 1:], apart[..., :-1]))
    return _largest(xp.concat(ratios, axis=-1))


def forward_tail(alpha: float, steps: float, tv_last: float) -> float:
    """Largest drift TV(P_t+s, P_t) if every step contracts by alpha.

    Alpha (1 - alpha^s) / (1 - alpha) times the last TV.

    Corrects EDIT Eq. 19 and sharpens TRACE Eq. 11 (method.md section 5, error 2).

    Args:
        alpha: Contraction in [0, 1).
        steps: s >= 0, `math.inf` for the whole future.
        tv_last: TV(P_t, P_t-1) in [0, 1].

    Returns:
        Total variation, >= 0.

    Raises:
        ValueError: alpha is outside [0, 1): not certifiable.

    >>> forward_tail(0.5, 2, 0.5), forward_tail(0.5, math.inf, 0.5)
    (0.375, 0.5)
    """
    return _contraction(alpha) * (1 - alpha**steps) / (1 - alpha) * tv_last


def tail_trace(alpha: float, steps: float, tv_last: float) -> float:
    """TRACE Eq. 11: (1 - alpha^s) / (1 - alpha) times the last TV; valid, loose by 1 / alpha.

    Raises as `forward_tail`.

    >>> tail_trace(0.5, 2, 0.5)
    0.75
    """
    return (1 - _contraction(alpha) ** steps) / (1 - alpha) * tv_last


def tail_edit(alpha: float, steps: float, tv_last: float) -> float:
    """EDIT Eq. 19: alpha^s / (1 - alpha) times the last TV. NOT a bound: kept for the audit only.

    Raises as `forward_tail`.

    >>> tail_edit(0.5, 2, 0.5)
    0.25
    """
    return _contraction(alpha) ** steps / (1 - alpha) * tv_last


def required_forward_margin(delta: float, omega: int, alpha: float) -> float:
    """The margin that holds the argmax over the window and for ever after.

    2 (omega + 1 / (1 - alpha)) sqrt(delta / 2).

    TRACE Eq. 12 asks that the stop's margin exceed it, TRACE Eq. 20 that a quantile of margins
    reach it. Raises as `forward_tail`.

    >>> round(required_forward_margin(2e-6, 3, 0.5), 9)
    0.01
    """
    return 2 * (omega + 1 / (1 - _contraction(alpha))) * math.sqrt(delta / 2)


def holds_forward(margin: float, tv_last: float, alpha: float) -> bool:
    """Whether the argmax at the stop stays for ever, under the sharp tail: tail < margin / 2.

    Raises as `forward_tail`.

    >>> holds_forward(0.2, 0.05, 0.5), holds_forward(0.2, 0.05, 0.9)
    (True, False)
    """
    return forward_tail(alpha, math.inf, tv_last) < margin / 2


def _contraction(alpha: float) -> float:
    if not 0 <= alpha < 1:
        raise ValueError(
            f"not certifiable: a forward bound needs a contraction in [0, 1), got alpha={alpha}"
        )
    return alpha


def _ratio(after: Array, before: Array) -> Array:
    """Quotient after / before, with 0 / 0 = 0.

    A standstill that lasts is no evidence against any contraction.
    """
    xp = array_namespace(after)
    still = xp.where(after > 0, xp.inf, xp.where(xp.isnan(after), xp.nan, 0.0))
    return xp.where(before == 0, still, after / xp.where(before == 0, 1.0, before))


def _largest(ratios: Array) -> Array:
    """Maximum over the last axis of what is defined; NaN where nothing is."""
    xp = array_namespace(ratios)
    if not ratios.shape[-1]:
        return xp.full(ratios.shape[:-1], xp.nan, dtype=ratios.dtype, device=ratios.device)
    largest = xp.max(xp.where(xp.isnan(ratios), -xp.inf, ratios), axis=-1)
    return xp.where(largest == -xp.inf, xp.nan, largest)
