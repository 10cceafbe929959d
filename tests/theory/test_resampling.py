import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from tracedlm.theory.resampling import (
    bootstrap_interval,
    clopper_pearson,
    mcnemar,
    paired_bootstrap,
    sign_flip,
    spearman,
)


def rng(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(1, 60), st.data())
def test_clopper_pearson_inverts_the_binomial_test(n, data):
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n)
    exact = scipy.stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert low <= k / n <= high


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5])
def test_clopper_pearson_covers(rate):
    n = 40
    mass = scipy.stats.binom.pmf(np.arange(n + 1), n, rate)
    inside = [low <= rate <= high for low, high in (clopper_pearson(k, n) for k in range(n + 1))]
    assert mass[inside].sum() >= 0.95


def test_clopper_pearson_at_the_ends():
    assert clopper_pearson(0, 0) == (0, 1)
    assert clopper_pearson(5, 5)[1] == 1
    with pytest.raises(ValueError, match="between 0 and n=3"):
        clopper_pearson(4, 3)


def test_bootstrap_is_a_function_of_its_generator():
    values = rng(1).normal(size=50)
    assert bootstrap_interval(values, rng=rng(3)) == bootstrap_interval(values, rng=rng(3))
    assert bootstrap_interval(values, rng=rng(3)) != bootstrap_interval(values, rng=rng(4))
    state = np.random.get_state()[1].copy()
    bootstrap_interval(values, rng=rng(3))
    assert (np.random.get_state()[1] == state).all()


def test_bootstrap_is_the_obvious_loop():
    values, source = np.array([1.0, 2.0, 4.0, 8.0]), rng(7)
    rows = source.integers(4, size=(200, 4))
    medians = [sorted(values[i] for i in row) for row in rows]
    medians = [(row[1] + row[2]) / 2 for row in medians]
    expected = (np.percentile(medians, 5), np.percentile(medians, 95))
    assert bootstrap_interval(values, "median", 200, 0.9, rng=rng(7)) == pytest.approx(expected)
    assert bootstrap_interval(values, np.median, 200, 0.9, rng=rng(7)) == pytest.approx(expected)


def test_a_bootstrap_draws_a_thousand_times_and_computes_in_float64():
    """TRACE section 4.3; and what is stored in float32 or as bool is averaged no worse."""
    values = rng(1).random(50).astype(np.float32)
    exact, thousand = values.astype(float), {"resamples": 1000}
    for stored in (values, values > 0.5):
        assert bootstrap_interval(stored, rng=rng(3)) == bootstrap_interval(
            stored.astype(float), rng=rng(3), **thousand
        )
        assert paired_bootstrap(stored, exact, rng=rng(3)) == paired_bootstrap(
            stored.astype(float), exact, rng=rng(3), **thousand
        )


def test_bootstrap_covers_the_mean():
    source = rng(0)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(source.normal(1.0, 1.0, 40), resamples=300, rng=source)
        hits += low <= 1.0 <= high
    assert 175 <= hits <= 199  # 95 % nominal, a little less for a percentile interval


def test_bootstrap_without_samples_or_with_undefined_ones():
    assert np.isnan(bootstrap_interval(np.array([]), rng=rng())).all()
    assert np.isnan(paired_bootstrap(np.array([]), np.array([]), rng=rng())).all()
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_interval(np.array([1.0, np.nan]), rng=rng())


def test_pairs_are_resampled_together():
    a = rng(2).normal(0, 100, size=80)
    low, high = paired_bootstrap(a + 1, a, rng=rng(3))
    assert (low, high) == pytest.approx((1, 1))  # unpaired, the interval would be some 60 wide
    assert paired_bootstrap(a, a + 1, rng=rng(3))[1] == pytest.approx(-1)
    with pytest.raises(ValueError, match="equally many"):
        paired_bootstrap(a, a[:-1], rng=rng())


