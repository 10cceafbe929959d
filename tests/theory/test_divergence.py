import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from tracedlm.theory.divergence import (
    NEAR,
    entropy,
    kl,
    kl_from_log,
    kl_from_ratio,
    top_two_margin,
    total_variation,
)

weights = st.lists(st.integers(0, 1000), min_size=2, max_size=6).filter(any)


def distribution(values):
    return np.array(values) / sum(values)


def decimal(p):
    return {i: oracles.Decimal(float(x)) for i, x in enumerate(p)}


@given(weights, st.randoms(use_true_random=False))
def test_pinsker(values, random):
    p = distribution(values)
    q = np.array(random.sample(list(p), len(p)))
    assert total_variation(p, q) <= np.sqrt(kl(p, q) / 2) + 1e-15
    assert kl(p, q) >= 0
    assert 0 <= total_variation(p, q) <= 1 + 1e-15


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=6).filter(
        lambda rows: all(map(any, zip(*rows, strict=True)))
    )
)
def test_kl_is_its_definition_zeros_and_all(rows):
    p, q = map(distribution, zip(*rows, strict=True))
    assert kl(p, q) == pytest.approx(
        float(oracles.kl(decimal(p), decimal(q))), rel=1e-12, abs=1e-14
    )


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=6), st.sampled_from([1.0, 1e-1, 1e-3, 1e-5])
)
def test_kl_of_close_distributions_keeps_its_digits(values, distance):
    p = np.array(values, dtype=float)
    q = p * (1 + distance * np.linspace(-0.5, 0.5, len(p)))
    p, q = p / p.sum(), q / q.sum()
    # The inputs are rounded, so the exact answer for them carries sum(p) - sum(q), which KL of
    # distributions does not.
    exact_p, exact_q = decimal(p), decimal(q)
    exact_p = {s: x / sum(exact_p.values()) for s, x in exact_p.items()}
    exact_q = {s: x / sum(exact_q.values()) for s, x in exact_q.items()}
    assert float(kl(p, q)) == pytest.approx(
        float(oracles.kl(exact_p, exact_q)), rel=1e-8, abs=1e-24
    )


@pytest.mark.parametrize("share", [0.9999, 0.9, 0.5, 1e-4])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_series_has_all_digits_wherever_it_is_used(share, sign):
    """Up to the largest log-ratio that it is used for, alone or beside a term of the long form."""
    ratios = np.array([sign * share * NEAR, 0.0])
    p = np.array([0.25, 0.75])
    exact = oracles.Decimal(p[0]) * (
        oracles.Decimal(ratios[0]) - 1 + (-oracles.Decimal(ratios[0])).exp()
    )
    for far in ([], [1.0]):  # with one term beyond the series, too
        q = np.r_[p * np.exp(-ratios), [np.exp(-1.0)] * len(far)]
        found = kl_from_ratio(np.r_[p, np.ones(len(far))], q, np.r_[ratios, far])
        beyond = sum(oracles.Decimal(r) - 1 + (-oracles.Decimal(r)).exp() for r in far)
        assert float(found) == pytest.approx(float(exact + beyond), rel=1e-12, abs=0)


def test_kl_at_zero_probabilities():
    p, q = np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.0])
    assert kl(p, q) == pytest.approx(np.log(2))
    assert kl(q, p) == np.inf
    assert kl(p, p) == 0
    assert np.isnan(kl(np.array([np.nan, 1.0]), np.array([0.5, 0.5])))


