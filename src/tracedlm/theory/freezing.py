"""Token-wise freezing: when may a token's activation stay as it is (EDIT App. D)?

Two statements, of different worth. A stable token's leading subspace component did not change
(Lemma 7, Theorem 8): sound, since the k components are a fixed support. That freezing it leaves the
most aligned token alone *for ever* (Theorem 11) does not follow from what the theorem assumes: it
bounds the whole future by the token's largest step in the past, but a token that keeps moving as
slowly as before leaves its frozen self behind without limit. `freezing_tail` is the bound for a
given number of steps.
"""

import math
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from tracedlm.theory.contraction import forward_tail, tail_trace
from tracedlm.theory.divergence import kl_from_log, top_two_margin
from tracedlm.theory.rad import log_alignment

Array = Any


@dataclass(frozen=True)
class LocalStability:
    """Stability of each token at each step; arrays [..., steps, tokens].

    kl: D_s,t = KL(Q_s,t || Q_s,t-1) in nats; NaN at the first step and where the token was not
    visible at both. margin: m_s in [0, 1], between the two largest of its k components; NaN where
    it is not visible or k < 2. stable: bool, the last omega KLs are at most delta (Lemma 7's
    condition): the rule freezes the token here. certified: bool, stable, and omega sqrt(delta / 2)
    < m_s / 2 (Theorem 8): its leading component is the one of omega steps ago.
    """

    kl: Array
    margin: Array
    stable: Array
    certified: Array


def local_stability(
    coordinates: Array, visible: Array, delta: float, omega: int, tau: float = 1.0
) -> LocalStability:
    """Lemma 7's condition and Theorem 8's certificate for every token (EDIT Eq. 25, 26).

    Q_s is the softmax of |g_s| / tau over the k coordinates g_s = U^T f_s.

    Args:
        coordinates: [..., steps, tokens, k]; values of invisible tokens are not read.
        visible: bool [..., steps, tokens]: unmasked before that step's forward.
        delta: delta_tok in nats, >= 0.
        omega: Omega_tok, steps, >= 1.
        tau: tau_sub > 0.

    Returns:
        LocalStability.

    Raises:
        ValueError: delta, omega or tau is out of range.

    >>> import numpy as np
    >>> still = np.log([[[1.0, 3.0]], [[1.0, 3.0]]])
    >>> found = local_stability(still, np.ones((2, 1), dtype=bool), delta=0.01, omega=1)
    >>> found.margin.round(12).tolist(), found.stable.tolist(), found.certified.tolist()
    ([[0.5], [0.5]], [[False], [True]], [[False], [True]])
    """
    if omega < 1 or not delta >= 0:
        raise ValueError(
            f"local stability needs delta >= 0 and omega >= 1, got delta={delta} and omega={omega}"
        )
    xp = array_namespace(coordinates, visible)
    seen = xp.broadcast_to(visible[..., None], coordinates.shape)
    log_q = log_alignment(xp.abs(coordinates), seen, tau)
    kl = kl_from_log(log_q[..., 1:, :, :], log_q[..., :-1, :, :])
    kl = xp.concat([xp.full_like(log_q[..., :1, :, 0], xp.nan), kl], axis=-2)
    margin = top_two_margin(xp.exp(log_q), support=seen)
    calm = stable = kl <= delta
    for lag in range(1, omega):
        before = xp.concat([xp.zeros_like(calm[..., :lag, :]), calm[..., :-lag, :]], axis=-2)[
            ..., : calm.shape[-2], :
        ]
        stable = stable & before
    return LocalStability(kl, margin, stable, stable & (omega * math.sqrt(delta / 2) < margin / 2))


def coupling(moved: Array, pushed: Array) -> Array:
    """Estimate of beta_s from finite differences.

    The largest TV of the next distribution per unit of activation (EDIT Assumption 9).

    A lower estimate, as every maximum over probes is: one more probe exceeds it with probability 1
    / (n + 1).

    Args:
        moved: [..., probes] total variation that a push of the activation caused, in [0, 1].
        pushed: [..., probes] l2 norm of the push, > 0.

    Returns:
        [...] >= 0, per unit of the activation's norm.

    >>> import numpy as np
    >>> float(coupling(np.array([0.1, 0.0]), np.array([0.5, 2.0])))
    0.2
    """
    return array_namespace(moved).max(moved / pushed, axis=-1)


