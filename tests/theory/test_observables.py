import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_generators import gaussian
from tracedlm.theory.contraction import forward_tail
from tracedlm.theory.divergence import entropy, total_variation
from tracedlm.theory.observables import (
    concentration_lipschitz,
    entropy_lipschitz,
    forward_change,
    window_change,
)
from tracedlm.theory.rad import alignment
from tracedlm.theory.stability import step_statistics


@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.5, 2.0]), st.sampled_from([1e-6, 1e-2, 1.0]))
def test_entropy_and_concentration_are_lipschitz_between_rads(seed, tau, noise):
    """TRACE Thm B.1's hypothesis, with the constant that the similarities give."""
    similarity, visible = gaussian(seed, steps=2, positions=6, noise=noise)
    p, q = alignment(similarity, visible, tau)
    spread = float(np.ptp(similarity, axis=1).max()) / tau
    moved, apart = abs(float(entropy(p) - entropy(q))), float(total_variation(p, q))
    assert moved <= entropy_lipschitz(spread) * apart + 1e-13
    assert spread <= 2 / tau
    ac = step_statistics(similarity, visible, tau).concentration
    assert abs(ac[0] - ac[1]) <= concentration_lipschitz(spread, 6) * apart + 1e-13


def test_entropy_is_not_lipschitz_on_the_simplex():
    """Why the constant needs the spread: near a point mass the slope has no bound."""
    slopes = []
    for eps in (1e-3, 1e-6, 1e-9):
        p, q = np.array([1 - eps, eps]), np.array([1.0, 0.0])
        slopes.append(float(entropy(p) - entropy(q)) / float(total_variation(p, q)))
    assert slopes == sorted(slopes) and slopes[-1] > 20


def test_nothing_moves_what_sees_only_equal_similarities():
    """Both RADs are uniform then, whatever the steps.

    A spread of 0 is a constant of 0, not an error.
    """
    assert entropy_lipschitz(0.0) == 0 and concentration_lipschitz(0.0, 2) == 0


def test_the_constant_is_nearly_attained():
    """Two tokens of very different weight.

    Moving a little between them changes entropy at the full slope.
    """
    similarity = np.array([[1.0, -1.0], [1.0, -1.0 + 1e-6]])
    p, q = alignment(similarity, np.ones((2, 2), dtype=bool), 0.1)
    slope = abs(float(entropy(p) - entropy(q))) / float(total_variation(p, q))
    assert 0.99 * entropy_lipschitz(20.0) < slope <= entropy_lipschitz(20.0)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_no_stable_window_moves_an_observable_beyond_equation_17(seed, omega):
    similarity, visible = gaussian(seed, steps=8, positions=6, noise=1e-2)
    stats, p = step_statistics(similarity, visible), alignment(similarity, visible)
    h = entropy(p)
    for t in range(omega, 8):
        delta = float(stats.kl[t - omega + 1 : t + 1].max())
        spread = float(max(np.ptp(similarity[t]), np.ptp(similarity[t - omega])))
        assert (
            abs(h[t] - h[t - omega])
            <= window_change(entropy_lipschitz(spread), delta, omega) + 1e-13
        )


def test_the_forward_bound_is_sharper_than_the_printed_one():
    tv_last, alpha, lipschitz = 1e-3, 0.6, 2.0
    # The least delta that Pinsker allows.
    printed = lipschitz / (1 - alpha) * math.sqrt(2 * tv_last**2 / 2)
    ours = forward_change(lipschitz, alpha, tv_last)
    assert ours == pytest.approx(lipschitz * forward_tail(alpha, math.inf, tv_last))
    assert ours < printed


def test_observable_errors():
    with pytest.raises(ValueError, match="spread"):
        entropy_lipschitz(math.nan)
    with pytest.raises(ValueError, match="two tokens"):
        concentration_lipschitz(1.0, 1)
    with pytest.raises(ValueError, match="not certifiable"):
        forward_change(1.0, 1.2, 0.1)