def test_smoothing_is_the_papers():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0])
    exact = oracles.kl(oracles.smoothed(decimal(p), 1e-12), oracles.smoothed(decimal(q), 1e-12))
    assert kl(p, q, smoothing=1e-12) == pytest.approx(float(exact), rel=1e-12)
    on_two = oracles.kl(
        oracles.smoothed(decimal(p[:2]), 1e-12), oracles.smoothed(decimal(q[:2]), 1e-12)
    )
    assert kl(p, q, smoothing=1e-12, support=np.array([True, True, False])) == pytest.approx(
        float(on_two), rel=1e-12
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_every_row_of_a_batch_is_smoothed_by_itself(axis):
    p, q = (
        np.array([[0.5, 0.5, 0.0], [0.2, 0.0, 0.8]]),
        np.array([[1.0, 0.0, 0.0], [0.0, 0.7, 0.3]]),
    )
    alone = [kl(one, other, smoothing=0.01) for one, other in zip(p, q, strict=True)]
    batch = kl(np.moveaxis(p, 1, axis), np.moveaxis(q, 1, axis), axis=axis, smoothing=0.01)
    np.testing.assert_allclose(batch, alone, rtol=1e-14)


def test_smoothing_an_empty_support_is_undefined_not_zero():
    assert np.isnan(
        kl(np.ones(2) / 2, np.ones(2) / 2, smoothing=1e-12, support=np.zeros(2, dtype=bool))
    )


def test_kl_from_log_ignores_what_both_leave_out():
    log_p = np.array([np.log(0.5), np.log(0.5), -np.inf])
    assert kl_from_log(log_p, log_p) == 0
    assert kl_from_log(np.array([0.0, -np.inf]), np.log([0.5, 0.5])) == pytest.approx(np.log(2))
    assert np.isnan(kl_from_log(np.array([np.nan, 0.0]), np.array([0.0, -np.inf])))


@pytest.mark.parametrize("size", [1e-7, 1e-5, 1e-3, 1.0, 30.0])
def test_kl_of_a_vocabulary_without_zeros_keeps_eight_digits(size):
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.full(7, 0.5), size=20))
    log_q = log_p + size * rng.uniform(-1, 1, log_p.shape)
    exact = []
    for p, r in zip(np.exp(log_p), log_p - log_q, strict=True):
        exact.append(
            sum(
                oracles.Decimal(x) * (oracles.Decimal(y) - 1 + (-oracles.Decimal(y)).exp())
                for x, y in zip(p, r, strict=True)
            )
        )
    np.testing.assert_allclose(
        kl_from_log(log_p, log_q), np.array(exact, dtype=float), rtol=1e-8, atol=0
    )


def test_kl_of_rounding_errors_is_not_negative():
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(5), size=1000))
    found = np.concatenate(
        [kl_from_log(log_p, log_p * (1 + ulps * 2.0**-52)) for ulps in (0, 1, -1, 3)]
    )
    assert (found >= 0).all() and (found[:1000] == 0).all() and found.max() < 1e-28


def test_a_probability_below_all_numbers_does_not_hide_the_others():
    """exp(-800) is 0 and exp(-740) has three digits left.

    What they lack is what the other distribution has there.
    """
    log_p = np.array([[0.0, -800.0], [0.0, -740.0], [np.log(0.5), np.log(0.5)]])
    log_q = np.array([np.log([0.25, 0.75])] * 3)
    expected = [np.log(4), np.log(4), 0.5 * np.log(4 / 3)]
    np.testing.assert_allclose(kl_from_log(log_p, log_q), expected, rtol=1e-14)


@given(weights)
def test_entropy(values):
    p = distribution(values)
    assert entropy(p) == pytest.approx(float(oracles.entropy(decimal(p))), abs=1e-14)
    assert 0 <= entropy(p) <= np.log(len(p)) + 1e-14


def test_axis_is_the_axis_of_the_outcomes():
    p, q = np.array([[0.5, 0.25], [0.5, 0.75]]), np.array([[0.25, 0.25], [0.75, 0.75]])
    assert total_variation(p, q, axis=0).tolist() == [0.25, 0.0]
    assert kl(p, q, axis=0)[1] == 0
    assert entropy(p, axis=0)[0] == pytest.approx(np.log(2))
    assert top_two_margin(p, axis=0).tolist() == [0.0, 0.5]


@given(weights)
def test_margin(values):
    p = distribution(values)
    positive = {s: x for s, x in decimal(p).items() if x > 0}
    expected = float(oracles.margin(positive)) if len(positive) > 1 else np.nan
    np.testing.assert_allclose(top_two_margin(p), expected, atol=1e-16)


def test_every_row_of_a_batch_has_a_support_of_its_own():
    np.testing.assert_array_equal(
        top_two_margin(np.array([[0.75, 0.25], [1.0, 0.0]])), [0.5, np.nan]
    )


@pytest.mark.parametrize(
    ("p", "support", "margin"),
    [
        ([0.5, 0.5], None, 0.0),  # a tie
        ([1.0, 0.0], None, np.nan),  # one token
        ([1.0, 0.0], [True, True], 1.0),  # a visible token may have no probability
        ([0.75, 0.25], [True, False], np.nan),
        ([0.25, 0.5, 0.25], [True, False, True], 0.0),
        ([np.nan, 0.5, 0.5], None, np.nan),
    ],
)
def test_margin_is_undefined_below_two_tokens(p, support, margin):
    np.testing.assert_equal(
        top_two_margin(np.array(p), support=None if support is None else np.array(support)), margin
    )
