import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from tracedlm.theory.freezing import (
    coupling,
    freezing_tail,
    freezing_tail_edit,
    local_stability,
    safe_to_freeze,
    safe_to_freeze_edit,
)


def walk(seed, steps=30, tokens=12, k=3, calm=0.02):
    """Coordinates of tokens that move less and less, each at a pace of its own, and become visible
    one after the other.
    """
    rng = np.random.default_rng(seed)
    pace = calm * rng.exponential(size=(tokens, 1)) ** 2 / np.arange(1, steps + 1)[:, None, None]
    coordinates = rng.normal(size=(tokens, k)) + np.cumsum(
        pace * rng.normal(size=(steps, tokens, k)), axis=0
    )
    return coordinates, np.arange(steps)[:, None] >= rng.integers(0, steps, size=tokens)


def component_distribution(row, tau=1.0):
    """EDIT Eq. 25."""
    return oracles.softmax([abs(value) for value in row], range(len(row)), tau)


@pytest.mark.parametrize(
    ("delta", "omega", "tau"), [(1e-5, 1, 1.0), (1e-4, 3, 1.0), (1e-3, 5, 0.5)]
)
def test_local_stability_from_its_definition(delta, omega, tau):
    coordinates, visible = walk(0, steps=12, tokens=6, calm=0.1)
    found = local_stability(coordinates, visible, delta, omega, tau)
    for t, s in np.ndindex(visible.shape):
        if not visible[t, s]:
            assert (
                np.isnan(found.kl[t, s]) and np.isnan(found.margin[t, s]) and not found.stable[t, s]
            )
            continue
        p = component_distribution(coordinates[t, s], tau)
        margin = oracles.margin(p)
        assert found.margin[t, s] == pytest.approx(float(margin), rel=1e-12)
        divergences = [
            oracles.kl(
                component_distribution(coordinates[r, s], tau),
                component_distribution(coordinates[r - 1, s], tau),
            )
            for r in range(t, max(t - omega, 0), -1)
            if visible[r - 1, s]
        ]
        if t and visible[t - 1, s]:
            assert found.kl[t, s] == pytest.approx(float(divergences[0]), rel=1e-9, abs=1e-15)
        stable = len(divergences) == omega and max(divergences) <= delta
        assert found.stable[t, s] == stable
        assert found.certified[t, s] == (stable and omega * math.sqrt(delta / 2) < margin / 2)
    assert 0 < found.stable.mean() < 0.9


@given(st.integers(0, 2**32), st.sampled_from([(1e-5, 1), (1e-4, 2), (1e-3, 4)]))
def test_lemma_7_and_theorem_8(seed, setting):
    """A stable token drifted by no more than omega sqrt(delta / 2).

    A certified one kept its leading component all along.
    """
    (delta, omega), (coordinates, visible) = setting, walk(seed)
    found = local_stability(coordinates, visible, delta, omega)
    q = np.exp(np.abs(coordinates)) / np.exp(np.abs(coordinates)).sum(-1, keepdims=True)
    for t, s in zip(*np.nonzero(found.stable), strict=True):
        window = q[t - omega : t + 1, s]
        assert np.abs(window - window[-1]).sum(-1).max() / 2 <= omega * math.sqrt(delta / 2)
        if found.certified[t, s]:
            assert len(set(window.argmax(-1))) == 1


def test_some_stable_tokens_are_certified_and_some_are_not():
    """The properties above would prove nothing without either."""
    found = [local_stability(*walk(seed), 1e-3, 4) for seed in range(5)]
    stable, certified = (
        sum(int(getattr(one, name).sum()) for one in found) for name in ("stable", "certified")
    )
    assert 0 < certified < stable


def test_a_token_that_never_moves_is_stable_at_a_threshold_of_zero():
    coordinates = np.tile([[1.0, 3.0], [2.0, 2.0]], (3, 1, 1))
    coordinates[2, 1] += 1e-3, 0.0
    found = local_stability(coordinates, np.ones((3, 2), dtype=bool), 0.0, 2)
    assert (
        found.stable.tolist()
        == found.certified.tolist()
        == [[False, False], [False, False], [True, False]]
    )


