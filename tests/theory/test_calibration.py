import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.calibration import (
    beta_quantile,
    expected_calibration_error,
    pac_calibration,
    paper_quantile,
    select_pair,
)
from tracedlm.theory.contraction import required_forward_margin


@pytest.mark.parametrize(("n", "beta"), [(19, 0.1), (40, 0.25)])
def test_error_4_the_papers_quantile_does_not_keep_the_papers_promise(n, beta):
    """Corollary 6 promises that a new margin reaches the quantile with probability 1 - beta."""
    rng = np.random.default_rng(0)
    trials = 3000
    ours = theirs = 0
    for _ in range(trials):
        margins, new = rng.exponential(size=n), rng.exponential()
        ours += new >= beta_quantile(margins, beta)
        theirs += new >= paper_quantile(margins, beta)
    error = 3 * np.sqrt(beta * (1 - beta) / trials)
    assert ours / trials >= 1 - beta - error
    assert ours / trials <= 1 - beta + error + 1 / (n + 1)  # not kept by being useless
    assert theirs / trials == pytest.approx(beta, abs=error + 1 / n)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_beta_quantile_is_an_order_statistic(margins, beta):
    q = beta_quantile(margins, beta)
    if beta * (len(margins) + 1) < 1 - 1e-6:
        assert np.isnan(q)
    elif beta * (len(margins) + 1) > 1 + 1e-6:
        assert sum(m < q for m in margins) + 1 <= beta * (len(margins) + 1) + 1e-6
        assert sum(m <= q for m in margins) + 1 > beta * (len(margins) + 1) - 1e-6


def test_beta_quantile_at_round_ranks():
    margins = list(range(1, 100))
    assert [beta_quantile(margins, b) for b in (0.01, 0.29, 0.57, 0.99)] == [1, 29, 57, 99]
    assert np.isnan(beta_quantile([], 0.5))
    assert np.isnan(paper_quantile([], 0.5))


def test_quantile_errors():
    for beta in (0, 1, 1.5):
        with pytest.raises(ValueError, match="probability"):
            beta_quantile([0.1], beta)
    for undefined in (float("nan"), None):
        with pytest.raises(ValueError, match="NaN"):
            beta_quantile([0.1, undefined], 0.5)


WORLDS = {
    "easy": lambda rng, n: (rng.uniform(0.3, 0.9, n), rng.uniform(0.0, 0.3, n)),
    "hard": lambda rng, n: (rng.exponential(0.01, n), rng.beta(8, 2, n)),
    "adversarial": lambda rng, n: (
        np.where(rng.random(n) < 0.3, 1e-9, 0.5),
        np.where(rng.random(n) < 0.5, 0.0, rng.beta(9, 1, n)),
    ),
}
"""Margins at the stop and contraction rates of n exchangeable samples."""


@pytest.mark.parametrize("world", WORLDS)
def test_a_calibrated_promise_is_kept_and_the_printed_one_is_not(world):
    """Over 2,000 splits, with drifts as large as the theorem allows.

    The argmax flips where half the margin is less than the drift.
    """
    rng, splits, n, beta, omega = np.random.default_rng(0), 2000, 39, 0.1, 3
    broken = printed = promised = 0
    for _ in range(splits):
        margins, alphas = WORLDS[world](rng, n + 1)
        pac = pac_calibration(margins[:n], alphas[:n], 1e-6, omega, beta)
        scale = omega + 1 / (1 - pac.alpha)
        for quantile in (pac.quantile, pac.paper_quantile):
            # The boldest setting that the corollary allows.
            delta = 2 * (quantile / 2 / scale) ** 2 * (1 - 1e-9)
            assert required_forward_margin(delta, omega, pac.alpha) < quantile
            drift = (omega + 1 / (1 - alphas[n])) * np.sqrt(delta / 2)
            flips = margins[n] / 2 <= drift
            broken, printed = (
                (broken + flips, printed) if quantile == pac.quantile else (broken, printed + flips)
            )
        promised += pac.failure
    allowed = promised / splits
    error = 3 * np.sqrt(allowed * (1 - allowed) / splits)
    assert broken / splits <= allowed + error
    assert printed / splits > allowed + error


def test_a_pair_chosen_on_the_same_samples_costs_what_it_was_chosen_among():
    """Of nine pairs with margins alike, the one whose quantile came out largest.

    With `pairs` the promise is kept, without it is not.
    """
    rng, splits, n, beta, pairs = np.random.default_rng(0), 1000, 89, 0.1, 9
    missed = {1: 0, pairs: 0}
    for _ in range(splits):
        margins, new = rng.exponential(0.01, (pairs, n)), rng.exponential(0.01)
        chosen = margins[np.argmax(np.sort(margins, axis=1)[:, int(beta * (n + 1)) - 1])]
        for known in missed:
            missed[known] += (
                new < pac_calibration(chosen, np.zeros(n), 1e-6, 3, beta, known).quantile
            )
    error = 3 * np.sqrt(beta * (1 - beta) / splits)
    assert missed[pairs] / splits <= beta + error < missed[1] / splits


