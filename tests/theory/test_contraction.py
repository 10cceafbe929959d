import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from tracedlm.theory.certificate import required_margin
from tracedlm.theory.contraction import (
    contraction_rate,
    dobrushin,
    dobrushin_estimate,
    forward_tail,
    holds_forward,
    required_forward_margin,
    tail_edit,
    tail_trace,
)
from tracedlm.theory.stability import lscr


@given(st.floats(0, 0.99), st.integers(0, 30), st.floats(0, 1))
def test_the_tail_is_the_geometric_sum(alpha, steps, tv_last):
    exact = oracles.geometric_tail(alpha, steps, tv_last)
    assert forward_tail(alpha, steps, tv_last) == pytest.approx(exact, rel=1e-9, abs=1e-12)
    assert forward_tail(alpha, steps, tv_last) <= tail_trace(alpha, steps, tv_last) + 1e-12
    assert exact <= forward_tail(alpha, math.inf, tv_last) + 1e-12


def test_error_2_edit_theorem_4():
    """A two-state chain that contracts by exactly 1/2 a step violates EDIT Eq. 19.

    The sharp sum is attained.
    """
    alpha, kernel = 0.5, np.array([[0.75, 0.25], [0.25, 0.75]])
    chain = [np.array([1.0, 0.0])]
    for _ in range(12):
        chain.append(chain[-1] @ kernel)
    distance = [[np.abs(p - q).sum() / 2 for q in chain] for p in chain]
    t = 1
    drifts = [distance[t + s][t] for s in range(1, 12)]
    for s, drift in enumerate(drifts, start=1):
        assert drift == pytest.approx(forward_tail(alpha, s, distance[t][t - 1]))
        assert drift <= tail_trace(alpha, s, distance[t][t - 1])
    assert drifts[3] > tail_edit(alpha, 4, distance[t][t - 1])
    assert tail_edit(alpha, 40, 1.0) < 1e-9


@pytest.mark.parametrize("alpha", [1.0, 2.08, 2.56, -0.1, math.nan])
def test_error_3_no_forward_bound_without_contraction(alpha):
    for tail in (forward_tail, tail_trace, tail_edit):
        with pytest.raises(ValueError, match="not certifiable"):
            tail(alpha, 3, 0.1)
    with pytest.raises(ValueError, match="not certifiable"):
        required_forward_margin(1e-6, 2, alpha)
    with pytest.raises(ValueError, match="not certifiable"):
        holds_forward(0.5, 0.1, alpha)


def kernels(seed, states=5):
    rng = np.random.default_rng(seed)
    kernel = rng.exponential(size=(states, states)) ** 3
    return kernel / kernel.sum(axis=1, keepdims=True), rng


def path(kernel, start, steps):
    """start, start K, start K^2, ..."""
    found = [start]
    for _ in range(steps):
        found.append(found[-1] @ kernel)
    return np.array(found)


@given(st.integers(0, 2**32))
def test_dobrushin_is_the_supremum_of_equation_10(seed):
    kernel, rng = kernels(seed)
    alpha = float(dobrushin(kernel))
    p, q = rng.dirichlet(np.full(5, 0.3), 50), rng.dirichlet(np.full(5, 0.3), 50)
    ratios = np.abs((p - q) @ kernel).sum(axis=1) / np.abs(p - q).sum(axis=1)
    assert ratios.max() <= alpha + 1e-12 <= 1 + 2e-12
    rows = [(i, j) for i in range(5) for j in range(i)]
    # Attained by point masses.
    assert max(np.abs(kernel[i] - kernel[j]).sum() / 2 for i, j in rows) == pytest.approx(alpha)


@given(st.integers(0, 2**32))
def test_estimates_from_a_path_never_exceed_the_operators_coefficient(seed):
    kernel, rng = kernels(seed)
    p = path(kernel, rng.dirichlet(np.ones(5)), 6)
    tv = np.r_[np.nan, np.abs(np.diff(p, axis=0)).sum(axis=1) / 2]
    rate, estimate = float(contraction_rate(tv)), float(dobrushin_estimate(p))
    assert rate <= estimate + 1e-12
    assert estimate <= float(dobrushin(kernel)) * (1 + 1e-6)  # late differences are small: rounding