@pytest.mark.parametrize(("delta", "certified"), [(0.499, True), (0.5, False), (0.501, False)])
def test_theorem_8_asks_for_a_margin_of_more_than_twice_the_radius(delta, certified):
    """A component beside which the other underflows to 0 has the whole margin of 1, against
    sqrt(delta / 2), which is half of it at 1/2.
    """
    found = local_stability(
        np.tile([0.0, 1000.0], (2, 1, 1)), np.ones((2, 1), dtype=bool), delta, 1
    )
    assert found.margin[1, 0] == 1 and found.stable[1, 0]
    assert found.certified[1, 0] == certified


def test_runs_are_judged_one_by_one():
    coordinates, visible = zip(
        *(walk(seed, steps=8, tokens=5, calm=0.1) for seed in range(3)), strict=True
    )
    whole = local_stability(np.stack(coordinates), np.stack(visible), 1e-3, 3)
    for n in range(3):
        alone = local_stability(coordinates[n], visible[n], 1e-3, 3)
        for name, values in vars(alone).items():
            found = getattr(whole, name)[n]
            if values.dtype == bool:
                np.testing.assert_array_equal(found, values)
            else:
                np.testing.assert_allclose(found, values, rtol=1e-9, atol=1e-15, err_msg=name)
    assert whole.stable.any()


def test_one_component_has_no_margin_and_certifies_nothing():
    found = local_stability(np.ones((3, 2, 1)), np.ones((3, 2), dtype=bool), 0.1, 1)
    assert np.isnan(found.margin).all() and found.stable[1:].all() and not found.certified.any()


def test_torch_gives_the_same():
    coordinates, visible = walk(3)
    ours, theirs = (
        local_stability(coordinates, visible, 1e-4, 3),
        local_stability(torch.from_numpy(coordinates), torch.from_numpy(visible), 1e-4, 3),
    )
    np.testing.assert_allclose(ours.kl, theirs.kl.numpy(), rtol=1e-9)
    assert np.array_equal(ours.certified, theirs.certified.numpy()) and np.array_equal(
        ours.stable, theirs.stable.numpy()
    )


def two_outcomes(alpha, beta, path, steps, p=0.5):
    """P(first of two) when each step contracts by alpha and one token's activation adds beta.

    Assumptions 9 and 10 with equality.
    """
    seen = [p]
    for step in range(steps):
        seen.append(alpha * seen[-1] + beta * path[step] + 0.2)
    return np.array(seen)


def frozen_against_unfrozen(alpha, beta, moves):
    """TV after each step, between a run whose token moves on and one whose token stays where it
    was.
    """
    path = np.cumsum(moves)
    return np.abs(
        two_outcomes(alpha, beta, path, len(moves))
        - two_outcomes(alpha, beta, 0 * path, len(moves))
    )[1:]


def test_theorem_11_of_edit_is_false_as_printed():
    """A token that keeps its pace satisfies every assumption.

    The printed bound is passed, the one for a number of steps is not.
    """
    alpha, beta, epsilon, steps = 0.5, 0.02, 0.1, 30
    apart = frozen_against_unfrozen(alpha, beta, np.full(steps, epsilon))
    assert apart.max() > 5 * freezing_tail_edit(beta, alpha, epsilon)
    np.testing.assert_allclose(
        apart, [freezing_tail(beta, alpha, epsilon, u) for u in range(1, steps + 1)], rtol=1e-9
    )


@given(
    st.floats(0, 0.99),
    st.floats(0, 2),
    st.floats(0, 0.5),
    st.lists(st.floats(-1, 1), min_size=1, max_size=25),
)
def test_the_tail_bounds_every_path(alpha, beta, epsilon, directions):
    apart = frozen_against_unfrozen(alpha, beta, epsilon * np.array(directions))
    bounds = [freezing_tail(beta, alpha, epsilon, u) for u in range(1, len(directions) + 1)]
    assert (apart <= np.array(bounds) + 1e-9).all()


