import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from tracedlm.theory import certificate
from tracedlm.theory.certificate import BOUNDS, certificates, feasible, first_certified, forward_tail, grid, required_margin

LADDER = ("pinsker", "measured", "tv", "observed")


@st.composite
def traces(draw):
    """Similarities on a binary grid, so that ties are exact; movements from none to violent; any visibility."""
    steps, positions = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    base = draw(st.lists(st.integers(-1024, 1024), min_size=positions, max_size=positions))
    scale = draw(st.sampled_from([0, 2**-20, 2**-10, 2**-5, 1]))
    moves = draw(st.lists(st.integers(-1024, 1024), min_size=steps * positions, max_size=steps * positions))
    hidden = draw(st.lists(st.integers(0, 5), min_size=steps * positions, max_size=steps * positions))
    similarity = np.array(base) / 1024 + scale * np.array(moves).reshape(steps, positions) / 1024
    return similarity, np.array(hidden).reshape(steps, positions) > 0


settings_of_a_certificate = {
    "delta": st.sampled_from([1e-9, 3e-6, 1e-4, 1e-2, 0.1]),
    "omega": st.integers(1, 4),
    "tau": st.sampled_from([0.1, 1.0]),
}


@settings(max_examples=150)
@given(trace=traces(), **settings_of_a_certificate)
def test_all_five_rules_against_50_digits(trace, delta, omega, tau):
    similarity, visible = trace
    flags = certificates(similarity, visible, delta, omega, tau)
    for t in range(len(similarity)):
        for name, slack in oracles.certificate_slack(similarity, visible, t, delta, omega, tau).items():
            if slack is None or abs(slack) > 1e-13:  # on the border itself rounding decides
                assert getattr(flags, name)[t] == (slack is not None and slack > 0), (name, t)


@given(trace=traces(), **settings_of_a_certificate)
def test_each_bound_implies_the_next_sample_by_sample(trace, delta, omega, tau):
    flags = certificates(*trace, delta, omega, tau)
    for tighter, looser in itertools.pairwise(LADDER):
        assert not (getattr(flags, tighter) & ~getattr(flags, looser)).any(), (tighter, looser)


def test_the_ladder_is_strict():
    """Each bound certifies more than the one before: the nesting test is not about four equal things."""
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-1, 1, (400, 1, 3)) + 0.5 * rng.uniform(-1, 1, (400, 4, 3))
    flags = certificates(similarity, np.ones(similarity.shape, dtype=bool), 1e-2, 2)
    counts = [int(getattr(flags, name).sum()) for name in LADDER]
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3], counts


@given(trace=traces(), **settings_of_a_certificate)
def test_certified_means_the_argmax_did_not_flip(trace, delta, omega, tau):
    similarity, visible = trace
    flags = certificates(similarity, visible, delta, omega, tau)
    for t in np.flatnonzero(flags.pinsker | flags.measured | flags.tv):
        common = oracles.window_support(visible, t, omega)
        tops = [oracles.maximisers(similarity[r], common) for r in range(t - omega, t + 1)]
        slack = oracles.certificate_slack(similarity, visible, t, delta, omega, tau)["tv"]
        assert abs(slack) < 1e-13 or all(top == tops[-1] and len(top) == 1 for top in tops)


