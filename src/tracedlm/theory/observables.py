"""What a still RAD says of functions of it.

Entropy and alignment concentration are Lipschitz in total variation (TRACE Thm B.1).

On the whole simplex they are not: the slope of p log p has no bound at 0. But two RADs give no
position more than exp(spread) times the probability of another, where spread is the range of
similarity / tau, and between such distributions the slope is bounded.
"""

import math

from tracedlm.theory.contraction import forward_tail


def entropy_lipschitz(spread: float) -> float:
    """L with |H(p) - H(q)| <= L TV(p, q), where log p and log q each range over at most `spread`.

    The spread itself.

    Along the segment from q to p the slope of H is -log of the point on it plus a constant, and no
    such point ranges over more.

    Args:
        spread: Largest difference of similarities within p or within q, over tau; 2 / tau for any
            two RADs of cosines.

    Returns:
        Nats per unit of total variation, >= 0.

    Raises:
        ValueError: The spread is negative or undefined.

    >>> entropy_lipschitz(0.5)
    0.5
    """
    if not spread >= 0:
        raise ValueError(f"a spread of similarities over tau is >= 0, got {spread}")
    return spread


def concentration_lipschitz(spread: float, tokens: int) -> float:
    """The same for AC = 1 - H / log(tokens), on a fixed support.

    Raises as `entropy_lipschitz`, and below two tokens.

    >>> round(concentration_lipschitz(0.5, 2), 6)
    0.721348
    """
    if tokens < 2:
        raise ValueError(f"concentration is defined for two tokens or more, got {tokens}")
    return entropy_lipschitz(spread) / math.log(tokens)


def window_change(lipschitz: float, delta: float, omega: int) -> float:
    """Largest change of an L-Lipschitz observable over a stable window.

    L omega sqrt(delta / 2) (TRACE Eq. 17, EDIT Eq. 21).

    >>> round(window_change(2.0, 2e-6, 3), 9)
    0.006
    """
    return lipschitz * omega * math.sqrt(delta / 2)


def forward_change(lipschitz: float, alpha: float, tv_last: float) -> float:
    """Largest change of it ever after the stop, under a contraction.

    L times the sharp tail (TRACE Eq. 18, EDIT Eq. 22).

    TRACE's own form, L / (1 - alpha) sqrt(delta / 2), is never below it. Raises as
    `contraction.forward_tail`.

    >>> forward_change(2.0, 0.5, 0.01)
    0.02
    """
    return lipschitz * forward_tail(alpha, math.inf, tv_last)