@given(st.lists(st.sampled_from([0.0, 1e-9, 0.1, 0.2, 0.4, math.nan]), min_size=0, max_size=7))
def test_the_contraction_rate_is_the_least_that_bounds_every_step(tvs):
    tv = np.array(tvs)
    rate = float(contraction_rate(tv))
    pairs = [
        (before, after)
        for before, after in itertools.pairwise(tvs)
        if not math.isnan(before + after)
    ]
    if math.isnan(rate):
        assert not pairs
        return
    for before, after in pairs:
        assert after <= before * rate * (1 + 1e-12) if before else (after == 0 or rate == math.inf)
    smaller = rate * (1 - 1e-9)
    assert rate in (0, math.inf) or any(after > before * smaller for before, after in pairs)


def slow_estimate(p):
    """TRACE Eq. 10 over all pairs of steps."""
    found = [math.nan]
    for r, s in itertools.combinations(range(len(p) - 1), 2):
        before, after = (
            sum(abs(a - b) for a, b in zip(p[i], p[j], strict=True)) / 2
            for i, j in ((r, s), (r + 1, s + 1))
        )
        found.append(after / before if before else math.inf if after else 0.0)
    return max(found[1:], default=math.nan)


@pytest.mark.parametrize("steps", range(1, 7))
def test_the_estimate_is_the_largest_ratio_of_all_pairs_of_steps(steps):
    """Steps that no operator links, so that the largest ratio may lie between any two, the first
    and the last but one among them.
    """
    p = np.random.default_rng(steps).dirichlet(np.ones(3), (40, steps))
    np.testing.assert_allclose(dobrushin_estimate(p), [slow_estimate(one) for one in p], rtol=1e-12)


def test_a_movement_after_a_standstill_has_an_lscr_but_no_contraction():
    tv = np.array([0.4, 0.2, 0.0, 0.1, 0.05])
    assert float(lscr(tv)) == 0.5
    assert float(contraction_rate(tv)) == math.inf
    assert float(contraction_rate(np.zeros(4))) == 0
    assert float(dobrushin_estimate(np.tile([0.5, 0.5], (4, 1)))) == 0
    assert math.isnan(dobrushin_estimate(np.tile([0.5, 0.5], (2, 1))))


def test_of_one_step_there_is_no_rate():
    assert np.isnan(contraction_rate(np.zeros((4, 1)))).tolist() == [True] * 4


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_what_holds_forward_does_not_flip(seed, stop):
    """The claim itself: on a path whose steps contract by alpha, a stop that is certified keeps its
    argmax.
    """
    kernel, rng = kernels(seed)
    p = path(kernel, rng.dirichlet(np.full(5, 0.2)), 40)
    tv = np.abs(np.diff(p, axis=0)).sum(axis=1) / 2
    alpha = float(contraction_rate(np.where(tv > 1e-13, tv, np.nan)))
    ranked = np.sort(p[stop])
    margin = float(ranked[-1] - ranked[-2])
    if alpha < 1 and holds_forward(margin, float(tv[stop - 1]), alpha):
        assert (p[stop:].argmax(axis=1) == p[stop].argmax()).all()
    delta = 2 * tv[stop - 1] ** 2
    if alpha < 1 and required_forward_margin(delta, 1, alpha) < margin:
        assert holds_forward(margin, float(tv[stop - 1]), alpha)  # TRACE Eq. 12 asks for more


def test_the_forward_margin_adds_the_future_to_the_window():
    assert required_forward_margin(3e-6, 3, 0.0) == pytest.approx(required_margin(3e-6, 4))
    assert required_forward_margin(3e-6, 3, 0.9) == pytest.approx(required_margin(3e-6, 13))


@pytest.mark.parametrize(("alpha", "margin"), [(0.5, 0.25), (0.75, 0.375), (0.5, 1.0)])
def test_the_forward_certificate_is_sharp(alpha, margin):
    """Two outcomes whose steps all shrink by alpha, towards each other.

    What is refused does flip, or ends in a tie.
    """
    # The last movement that brings the two together, after infinitely many more.
    drift = margin / 2 * (1 - alpha) / alpha
    for tv_last in (0.99 * drift, drift, 1.01 * drift):
        first = (1 + margin) / 2 - sum(tv_last * alpha**s for s in range(1, 200))
        assert holds_forward(margin, tv_last, alpha) == (first > 0.5 + 1e-12)