def test_the_promise_says_why_it_is_not_made():
    nan = np.nan
    margins, alphas = np.array([0.1, 0.2, nan, 0.3]), np.array([0.5, 0.2, 0.4, nan])
    pac = pac_calibration(margins, alphas, 1e-6, 3, 0.5)
    assert (pac.n, pac.excluded, pac.n_alpha, pac.alpha, pac.quantile) == (3, 1, 3, 0.5, 0.2)
    assert pac.holds and pac.reason == "" and pac.failure == 0.5 + 1 / 4
    assert required_forward_margin(pac.largest_delta, 3, 0.5) == pytest.approx(pac.quantile)
    cases = {
        "3 stops are too few for beta = 0.1": (margins, alphas, 1e-6, 0.1),
        "no sample stops": (np.full(4, nan), alphas, 1e-6, 0.5),
        "no contraction: alpha_hat = 2.5 is not below 1": (margins, alphas + 2, 1e-6, 0.5),
        "no contraction: alpha_hat = 1 is not below 1": (margins, alphas + 0.5, 1e-6, 0.5),
        "no contraction: alpha_hat = inf is not below 1": (
            margins,
            np.array([0.1, np.inf]),
            1e-6,
            0.5,
        ),
        "no sample has a contraction rate": (margins, np.full(4, nan), 1e-6, 0.5),
        "no sample has a contraction rate; no sample stops": (
            np.full(4, nan),
            np.full(4, nan),
            1e-6,
            0.5,
        ),
        "the margin asked for, 0.224, is not below the quantile 0.2": (margins, alphas, 1e-3, 0.5),
    }
    for reason, (m, a, delta, beta) in cases.items():
        pac = pac_calibration(m, a, delta, 3, beta)
        assert not pac.holds and pac.reason == reason
        # No number where there is no right to one.
        assert pac.alpha < 1 or (
            np.isnan(pac.required) and np.isnan(pac.largest_delta) and not pac.paper_holds
        )
    for pairs in (2, 9):
        pac = pac_calibration(margins, alphas, 1e-6, 3, 0.3, pairs)
        assert (
            pac.reason
            == f"3 stops are too few for beta = 0.3 and a pair chosen on them among {pairs}"
            and pac.failure == 0.3 + 1 / 4
        )


@pytest.mark.parametrize(
    ("margin", "ours", "printed"),
    [(0.1875, True, True), (0.125, False, True), (0.0625, False, False)],
)
def test_a_margin_of_exactly_what_is_asked_for_keeps_only_the_printed_promise(
    margin, ours, printed
):
    """Asked for: 2 (2 + 1 / (1 - 1/2)) / 64 = 1/8.

    There drift and half the margin are equal: a tie, which TRACE Eq. 20 lets pass.
    """
    pac = pac_calibration(np.full(3, margin), np.array([0.5]), 2 / 64**2, 2, 0.5)
    assert (pac.required, pac.quantile, pac.paper_quantile) == (0.125, margin, margin)
    assert (pac.holds, pac.paper_holds, pac.reason == "") == (ours, printed, ours)


def test_selection_and_its_ties():
    deltas, omegas = [1e-6, 3e-6, 1e-5], [1, 2, 3]
    coverage = np.zeros((3, 3))
    assert select_pair(coverage, deltas, omegas) == (0, 2)
    coverage[1, 1] = 0.5
    assert select_pair(coverage, deltas, omegas) == (1, 1)
    coverage[2, 2] = coverage[1, 0] = 0.5
    assert select_pair(coverage, deltas, omegas) == (1, 1)
    assert select_pair(coverage, deltas[::-1], omegas) == (2, 2)
    coverage[0, 0] = np.nan
    assert select_pair(coverage, deltas, omegas) == (1, 1)


def test_selection_errors():
    with pytest.raises(ValueError, match="3 omegas"):
        select_pair(np.zeros((2, 2)), [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="no coverage"):
        select_pair(np.full((1, 1), np.nan), [1], [1])


@given(
    st.lists(st.tuples(st.integers(0, 64), st.booleans()), max_size=20), st.sampled_from([1, 4, 8])
)
def test_the_calibration_error_is_the_gap_of_each_bin_by_its_share(predictions, bins):
    confidence, correct = (
        np.array([c / 64 for c, _ in predictions]),
        np.array([right for _, right in predictions], dtype=bool),
    )
    found, expected = expected_calibration_error(confidence, correct, bins), 0.0
    for k in range(bins):
        inside = [
            (c, r)
            for c, r in zip(confidence, correct, strict=True)
            if k <= c * bins < k + 1 or (c == 1 and k == bins - 1)
        ]
        if inside:
            gap = sum(c for c, _ in inside) / len(inside) - sum(r for _, r in inside) / len(inside)
            expected += abs(gap) * len(inside) / len(predictions)
    np.testing.assert_allclose(found, expected if predictions else np.nan, atol=1e-15)


def test_bins_are_ten_tenths_and_certainty_belongs_to_the_last():
    """Too little and too much confidence cancel within a bin.

    .80 with .89, and .95 with 1, but not .89 with .95.
    """
    found = expected_calibration_error(
        np.array([0.8, 0.89, 0.95, 1.0]), np.array([True, False, True, False])
    )
    assert found == pytest.approx((abs(-0.2 + 0.89) + abs(-0.05 + 1.0)) / 4)