def freezing_tail_edit(beta: float, alpha: float, epsilon: float) -> float:
    """EDIT Eq. 29: beta epsilon / (1 - alpha), printed as holding for ever.

    It does if the token stays within epsilon of where it froze.

    epsilon is the token's largest step in the window *before* it froze (EDIT Eq. 28), which says
    nothing of how far it would have gone. Args and Raises as `freezing_tail`.

    >>> freezing_tail_edit(0.5, 0.5, 0.25)
    0.25
    """
    return tail_trace(alpha, math.inf, beta * epsilon)


def freezing_tail(beta: float, alpha: float, epsilon: float, steps: float) -> float:
    """Largest TV between the frozen and the unfrozen run, `steps` after freezing.

    If the token would move at most epsilon a step.

    Sum over i of alpha^(steps - i) beta epsilon i: after i steps its frozen self is i epsilon
    behind. Corrects EDIT Eq. 29, which counts epsilon at every step but never lets it add up.

    Args:
        beta: Coupling in total variation per unit of activation, >= 0.
        alpha: Contraction in [0, 1).
        epsilon: Largest step of the token's activation, l2, now and until then.
        steps: Steps after freezing, >= 0; `math.inf`: for ever.

    Returns:
        >= 0; inf for ever, unless beta or epsilon is 0.

    Raises:
        ValueError: alpha is outside [0, 1): not certifiable.

    >>> (
    ...     freezing_tail(0.5, 0.5, 0.25, 1),
    ...     freezing_tail(0.5, 0.5, 0.25, 2),
    ...     freezing_tail(0.5, 0.5, 0.25, math.inf),
    ... )
    (0.125, 0.3125, inf)
    """
    shrunk = forward_tail(alpha, steps, 1.0)  # alpha + alpha^2 + ... + alpha^steps
    return beta * epsilon * (steps - shrunk) / (1 - alpha) if beta * epsilon else 0.0


def safe_to_freeze_edit(
    margin: float, delta: float, omega: int, beta: float, alpha: float, epsilon: float
) -> bool:
    """EDIT Eq. 30, as printed: omega sqrt(delta / 2) + beta epsilon / (1 - alpha) < margin / 2.

    NOT a guarantee: kept for the audit.

    >>> (
    ...     safe_to_freeze_edit(0.6, 2e-4, 5, 0.5, 0.5, 0.2),
    ...     safe_to_freeze_edit(0.4, 2e-4, 5, 0.5, 0.5, 0.2),
    ... )
    (True, False)
    """
    return omega * math.sqrt(delta / 2) + freezing_tail_edit(beta, alpha, epsilon) < margin / 2


def safe_to_freeze(
    margin: float, tv_last: float, beta: float, alpha: float, epsilon: float, steps: float
) -> bool:
    """Whether the most aligned token stays the same in the frozen run.

    Now and for `steps` more, under `freezing_tail`'s assumptions.

    The frozen run stays within `freezing_tail` of the unfrozen one, which stays within
    `contraction.forward_tail` of today.

    Args:
        margin: Global top-2 margin m_t, in [0, 1].
        tv_last: TV(P_t, P_t-1), in [0, 1].
        beta: As in `freezing_tail`, with the other three.
        alpha: Contraction in [0, 1).
        epsilon: Largest step of the token's activation.
        steps: Steps for which it is to hold.

    Returns:
        True where it is certified.

    Raises:
        ValueError: alpha is outside [0, 1): not certifiable.

    >>> safe_to_freeze(0.6, 0.1, 0.5, 0.5, 0.25, 1), safe_to_freeze(0.6, 0.1, 0.5, 0.5, 0.25, 2)
    (True, False)
    """
    return (
        forward_tail(alpha, steps, tv_last) + freezing_tail(beta, alpha, epsilon, steps)
        < margin / 2
    )
