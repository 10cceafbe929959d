"""How much the RAD moved from one step to the next, on the tokens that both steps could see."""

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from tracedlm.theory.divergence import kl, kl_from_log, top_two_margin, total_variation
from tracedlm.theory.rad import log_alignment

Array = Any


@dataclass(frozen=True)
class StepStatistics:
    """Stability of each decoding step.

    Arrays [..., steps], float64 with NaN where undefined, counts int64.

    Attributes:
        kl: D_t = KL(P~t || P~t-1) in nats, >= 0, on I_t = S_t & S_t-1. Undefined at the first step
            and where |I_t| < 2.
        tv: TV(P~t, P~t-1) in [0, 1] on I_t. Undefined likewise.
        margin: m_t in [0, 1] of P~t on I_t. Undefined likewise.
        concentration: AC_t = 1 - H(P_t) / log |S_t| in [0, 1], on S_t. Undefined where |S_t| < 2.
        support: |I_t|, 0 at the first step.
        visible_count: |S_t|.
    """

    kl: Array
    tv: Array
    margin: Array
    concentration: Array
    support: Array
    visible_count: Array


def step_statistics(
    similarity: Array, visible: Array, tau: float = 1.0, smoothing: float = 0.0
) -> StepStatistics:
    """Matched-support KL, TV, margin and concentration of every step.

    Source: TRACE Eq. 7, 13, 16; method.md section 5.

    Args:
        similarity: [..., steps, positions]; values at invisible positions are not read.
        visible: bool, same shape: unmasked before that step's forward.
        tau: Temperature > 0.
        smoothing: 1e-12 reproduces TRACE section 3.1; 0 is the definition.

    Returns:
        StepStatistics of shape [..., steps].

    Raises:
        ValueError: tau is not positive.

    >>> import numpy as np
    >>> s = step_statistics(np.log([[1.0, 1.0], [1.0, 3.0]]), np.ones((2, 2), dtype=bool))
    >>> s.tv.tolist(), s.margin.round(12).tolist(), s.kl.round(6).tolist()
    ([nan, 0.25], [nan, 0.5], [nan, 0.130812])
    """
    xp = array_namespace(similarity, visible)
    matched = visible[..., 1:, :] & visible[..., :-1, :]
    log_p, log_q = (
        log_alignment(similarity[..., 1:, :], matched, tau),
        log_alignment(similarity[..., :-1, :], matched, tau),
    )
    p, q = xp.exp(log_p), xp.exp(log_q)
    divergence = (
        kl(p, q, smoothing=smoothing, support=matched) if smoothing else kl_from_log(log_p, log_q)
    )
    support, seen = _count(matched), _count(visible)
    known = support >= 2
    return StepStatistics(
        kl=_after_first(xp.where(known, divergence, xp.nan)),
        tv=_after_first(xp.where(known, total_variation(p, q), xp.nan)),
        margin=_after_first(top_two_margin(p, support=matched)),
        concentration=concentration(log_alignment(similarity, visible, tau), visible),
        support=xp.concat([xp.zeros_like(seen[..., :1]), support], axis=-1),
        visible_count=seen,
    )


def concentration(log_p: Array, visible: Array) -> Array:
    """Alignment concentration AC = 1 - H(P) / log |S|.

    0 is uniform over visible tokens, 1 a single token (TRACE Eq. 13).

    Computed as KL(P || uniform) / log |S|, the same number: AC is about 1e-5 and the difference
    from 1 would lose digits.

    Args:
        log_p: [..., positions] log-probabilities (`rad.log_alignment`).
        visible: bool, same shape.

    Returns:
        [...] in [0, 1]; NaN where fewer than two tokens are visible.

    >>> import numpy as np
    >>> concentration(np.log([[0.5, 0.5]]), np.ones((1, 2), dtype=bool)).tolist()
    [0.0]
    """
    xp = array_namespace(log_p, visible)
    count = xp.astype(_count(visible), xp.float64)
    log_count = xp.log(xp.clip(count, 2.0))
    uniform = xp.where(visible, -log_count[..., None], -xp.inf)
    return xp.where(count >= 2, kl_from_log(log_p, uniform) / log_count, xp.nan)


def change_ratios(divergence: Array) -> Array:
    """Per-step change ratio A_r = D_(r+1) / D_r.

    Below 1 attenuates, above 1 amplifies (TRACE Eq. 14).

    Args:
        divergence: [..., steps] TV (the default of TRACE) or KL between consecutive steps.

    Returns:
        [..., steps - 1] >= 0; NaN where D_r is 0 or infinite, or either is undefined.

    >>> import numpy as np
    >>> change_ratios(np.array([np.nan, 0.25, 0.5, 0.0, 0.1])).tolist()
    [nan, 2.0, 0.0, nan]
    """
    xp = array_namespace(divergence)
    before = divergence[..., :-1]
    return divergence[..., 1:] / xp.where((before == 0) | (before == xp.inf), xp.nan, before)


def lscr(divergence_window: Array) -> Array:
    """Late-step change ratio.

    The largest A_r of the window, alpha_hat of one sample (TRACE Eq. 15).

    Args:
        divergence_window: [..., steps] divergences of the late window.

    Returns:
        [...] >= 0; NaN where no ratio is defined, as after the canvas stopped changing (0/0).

    >>> import numpy as np
    >>> float(lscr(np.array([0.25, 0.5, 0.0, 0.0]))), float(lscr(np.zeros(5)))
    (2.0, nan)
    """
    xp = array_namespace(divergence_window)
    ratios = change_ratios(divergence_window)
    ratios = xp.concat(
        [
            xp.full_like(divergence_window[..., :1], -xp.inf),
            xp.where(xp.isnan(ratios), -xp.inf, ratios),
        ],
        axis=-1,
    )
    largest = xp.max(ratios, axis=-1)
    return xp.where(largest == -xp.inf, xp.nan, largest)


def late_window(
    visible: Array, length: int, phase_refine: Array | None = None
) -> tuple[int, Array]:
    """The late window: last `length` refine steps, or of decoding if there are none.

    Source: TRACE section 4.5; method.md section 4.

    Args:
        visible: bool [..., steps, positions].
        length: Steps in the window, >= 1; a shorter run gives a shorter window.
        phase_refine: bool [steps], refine steps, all after the denoising steps. None: no refine
            steps.

    Returns:
        (start, support): the window is `start:`; support is bool [..., positions], what every step
            of it could see.

    Raises:
        ValueError: length < 1, or a denoising step follows a refine step.

    >>> import numpy as np
    >>> start, support = late_window(np.array([[False, True], [True, True], [True, True]]), 2)
    >>> start, support.tolist()
    (1, [True, True])
    """
    if length < 1:
        raise ValueError(f"the late window needs at least one step, got length={length}")
    xp = array_namespace(visible)
    steps = visible.shape[-2]
    refine = 0 if phase_refine is None else int(_count(phase_refine))
    if phase_refine is not None and not bool(xp.all(phase_refine[steps - refine :])):
        raise ValueError(
            "a denoising step follows a refine step: refine steps are appended after the final"
            " unmasking"
        )
    start = max(steps - length, steps - refine if refine else 0)
    return start, xp.all(visible[..., start:, :], axis=-2)


def _count(mask: Array) -> Array:
    xp = array_namespace(mask)
    return xp.sum(xp.astype(mask, xp.int64), axis=-1)


def _after_first(values: Array) -> Array:
    """Prepend the first step, at which nothing is defined."""
    xp = array_namespace(values)
    first = xp.full((*values.shape[:-1], 1), xp.nan, dtype=values.dtype, device=values.device)
    return xp.concat([first, values], axis=-1)