def test_error_1_growing_support():
    """method.md section 5, error 1: the paper's rule certifies a step whose argmax the window's start could not see."""
    visible = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=bool)
    similarity = np.log([[0.5, 0.5, 1.0], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    flags = certificates(similarity, visible, delta=1e-6, omega=2)
    assert flags.paper.tolist() == [False, False, True]
    assert not visible[0, similarity[2].argmax()]
    assert not (flags.pinsker | flags.measured | flags.tv).any()


def test_on_a_constant_support_the_papers_rule_is_pinsker():
    rng = np.random.default_rng(1)
    similarity = rng.uniform(-1, 1, (200, 1, 4)) + 0.05 * rng.uniform(-1, 1, (200, 5, 4))
    flags = certificates(similarity, np.ones(similarity.shape, dtype=bool), 1e-3, 2)
    assert flags.paper.any()
    assert (flags.paper == flags.pinsker).all()


def test_tv_is_measured_from_the_stop_not_step_by_step():
    """A steady drift of 0.1 a step against half a margin of 0.16: one step is safe, two are not."""
    similarity = np.log([[0.86, 0.14], [0.76, 0.24], [0.66, 0.34]])
    visible = np.ones((3, 2), dtype=bool)
    assert certificates(similarity, visible, 1.0, 1).tv[2]
    two = certificates(similarity, visible, 1.0, 2)
    assert not two.tv[2]
    assert two.observed[2]


def test_a_tie_certifies_nothing():
    flags = certificates(np.zeros((3, 2)), np.ones((3, 2), dtype=bool), 1e-6, 1)
    assert not (flags.paper | flags.pinsker | flags.measured | flags.tv).any()
    assert flags.observed.tolist() == [False, True, True]


def test_no_history_no_tokens_no_certificate():
    similarity, visible = np.tile(np.log([1.0, 30.0, 2.0]), (4, 1)), np.ones((4, 3), dtype=bool)
    for name in BOUNDS:
        assert getattr(certificates(similarity, visible, 1e-2, 3), name).tolist() == [False, False, False, True]
        assert not getattr(certificates(similarity, visible, 1e-2, 4), name).any()
        assert not getattr(certificates(similarity, visible, 1e-2, 9), name).any()
    visible[1:, :2] = False
    assert not any(getattr(certificates(similarity, visible, 1e-2, 1), name).any() for name in BOUNDS)


def test_an_undefined_similarity_is_not_certified():
    similarity = np.tile(np.log([1.0, 3.0]), (4, 1))
    similarity[1, 0] = np.nan
    flags = certificates(similarity, np.ones((4, 2), dtype=bool), 1e-2, 1)
    assert all(getattr(flags, name).tolist() == [False, False, False, True] for name in BOUNDS)


@settings(max_examples=30)
@given(traces(), st.booleans())
def test_the_grid_is_the_loop(trace, windowed):
    similarity, visible = trace
    deltas, omegas = [1e-6, 1e-2, 0.5], [1, 2, 3]
    window = np.arange(len(similarity)) % 2 == 0 if windowed else np.ones(len(similarity), dtype=bool)
    result = grid(similarity, visible, deltas, omegas, window=window if windowed else None)
    for i, delta in enumerate(deltas):
        for j, omega in enumerate(omegas):
            flags = certificates(similarity, visible, delta, omega)
            for name in BOUNDS:
                assert result[name][i, j] == (getattr(flags, name) & window).any()


def test_the_grid_has_one_entry_per_sample():
    rng = np.random.default_rng(2)
    similarity = rng.uniform(-1, 1, (3, 7, 6, 4))
    result = grid(similarity, np.ones(similarity.shape, dtype=bool), [1e-2, 1.0], [1, 2, 3])
    assert all(result[name].shape == (2, 3, 3, 7) for name in BOUNDS)
    assert (result["pinsker"][0] <= result["measured"][0]).all()


def test_first_certified():
    flags = np.array([[False, True, True], [True, False, True], [False, False, False]])
    assert first_certified(flags).tolist() == [1, 0, -1]
    assert first_certified(flags, np.array([False, False, True])).tolist() == [2, 2, -1]


def test_error_5_impossible_settings():
    assert required_margin(0.05, 6) / 2 == pytest.approx(0.95, abs=0.005)
    assert not feasible(0.05, 6)
    assert required_margin(3e-6, 3) == pytest.approx(7.3e-3, abs=1e-4)
    assert feasible(3e-6, 3)
    assert not feasible(0.5, 1)  # Pinsker's radius is exactly half the largest margin there is


@given(traces(), st.sampled_from([(0.05, 6), (0.5, 1), (0.2, 2)]))
def test_an_infeasible_setting_certifies_nothing(trace, pair):
    flags = certificates(*trace, *pair, 0.1)
    assert not (flags.paper | flags.pinsker).any()


@given(st.floats(0, 0.99), st.integers(0, 30), st.floats(0, 1))
def test_the_tail_is_the_geometric_sum(alpha, steps, tv_last):
    exact = oracles.geometric_tail(alpha, steps, tv_last)
    assert forward_tail(alpha, steps, tv_last) == pytest.approx(exact, rel=1e-9, abs=1e-12)
    assert forward_tail(alpha, steps, tv_last) <= certificate.tail_trace(alpha, steps, tv_last) + 1e-12
    assert exact <= forward_tail(alpha, math.inf, tv_last) + 1e-12


def test_error_2_edit_theorem_4():
    """A two-state chain that contracts by exactly 1/2 a step violates EDIT Eq. 19; the sharp sum is attained."""
    alpha, kernel = 0.5, np.array([[0.75, 0.25], [0.25, 0.75]])
    chain = [np.array([1.0, 0.0])]
    for _ in range(12):
        chain.append(chain[-1] @ kernel)
    distance = [[np.abs(p - q).sum() / 2 for q in chain] for p in chain]
    t = 1
    drifts = [distance[t + s][t] for s in range(1, 12)]
    for s, drift in enumerate(drifts, start=1):
        assert drift == pytest.approx(forward_tail(alpha, s, distance[t][t - 1]))
        assert drift <= certificate.tail_trace(alpha, s, distance[t][t - 1])
    assert drifts[3] > certificate.tail_edit(alpha, 4, distance[t][t - 1])
    assert certificate.tail_edit(alpha, 40, 1.0) < 1e-9


@pytest.mark.parametrize("alpha", [1.0, 2.08, 2.56, -0.1, math.nan])
def test_error_3_no_forward_bound_without_contraction(alpha):
    for tail in (forward_tail, certificate.tail_trace, certificate.tail_edit):
        with pytest.raises(ValueError, match="not certifiable"):
            tail(alpha, 3, 0.1)


@pytest.mark.parametrize(("delta", "omega", "message"), [(1e-6, 0, "at least one step"), (-1.0, 1, ">= 0"), (math.nan, 1, ">= 0")])
def test_certificate_errors(delta, omega, message):
    with pytest.raises(ValueError, match=message):
        certificates(np.zeros((3, 2)), np.ones((3, 2), dtype=bool), delta, omega)