SIGNS = st.lists(st.floats(-1, 1), min_size=1, max_size=12)


@given(
    st.floats(0, 0.95),
    st.floats(0, 0.2),
    st.floats(0, 0.3),
    SIGNS,
    st.floats(0.05, 0.95),
    st.floats(-0.05, 0.05),
)
def test_what_is_certified_does_not_flip(alpha, beta, epsilon, directions, p, last):
    """However an unfrozen run contracts and the token would have moved, the frozen run's larger
    outcome stays the one of today.
    """
    if not safe_to_freeze(abs(2 * p - 1), abs(last), beta, alpha, epsilon, len(directions)):
        return
    unfrozen, behind, apart = p, 0.0, 0.0
    for direction in directions:
        last = alpha * direction * last
        unfrozen, behind = unfrozen + last, behind + epsilon * direction
        apart = alpha * apart + beta * behind
        assert (unfrozen + apart > 0.5) == (p > 0.5)


def test_the_printed_condition_certifies_what_flips():
    """Enough margin for the printed bound.

    Ten steps on, the frozen run has the other outcome of the run it was to stand for.
    """
    alpha, beta, epsilon, margin = 0.5, 0.02, 0.1, 0.05
    apart = frozen_against_unfrozen(alpha, beta, np.full(10, epsilon))
    assert safe_to_freeze_edit(margin, 0.0, 1, beta, alpha, epsilon) and apart.max() > margin / 2
    assert safe_to_freeze(margin, 0.0, beta, alpha, epsilon, 1) and not safe_to_freeze(
        margin, 0.0, beta, alpha, epsilon, 10
    )


@pytest.mark.parametrize("alpha", [1.0, 2.3, -0.1, math.nan])
def test_without_contraction_nothing_is_certifiable(alpha):
    for bound in (
        lambda: freezing_tail(0.1, alpha, 0.1, 3),
        lambda: freezing_tail_edit(0.1, alpha, 0.1),
        lambda: safe_to_freeze(0.9, 0.0, 0.1, alpha, 0.1, 3),
        lambda: safe_to_freeze_edit(0.9, 1e-6, 3, 0.1, alpha, 0.1),
    ):
        with pytest.raises(ValueError, match="not certifiable"):
            bound()


def test_a_token_that_stands_still_may_stay_for_ever():
    assert (
        freezing_tail(0.3, 0.5, 0.0, math.inf) == 0
        and freezing_tail(0.3, 0.5, 1e-9, math.inf) == math.inf
    )


def test_coupling_is_the_steepest_probe():
    assert coupling(
        np.array([[0.5, 0.25], [0.0, 0.0]]), np.array([[4.0, 0.5], [1.0, 1.0]])
    ).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("wrong", [{"delta": -1e-6, "omega": 1}, {"delta": 1e-6, "omega": 0}])
def test_bad_settings(wrong):
    with pytest.raises(ValueError, match="local stability needs"):
        local_stability(np.zeros((3, 2, 3)), np.ones((3, 2), dtype=bool), **wrong)


@pytest.mark.parametrize(("excess", "safe"), [(-1 / 64, False), (0.0, False), (1 / 64, True)])
def test_a_margin_must_exceed_twice_the_drift(excess, safe):
    """At twice the drift the two largest may have become equal. All numbers are exact in binary."""
    tail = 0.125 * 0.5 + 0.125  # one step on: alpha TV, and beta epsilon
    assert safe_to_freeze(2 * tail + excess, 0.125, 0.5, 0.5, 0.25, 1) == safe
    printed = 2 * 0.125 + 0.125 / (1 - 0.5)  # EDIT Eq. 30
    assert safe_to_freeze_edit(2 * printed + excess, 2 * 0.125**2, 2, 0.5, 0.5, 0.25) == safe