def test_a_difference_of_means_is_as_sure_as_the_mean_difference():
    """Drawn as pairs, both are one and the same number in every resample.

    Of medians they are not.
    """
    a, b = rng(2).normal(size=(2, 30))
    assert paired_bootstrap(a, b, rng=rng(3)) == pytest.approx(
        bootstrap_interval(a - b, rng=rng(3))
    )
    rows = rng(3).integers(30, size=(200, 30))
    medians = [np.median([a[i] for i in row]) - np.median([b[i] for i in row]) for row in rows]
    assert paired_bootstrap(a, b, "median", 200, 0.9, rng=rng(3)) == pytest.approx(
        tuple(np.percentile(medians, [5, 95]))
    )


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=3, max_size=20))
def test_spearman_with_ties(pairs):
    x, y = np.array(pairs, dtype=float).T
    result = spearman(x, y, rng(), resamples=20)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan([result.rho, result.low, result.high]).all()
        assert "constant" in result.reason
    else:
        assert result.rho == pytest.approx(oracles.spearman(list(x), list(y)), abs=1e-12)
        assert result.rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
        assert result.reason == "" or math.isnan(result.low)


def test_spearman_interval_is_bootstrap_and_deterministic():
    x = rng(0).normal(size=64)
    y = x + rng(1).normal(size=64)
    result = spearman(x, y, rng(2))
    assert result == spearman(x, y, rng(2))
    assert -1 <= result.low < result.rho < result.high <= 1
    rows = rng(2).integers(64, size=(1000, 64))
    rhos = [scipy.stats.spearmanr(x[row], y[row]).statistic for row in rows[:1000]]
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(rhos, [2.5, 97.5])))


def test_spearman_drops_and_counts_undefined_pairs():
    x, y = np.array([1, 2, np.nan, 4, 5.0]), np.array([1, 2, 3, np.nan, 0.0])
    result = spearman(x, y, rng())
    assert (result.n, result.dropped) == (3, 2)
    assert result.rho == pytest.approx(oracles.spearman([1, 2, 5], [1, 2, 0]))
    few = spearman(x[:3], y[:3], rng())
    assert few.reason == "only 2 defined pairs"
    assert np.isnan(few.rho)
    assert (few.n, few.dropped, few.degenerate) == (2, 1, 0)
    assert [spearman(x[:n], y[:n], rng()).reason for n in (0, 1)] == [
        "only 0 defined pairs",
        "only 1 defined pairs",
    ]


@pytest.mark.filterwarnings("error")
def test_spearman_names_the_constant_input_and_counts_degenerate_resamples():
    assert spearman(np.arange(4.0), np.ones(4), rng()).reason == "y constant"
    assert spearman(np.zeros(4), np.ones(4), rng()).reason == "x and y constant"
    rare = spearman(np.arange(5.0), np.array([0, 0, 0, 0, 1.0]), rng())
    assert 0 < rare.degenerate < 1000
    # Every resample that has a rho has a positive one, and a third have none: nothing is known.
    assert (rare.low, rare.high) == (-1, 1) and rare.rho > 0.7
    turned = spearman(np.arange(5.0), np.array([1.0, 0, 0, 0, 0]), rng())
    assert (turned.low, turned.high) == (-1, 1) and turned.rho < -0.7


def test_mcnemar_counts_only_disagreements():
    a = np.array([True] * 50 + [True] * 8 + [False] * 2)
    b = np.array([True] * 50 + [False] * 8 + [True] * 2)
    assert mcnemar(a, b) == pytest.approx(2 * sum(math.comb(10, k) for k in (0, 1, 2)) / 2**10)
    assert mcnemar(a, b) == mcnemar(a.astype(float), b.astype(float))
    assert mcnemar(b, a) == pytest.approx(mcnemar(a, b), rel=1e-12)
    assert mcnemar(a, a) == 1
    with pytest.raises(ValueError, match="equally many"):
        mcnemar(a, b[1:])


@given(st.lists(st.integers(-3, 3), max_size=8))
def test_sign_flips_are_all_enumerated(differences):
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    expected = sum(abs(one) >= abs(sum(differences)) for one in sums) / len(sums)
    assert sign_flip(np.array(differences, dtype=int)) == pytest.approx(expected)


@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_flip_of_single_answers_is_mcnemar(only_a, only_b):
    a, b = (
        np.array([True] * only_a + [False] * only_b + [True]),
        np.array([False] * only_a + [True] * only_b + [True]),
    )
    assert sign_flip(a.astype(int) - b.astype(int)) == pytest.approx(mcnemar(a, b))


def test_answers_to_one_problem_do_not_count_as_many():
    """Three answers each to 5 problems, all better: 5 coins, not 15."""
    assert sign_flip(np.full(5, 3)) == 2 / 2**5
