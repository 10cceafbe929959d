"""Where Algorithm 1 would have stopped, replayed on traces of full decoding.

And what can be said of the steps that follow.
"""

from dataclasses import dataclass

import numpy as np

from tracedlm.records.series import Series
from tracedlm.theory.certificate import first_certified
from tracedlm.theory.contraction import (
    contraction_rate,
    dobrushin_estimate,
    holds_forward,
    required_forward_margin,
)
from tracedlm.theory.divergence import entropy
from tracedlm.theory.movement import movements
from tracedlm.theory.observables import (
    concentration_lipschitz,
    entropy_lipschitz,
    forward_change,
    window_change,
)
from tracedlm.theory.rad import alignment

FORWARD = ("forward", "forward_trace", "forward_dobrushin")
"""The sharp tail with the sample's contraction rate; TRACE Eq. 12 with it.

The sharp tail with the estimate of Dobrushin's coefficient.
"""


@dataclass(frozen=True)
class LateStops:
    """The late window of each sample, all of it on one support; arrays [n], NaN where undefined.

    Attributes:
        step: Index of the first step that ends a run of omega KLs below delta; -1 where there is
            none.
        margin: Top-2 margin there.
        tv_last: Total variation to the step before.
        alpha: Contraction rate over the whole window: whether the assumption held, not what was
            known at the stop.
        dobrushin: Estimate of Dobrushin's coefficient from all pairs of the window's steps.
        spread: Range of similarity / tau over the stable window.
        tokens: Tokens of the support.
        entropy_moved: |H(P_t) - H(P_t-omega)| at the stop, nats.
        entropy_later: Largest |H(P_t+s) - H(P_t)| over the rest of the late window, nats.
    """

    step: np.ndarray
    margin: np.ndarray
    tv_last: np.ndarray
    alpha: np.ndarray
    dobrushin: np.ndarray
    spread: np.ndarray
    tokens: np.ndarray
    entropy_moved: np.ndarray
    entropy_later: np.ndarray


def late_stops(
    series: Series, visible: np.ndarray, late: np.ndarray, tau: float, delta: float, omega: int
) -> LateStops:
    """Replay Algorithm 1 in the late window.

    Its support is fixed there, as forward bounds assume.
    """
    first = int(late.any(axis=0).argmax())
    late, similarity = late[:, first:], series.similarity[:, first:]
    shared = visible[:, first:] & late[:, :, None]
    (moved,) = movements(similarity, shared, (1, omega), (tau,))
    step = first_certified(moved[omega].kl < delta, late)
    # A sample without a stop reads its first step here, and is made NaN below.
    n, at = (
        np.arange(len(step)),
        np.maximum(step, 0),
    )
    before = np.maximum(at - omega, 0)
    p = alignment(similarity, shared, tau)
    h = entropy(p)
    spread = (
        np.where(shared, similarity, -np.inf).max(axis=2)
        - np.where(shared, similarity, np.inf).min(axis=2)
    ) / tau
    after = late & (np.arange(late.shape[1]) > at[:, None])
    stopped = {
        "margin": moved[omega].margin[n, at],
        "tv_last": moved[1].tv[n, at],
        "spread": np.maximum(spread[n, at], spread[n, before]),
        "entropy_moved": np.abs(h[n, at] - h[n, before]),
        "entropy_later": np.where(after, np.abs(h - h[n, at][:, None]), 0.0).max(axis=1),
    }
    return LateStops(
        step=np.where(step < 0, -1, step + first),
        alpha=contraction_rate(np.where(late, moved[1].tv, np.nan)),
        dobrushin=dobrushin_estimate(p),
        tokens=shared.sum(axis=2).max(axis=1),
        **{name: np.where(step < 0, np.nan, values) for name, values in stopped.items()},
    )


def forward_certificates(
    stops: LateStops, delta: float, omega: int
) -> dict[str, list[bool | None]]:
    """Which stops hold for ever, for each of FORWARD.

    None where there is no stop or no contraction: not certifiable.
    """
    rows = list(
        zip(
            stops.margin.tolist(),
            stops.tv_last.tolist(),
            stops.alpha.tolist(),
            stops.dobrushin.tolist(),
            strict=True,
        )
    )
    return {
        "forward": [
            holds_forward(margin, tv, alpha) if margin >= 0 and alpha < 1 else None
            for margin, tv, alpha, _ in rows
        ],
        "forward_trace": [
            (
                required_forward_margin(delta, omega, alpha) < margin
                if margin >= 0 and alpha < 1
                else None
            )
            for margin, _, alpha, _ in rows
        ],
        "forward_dobrushin": [
            holds_forward(margin, tv, rate) if margin >= 0 and rate < 1 else None
            for margin, tv, _, rate in rows
        ],
    }


def entropy_bounds(stops: LateStops, tau: float, delta: float, omega: int) -> dict[str, np.ndarray]:
    """Bounds of TRACE Thm B.1 on changes of entropy, nats, and AC per nat.

    NaN where there is no stop, or no contraction.

    Over the window, the range of similarities there bounds the slope; for the future, that no two
    cosines differ by more than 2.
    """
    bounds = {name: np.full(len(stops.step), np.nan) for name in ("window", "forward", "per_nat")}
    for n in np.flatnonzero(stops.step >= 0):
        bounds["window"][n] = window_change(entropy_lipschitz(stops.spread[n]), delta, omega)
        bounds["per_nat"][n] = concentration_lipschitz(1.0, int(stops.tokens[n]))
        if stops.alpha[n] < 1:
            bounds["forward"][n] = forward_change(
                entropy_lipschitz(2 / tau), stops.alpha[n], stops.tv_last[n]
            )
    return bounds


def block_exits(series: Series, tau: float, delta: float, omega: int) -> list[list[float]]:
    """Margins at the exits that Algorithm 1 would have made, sample by sample.

    At most one a block of denoising.
    """
    (moved,) = movements(series.similarity, series.visible, (1,), (tau,))
    kl, margin = moved[1].kl, moved[1].margin
    same_block = np.zeros(kl.shape, dtype=bool)
    same_block[:, 1:] = (series.block[:, 1:] == series.block[:, :-1]) & (series.block[:, 1:] >= 0)
    # The rule's counter starts anew in each block, whose first step has nothing to compare with.
    stable = same_block & (kl < delta)
    run = stable.copy()
    for lag in range(1, omega):
        run[:, lag:] &= stable[:, :-lag]
        run[:, :lag] = False
    exits: list[list[float]] = []
    for n in range(len(run)):
        _, first = np.unique(series.block[n, run[n]], return_index=True)
        exits.append(margin[n, run[n]][first].tolist())
    return exits
