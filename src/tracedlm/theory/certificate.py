"""No-flip certificates: when can the most aligned token not have changed in the last Omega steps?

Each bound implies the next, sample by sample: pinsker, measured, tv, observed. `paper` is TRACE's
own rule, which is unsound when the visible set grows inside the window (method.md section 5, error
1); it is here so that published tables can be reproduced. What is certified is the argmax over
token positions of the RAD, not the predicted token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from array_api_compat import array_namespace

from tracedlm.theory.movement import Movement, movements

Array = Any

BOUNDS = ("paper", "pinsker", "measured", "tv", "observed")

CELLS = 2**17
"""Samples times steps times positions that a grid takes at once.

Their float64 arrays fit into a core's cache.
"""


@dataclass(frozen=True)
class Certificates:
    """Which steps each rule certifies.

    Bool [..., steps], False where the rule has no history of Omega + 1 steps.
    """

    paper: Array
    pinsker: Array
    measured: Array
    tv: Array
    observed: Array


def certificates(
    similarity: Array, visible: Array, delta: float, omega: int, tau: float = 1.0
) -> Certificates:
    """Certify every step under all five rules (TRACE Theorem 3.2, Eq. 9; method.md section 5).

    A tie has margin 0, so only `observed` can hold: its argmax is the first of the largest
    positions.

    Args:
        similarity: [..., steps, positions]; values at invisible positions are not read; -inf is a
            probability of 0.
        visible: bool, same shape: unmasked before that step's forward.
        delta: Largest one-step KL in nats, >= 0.
        omega: Steps of the window, >= 1.
        tau: Temperature > 0.

    Returns:
        Certificates of shape [..., steps].

    Raises:
        ValueError: delta, omega or tau is out of range.

    >>> import numpy as np
    >>> c = certificates(
    ...     np.log([[1.0, 3.0], [1.0, 3.0]]), np.ones((2, 2), dtype=bool), delta=1e-2, omega=1
    ... )
    >>> c.pinsker.tolist(), c.observed.tolist()
    ([False, True], [False, True])
    """
    (moved,) = movements(similarity, visible, (1, omega), (tau,))
    flags = _certify(moved[1], moved[omega], [delta], omega)
    return Certificates(
        flags.paper[0, ...], flags.pinsker[0, ...], flags.measured, flags.tv, flags.observed
    )


def grid(
    similarity: Array,
    visible: Array,
    taus: Sequence[float],
    deltas: Sequence[float],
    omegas: Sequence[int],
    window: Array | None = None,
) -> dict[str, Array]:
    """Which samples hold a certified step, for every (tau, delta, omega) at once (TRACE App. G).

    Memory beyond the arguments is that of a few samples, or of a few steps where one sample is
    large.

    Args:
        similarity: [..., steps, positions]; values at invisible positions are not read; -inf is a
            probability of 0.
        visible: bool, same shape.
        taus: Temperatures > 0. Power sharpening P^gamma of the RAD at tau is the temperature tau /
            gamma (TRACE section 4.5).
        deltas: Thresholds in nats; they share all divergences.
        omegas: Window lengths.
        window: bool [..., steps], the steps at which a stop may be certified (the late window).
            None: all.

    Returns:
        For each name in BOUNDS, bool [taus, deltas, omegas, ...]; its mean over samples is the
            coverage.

    Raises:
        ValueError: A tau, a delta or an omega is out of range.

    >>> import numpy as np
    >>> g = grid(
    ...     np.log([[1.0, 3.0], [1.0, 3.0]]),
    ...     np.ones((2, 2), dtype=bool),
    ...     [1.0],
    ...     [1e-2, 1.0],
    ...     [1, 2],
    ... )
    >>> g["pinsker"].tolist()
    [[[True, False], [False, False]]]
    """
    xp = array_namespace(similarity, visible)
    leading, positions = visible.shape[:-2], visible.shape[-1]
    allowed = (
        xp.ones(visible.shape[:-1], dtype=xp.bool, device=visible.device)
        if window is None
        else window
    )
    allowed = xp.reshape(allowed, (-1, allowed.shape[-1]))
    # Any leading axes become one: [samples, steps, positions].
    similarity = xp.reshape(similarity, (*allowed.shape, positions))
    visible = xp.reshape(visible, (*allowed.shape, positions))
    (at,) = xp.nonzero(xp.any(allowed, axis=0))
    first, last = (int(at[0]), int(at[-1]) + 1) if at.shape[0] else (0, 0)
    size = max(1, CELLS // max(1, (last - first) * positions))
    width = max(8, CELLS // max(1, size * positions))
    samples, reach = visible.shape[0], max(omegas)
    # A window reaches back omega steps. The first ones reach out of the late window, so they are
    # taken apart from those on its support.
    starts = sorted({first, *range(first + min(first, reach), last, width)})
    found = {
        name: xp.zeros(
            (len(taus), len(deltas), len(omegas), samples), dtype=xp.bool, device=visible.device
        )
        for name in BOUNDS
    }
    for n in range(0, samples, size):
        for start, stop in pairwise([*starts, last]):
            steps = slice(max(start - reach, 0), stop)
            now = allowed[n : n + size, steps] & (
                xp.arange(steps.start, steps.stop, device=visible.device) >= start
            )
            moves = movements(
                similarity[n : n + size, steps, :],
                visible[n : n + size, steps, :],
                (1, *omegas),
                taus,
            )
            for i, moved in enumerate(moves):
                for j, omega in enumerate(omegas):
                    flags = _certify(moved[1], moved[omega], deltas, omega)
                    for name in BOUNDS:
                        found[name][i, :, j, n : n + size] |= xp.any(
                            getattr(flags, name) & now, axis=-1
                        )
    return {name: xp.reshape(flags, (*flags.shape[:3], *leading)) for name, flags in found.items()}


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
    """Whether any distribution at all could be certified.

    The margin never exceeds 1 (method.md section 5, error 5).

    >>> feasible(3e-6, 3), feasible(0.05, 6)
    (True, False)
    """
    return required_margin(delta, omega) < 1


def required_margin(delta: float, omega: int) -> float:
    """The margin that (delta, omega) asks for, 2 omega sqrt(delta / 2) (TRACE Eq. 9).

    Above 1 nothing certifies.

    >>> round(required_margin(3e-6, 3), 5), round(required_margin(0.05, 6), 3)
    (0.00735, 1.897)
    """
    return 2 * omega * math.sqrt(delta / 2)


def _certify(own: Movement, moved: Movement, deltas: Sequence[float], omega: int) -> Certificates:
    """The five rules; `paper` and `pinsker`, which depend on delta, have it as their first axis."""
    for delta in deltas:
        if not delta >= 0:
            raise ValueError(f"a KL threshold is in nats, >= 0, got delta={delta}")
    xp = array_namespace(moved.margin)
    own_kl = own.kl
    for lag in range(1, omega):
        own_kl = xp.maximum(own_kl, _earlier(own.kl, lag))
    half, own_half = moved.margin / 2, own.margin / 2
    # Each bound implies the next in exact arithmetic; the conjunctions keep that when two sides
    # agree to the last digit.
    tv = (moved.tv < half) & moved.still
    measured = (moved.drift < half) & tv
    radii = [required_margin(delta, omega) / 2 for delta in deltas]
    pairs = list(zip(deltas, radii, strict=True))
    pinsker = xp.stack(
        [(moved.kl <= delta) & (radius < half) & measured for delta, radius in pairs]
    )
    paper = xp.stack([(own_kl <= delta) & (radius < own_half) for delta, radius in pairs])
    return Certificates(paper, pinsker, measured, tv, moved.still)


def _earlier(values: Array, lag: int) -> Array:
    """Values [..., steps] as they were `lag` steps before, NaN where there was no such step."""
    xp = array_namespace(values)
    lag = min(lag, values.shape[-1])
    return xp.concat(
        [xp.full_like(values[..., :lag], xp.nan), values[..., : values.shape[-1] - lag]], axis=-1
    )
