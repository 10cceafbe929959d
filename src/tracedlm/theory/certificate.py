"""No-flip certificates: when can the most aligned token not have changed in the last Omega steps?

Each bound implies the next, sample by sample: pinsker, measured, tv, observed. `paper` is TRACE's own rule, which is unsound when
the visible set grows inside the window (method.md section 5, error 1); it is here so that published tables can be reproduced.
What is certified is the argmax over token positions of the RAD, not the predicted token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from tracedlm.theory.divergence import kl_from_log, top_two_margin, total_variation
from tracedlm.theory.rad import log_alignment
from tracedlm.theory.stability import StepStatistics, step_statistics

Array = Any

BOUNDS = ("paper", "pinsker", "measured", "tv", "observed")


@dataclass(frozen=True)
class Certificates:
    """Which steps each rule certifies; bool [..., steps], False where the rule has no history of Omega + 1 steps."""

    paper: Array
    pinsker: Array
    measured: Array
    tv: Array
    observed: Array


@dataclass(frozen=True)
class _Window:
    """What delta does not change, per step on C, the tokens seen throughout the window; undefined: margin NaN, still False."""

    own_kl: Array  # largest D_r of the window, each on its own support I_r
    own_margin: Array  # margin on I_t
    kl: Array  # largest D_r on C
    margin: Array  # margin on C
    drift: Array  # sum of sqrt(D_r / 2) on C
    tv: Array  # largest TV(P_t, P_t-k) on C
    still: Array  # the argmax on C did not move


def certificates(similarity: Array, visible: Array, delta: float, omega: int, tau: float = 1.0) -> Certificates:
    """Certify every step under all five rules (TRACE Theorem 3.2, Eq. 9; method.md section 5).

    A tie has margin 0, so only `observed` can hold: its argmax is the first of the largest positions.

    Args:
        similarity: [..., steps, positions]; values at invisible positions are not read.
        visible: bool, same shape: unmasked before that step's forward.
        delta: Largest one-step KL in nats, >= 0.
        omega: Steps of the window, >= 1.
        tau: Temperature > 0.

    Returns:
        Certificates of shape [..., steps].

    Raises:
        ValueError: delta, omega or tau is out of range.

    >>> import numpy as np
    >>> c = certificates(np.log([[1.0, 3.0], [1.0, 3.0]]), np.ones((2, 2), dtype=bool), delta=1e-2, omega=1)
    >>> c.pinsker.tolist(), c.observed.tolist()
    ([False, True], [False, True])
    """
    window = _window(similarity, visible, omega, tau, step_statistics(similarity, visible, tau))
    return _certify(window, delta, omega)


def grid(
    similarity: Array,
    visible: Array,
    deltas: Sequence[float],
    omegas: Sequence[int],
    tau: float = 1.0,
    window: Array | None = None,
) -> dict[str, Array]:
    """Which samples hold a certified step, for every (delta, omega) at once (TRACE App. G).

    Args:
        similarity: [..., steps, positions]; values at invisible positions are not read.
        visible: bool, same shape.
        deltas: Thresholds in nats; they share all divergences.
        omegas: Window lengths.
        tau: Temperature > 0.
        window: bool [..., steps], the steps at which a stop may be certified (the late window). None: all.

    Returns:
        For each name in BOUNDS, bool [deltas, omegas, ...]; its mean over samples is the coverage.

    Raises:
        ValueError: A delta, an omega or tau is out of range.

    >>> import numpy as np
    >>> g = grid(np.log([[1.0, 3.0], [1.0, 3.0]]), np.ones((2, 2), dtype=bool), [1e-2, 1.0], [1, 2])
    >>> g["pinsker"].tolist()
    [[True, False], [False, False]]
    """
    xp = array_namespace(similarity, visible)
    own = step_statistics(similarity, visible, tau)
    allowed = xp.ones_like(own.support, dtype=xp.bool) if window is None else window
    columns: dict[str, list[Array]] = {name: [] for name in BOUNDS}
    for omega in omegas:
        facts = _window(similarity, visible, omega, tau, own)
        flags = [_certify(facts, delta, omega) for delta in deltas]
        for name in BOUNDS:
            columns[name].append(xp.stack([xp.any(getattr(flag, name) & allowed, axis=-1) for flag in flags]))
    return {name: xp.stack(columns[name], axis=1) for name in BOUNDS}


def first_certified(flags: Array, window: Array | None = None) -> Array:
    """Index of the first certified step, t* of TRACE Algorithm 5.

    Args:
        flags: bool [..., steps].
        window: bool [..., steps], the steps that may be certified. None: all.

    Returns:
        int64 [...], 0-based index along the last axis; -1 where no step is certified.

    >>> import numpy as np
    >>> first_certified(np.array([[False, True, True], [False, False, False]])).tolist()
    [1, -1]
    """
    xp = array_namespace(flags)
    flags = flags if window is None else flags & window
    return xp.where(xp.any(flags, axis=-1), xp.argmax(xp.astype(flags, xp.int64), axis=-1), -1)


def feasible(delta: float, omega: int) -> bool:
    """Whether any distribution at all could be certified: the margin never exceeds 1 (method.md section 5, error 5).

    >>> feasible(3e-6, 3), feasible(0.05, 6)
    (True, False)
    """
    return required_margin(delta, omega) < 1


def required_margin(delta: float, omega: int) -> float:
    """The margin that (delta, omega) asks for, 2 omega sqrt(delta / 2) (TRACE Eq. 9); above 1 nothing certifies.

    >>> round(required_margin(3e-6, 3), 5), round(required_margin(0.05, 6), 3)
    (0.00735, 1.897)
    """
    return 2 * omega * math.sqrt(delta / 2)


def forward_tail(alpha: float, steps: float, tv_last: float) -> float:
    """Largest drift TV(P_t+s, P_t) if every step contracts by alpha: alpha (1 - alpha^s) / (1 - alpha) times the last TV.

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
    """TRACE Eq. 11: (1 - alpha^s) / (1 - alpha) times the last TV; valid, loose by 1 / alpha. Raises as `forward_tail`.

    >>> tail_trace(0.5, 2, 0.5)
    0.75
    """
    return (1 - _contraction(alpha) ** steps) / (1 - alpha) * tv_last


