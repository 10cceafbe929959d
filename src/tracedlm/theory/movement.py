"""How far the RAD moved within the windows of Omega steps that end at each step, on C.

The tokens that a whole window sees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from tracedlm.theory.divergence import kl_from_ratio, total_variation
from tracedlm.theory.rad import relative_logits

Array = Any

VANISHING = 1e-290
"""Weight of a support below which its RAD is undefined.

Relative to the most aligned visible token. Below it, no digits are left.
"""


@dataclass(frozen=True)
class Movement:
    """The windows of one length.

    Arrays [..., steps], NaN where |C| < 2, the history is too short, or a similarity is undefined.

    margin: top-2 margin of P_t on C, in [0, 1].
    kl: largest one-step KL of the window on C, nats.
    drift: sum over the window of sqrt(KL / 2) on C.
    tv: largest TV(P_t, P_t-k) on C for k in 1..Omega, in [0, 1].
    still: bool, the argmax on C was the same at every step; False where undefined.
    """

    margin: Array
    kl: Array
    drift: Array
    tv: Array
    still: Array


def movements(
    similarity: Array, visible: Array, omegas: Sequence[int], taus: Sequence[float]
) -> Iterator[dict[int, Movement]]:
    """For each temperature in turn, the movement of every window length.

    Exponentials are taken once a temperature; normalisers, KLs and TVs once a temperature and
    window length (method.md section 5).

    Args:
        similarity: [..., steps, positions]; values at invisible positions are not read; -inf is a
            probability of 0.
        visible: bool, same shape: unmasked before that step's forward.
        omegas: Window lengths in steps, >= 1.
        taus: Temperatures > 0.

    Yields:
        Window length -> Movement.

    Raises:
        ValueError: An omega or a tau is out of range.

    >>> import numpy as np
    >>> (moved,) = movements(
    ...     np.log([[1.0, 1.0], [1.0, 3.0]]), np.ones((2, 2), dtype=bool), [1], [1.0]
    ... )
    >>> moved[1].margin.round(12).tolist(), moved[1].tv.tolist(), moved[1].kl.round(6).tolist()
    ([nan, 0.5], [nan, 0.25], [nan, 0.130812])
    """
    for omega in omegas:
        if omega < 1:
            raise ValueError(f"a window needs at least one step, got omega={omega}")
    supports = list(_supports(similarity, visible, max(omegas)))
    for tau in taus:
        moved = _moved(*_weights(similarity, visible, tau), supports)
        yield {omega: moved[omega - 1] for omega in omegas}


@dataclass(frozen=True)
class _Support:
    """C of the windows that start at steps 0, 1, ...: what no temperature changes.

    Arrays [..., steps - omega, ...].

    Windows are told apart by where they start: where no token is ever hidden again, a longer one
    from the same step has the same C, and all that was found on it stays.
    """

    omega: int
    tokens: Array  # bool [..., positions]
    shrank: bool  # somewhere, C is smaller than that of the window one step shorter
    top: Array  # bool [..., positions], the first of the largest similarities at the last step
    still: Array  # bool
    enough: Array  # bool, |C| >= 2


def _supports(similarity: Array, visible: Array, longest: int) -> Iterator[_Support]:
    xp, steps = array_namespace(similarity, visible), visible.shape[-2]
    position = xp.arange(visible.shape[-1], device=visible.device)
    tokens, leaders = visible, []
    for omega in range(1, longest + 1):
        n = max(steps - omega, 0)
        shorter, tokens = tokens, tokens[..., :n, :] & visible[..., omega:, :]
        shrank = bool(xp.any(tokens != shorter[..., :n, :]))
        leaders = [] if shrank else [leader[..., :n] for leader in leaders]
        for i in range(len(leaders), omega + 1):
            # The argmax of the RAD without the softmax's rounding: ties stay ties, and the first
            # position wins.
            leaders.append(
                xp.argmax(xp.where(tokens, similarity[..., i : i + n, :], -xp.inf), axis=-1)
            )
        still = xp.ones_like(leaders[0], dtype=xp.bool)
        for leader in leaders[:-1]:
            still = still & (leader == leaders[-1])
        enough = xp.sum(xp.astype(tokens, xp.int64), axis=-1) >= 2
        yield _Support(
            omega=omega,
            tokens=tokens,
            shrank=shrank,
            top=position == leaders[-1][..., None],
            still=still,
            enough=enough,
        )


def _moved(logits: Array, weights: Array, supports: Sequence[_Support]) -> list[Movement]:
    """The movement of the windows of 1, 2, ... steps."""
    xp, steps = array_namespace(weights), weights.shape[-2]
    # 0 log (0 / 0) is 0 in a KL, but -inf - -inf is no number: on the left side, a probability of 0
    # has a finite logarithm.
    finite = xp.where(logits == -xp.inf, -1e300, logits)
    rads, kls, moved = [], [], []
    for support in supports:
        n = support.tokens.shape[-2]
        rads = (
            []
            if support.shrank
            else [(p[..., :n, :], log_total[..., :n, :]) for p, log_total in rads]
        )
        kls = [] if support.shrank else [kl[..., :n] for kl in kls]
        for i in range(len(rads), support.omega + 1):
            rads.append(_restricted(weights[..., i : i + n, :], support.tokens))
        for i in range(len(kls) + 1, support.omega + 1):
            (later, log_total), (earlier, log_total_earlier) = rads[i], rads[i - 1]
            log_ratio = (
                finite[..., i : i + n, :]
                - logits[..., i - 1 : i - 1 + n, :]
                - (log_total - log_total_earlier)
            )
            kls.append(kl_from_ratio(later, earlier, xp.where(support.tokens, log_ratio, 0.0)))
        now = rads[-1][0]
        margin = xp.max(now, axis=-1) - xp.max(xp.where(support.top, 0.0, now), axis=-1)
        largest, drift, tv = xp.zeros_like(margin), xp.zeros_like(margin), xp.zeros_like(margin)
        for kl, (p, _) in zip(kls, rads, strict=False):
            largest, drift, tv = (
                xp.maximum(largest, kl),
                drift + xp.sqrt(kl / 2),
                xp.maximum(tv, total_variation(now, p)),
            )
        known = support.enough & ~xp.isnan(margin + drift)
        values = (xp.where(known, one, xp.nan) for one in (margin, largest, drift, tv))
        moved.append(
            Movement(
                *(_ending(steps, xp.nan, one) for one in values),
                still=_ending(steps, False, support.still & known),
            )
        )
    return moved


def _weights(similarity: Array, visible: Array, tau: float) -> tuple[Array, Array]:
    """Similarity / tau relative to the row's top, 0 where invisible, and its exponential."""
    logits = relative_logits(similarity, visible, tau)
    xp = array_namespace(logits)
    return xp.where(visible, logits, 0.0), xp.exp(logits)


def _restricted(weights: Array, tokens: Array) -> tuple[Array, Array]:
    """The RAD on some tokens (TRACE Eq. 7), and the logarithm of its normaliser."""
    xp = array_namespace(weights)
    kept = xp.where(tokens, weights, 0.0)
    total = xp.sum(kept, axis=-1, keepdims=True)
    total = xp.where(total > VANISHING, total, xp.nan)
    return kept / total, xp.log(total)


def _ending(steps: int, fill: float | bool, values: Array) -> Array:
    """Values of windows by their last step.

    The first steps, whose window would start too early, are filled.
    """
    xp = array_namespace(values)
    head = xp.full(
        (*values.shape[:-1], steps - values.shape[-1]),
        fill,
        dtype=values.dtype,
        device=values.device,
    )
    return xp.concat([head, values], axis=-1)