def tail_edit(alpha: float, steps: float, tv_last: float) -> float:
    """EDIT Eq. 19: alpha^s / (1 - alpha) times the last TV. NOT a bound: kept for the audit only. Raises as `forward_tail`.

    >>> tail_edit(0.5, 2, 0.5)
    0.25
    """
    return _contraction(alpha) ** steps / (1 - alpha) * tv_last


def _contraction(alpha: float) -> float:
    if not 0 <= alpha < 1:
        raise ValueError(f"not certifiable: a forward bound needs a contraction in [0, 1), got alpha={alpha}")
    return alpha


def _window(similarity: Array, visible: Array, omega: int, tau: float, own: StepStatistics) -> _Window:
    if omega < 1:
        raise ValueError(f"a window needs at least one step, got omega={omega}")
    xp = array_namespace(similarity, visible)
    own_kl, common = own.kl, visible
    for k in range(1, omega + 1):
        own_kl = xp.maximum(own_kl, _earlier(own.kl, k, xp.nan, -1)) if k < omega else own_kl
        common = common & _earlier(visible, k, False, -2)
    now = later = log_alignment(similarity, common, tau)
    top = _argmax(similarity, common)
    margin = top_two_margin(xp.exp(now), support=common)
    largest, drift, tv = xp.zeros_like(margin), xp.zeros_like(margin), xp.zeros_like(margin)
    still = xp.ones_like(common[..., 0])
    for k in range(1, omega + 1):
        past = _earlier(similarity, k, 0.0, -2)
        earlier = log_alignment(past, common, tau)
        step = kl_from_log(later, earlier)
        largest, drift = xp.maximum(largest, step), drift + xp.sqrt(step / 2)
        tv = xp.maximum(tv, total_variation(xp.exp(now), xp.exp(earlier)))
        still, later = still & (_argmax(past, common) == top), earlier
    defined = ~xp.isnan(margin + drift)  # |C| < 2, too little history (C is empty) or an undefined similarity
    return _Window(own_kl, own.margin, largest, xp.where(defined, margin, xp.nan), drift, tv, still & defined)


def _certify(window: _Window, delta: float, omega: int) -> Certificates:
    if not delta >= 0:
        raise ValueError(f"a KL threshold is in nats, >= 0, got delta={delta}")
    radius, half = required_margin(delta, omega) / 2, window.margin / 2
    observed = window.still
    # Each bound implies the next in exact arithmetic; the conjunctions keep that when two sides agree to the last digit.
    tv = (window.tv < half) & observed
    measured = (window.drift < half) & tv
    pinsker = (window.kl <= delta) & (radius < half) & measured
    paper = (window.own_kl <= delta) & (radius < window.own_margin / 2)
    return Certificates(paper, pinsker, measured, tv, observed)


def _earlier(values: Array, lag: int, fill: float | bool, axis: int) -> Array:
    """`values` as they were `lag` steps before, `fill` where there was no such step. axis: -1 or -2, the steps."""
    xp = array_namespace(values)
    lag = min(lag, values.shape[axis])
    head, tail = (values[..., :lag], values[..., :-lag]) if axis == -1 else (values[..., :lag, :], values[..., :-lag, :])
    return xp.concat([xp.full_like(head, fill), tail], axis=axis)


def _argmax(similarity: Array, support: Array) -> Array:
    """First position of the largest similarity on the support: the argmax of the RAD without the softmax's rounding."""
    xp = array_namespace(similarity)
    return xp.argmax(xp.where(support, similarity, -xp.inf), axis=-1)
