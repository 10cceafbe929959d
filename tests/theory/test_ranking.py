"""Rank agreement against pairs counted by hand.

Gaps that noise can explain are not called resolved.
"""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.ranking import (
    accuracy_interval,
    change_of_gap,
    kendall_tau,
    paired_gap,
    paired_spearman,
)
from tracedlm.theory.resampling import bootstrap_interval, mcnemar


def counted_tau(x, y):
    """Concordant less discordant pairs, over the geometric mean of the pairs that are no tie on
    either side.
    """
    signs = [
        (np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in combinations(range(len(x)), 2)
    ]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    return sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1])


scores = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=7)


@given(scores)
def test_tau_is_what_counting_pairs_gives(pairs):
    x, y = np.array(pairs, dtype=float).T
    tau = kendall_tau(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(tau)
    else:
        assert tau == pytest.approx(counted_tau(x, y), abs=1e-12)
        assert kendall_tau(x, -y) == pytest.approx(-tau, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_one_method_has_no_order():
    assert math.isnan(kendall_tau(np.array([0.5]), np.array([0.7]))) and math.isnan(
        kendall_tau(np.array([]), np.array([]))
    )


def answers(*counts):
    """Outcomes [n, 1] of two methods, by how many problems are solved by both, only the first, only
    the second, neither.
    """
    pairs = (
        [(1, 1)] * counts[0] + [(1, 0)] * counts[1] + [(0, 1)] * counts[2] + [(0, 0)] * counts[3]
    )
    a, b = np.array(pairs, dtype=float).T
    return a[:, None], b[:, None]


@pytest.mark.parametrize(
    ("counts", "resolved"),
    [
        ((10, 12, 0, 10), True),
        ((10, 3, 1, 10), False),
        ((10, 0, 0, 10), False),
        ((0, 9, 0, 0), True),
        ((0, 3, 0, 0), False),
    ],
)
def test_a_gap_is_resolved_by_interval_and_test(counts, resolved):
    a, b = answers(*counts)
    gap = paired_gap(a, b, np.random.default_rng(0))
    assert gap.mean == pytest.approx((counts[1] - counts[2]) / sum(counts)) and gap.p == mcnemar(
        a[:, 0], b[:, 0]
    )
    assert gap.resolved is resolved
    if np.ptp(a - b):
        assert gap.low <= gap.mean <= gap.high
    else:
        assert math.isnan(gap.low) and math.isnan(gap.high)


def test_answers_to_one_problem_are_one_draw():
    """Asking each of 40 problems nine times, with the same outcomes, tells no more about other
    problems than asking once.
    """
    rng = np.random.default_rng(1)
    a, b = ((rng.random((40, 1)) < share).astype(float) for share in (0.6, 0.5))
    once, often = (
        paired_gap(np.repeat(a, k, 1), np.repeat(b, k, 1), np.random.default_rng(0)) for k in (1, 9)
    )
    assert (often.low, often.high, often.mean) == pytest.approx(
        (once.low, once.high, once.mean)
    ) and math.isnan(often.p)
    assert once.high - once.low > 0.2


def test_under_the_null_few_gaps_are_resolved():
    """Two methods of the same accuracy.

    At most 5 % of gaps are called resolved (binomial slack at 300 draws).
    """
    rng = np.random.default_rng(0)
    drawn = [paired_gap(*(rng.random((2, 40, 1)) < 0.5).astype(float), rng) for _ in range(300)]
    assert np.mean([gap.resolved for gap in drawn]) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_the_change_of_a_gap_by_hand():
    a, b = answers(0, 4, 0, 4)
    other_a, other_b = answers(0, 0, 4, 4)
    change = change_of_gap(a, b, other_a, other_b, np.random.default_rng(0))
    assert change.mean == 1.0 and math.isnan(change.p) and change.low > 0 and change.resolved


def test_the_change_of_a_gap_is_drawn_over_problems():
    """What a problem's answers share, it keeps.

    Its change is one number, and the interval is that of these numbers.
    """
    answered = (
        np.random.default_rng(1).random((4, 12, 3)) < np.array([0.8, 0.3, 0.5, 0.4])[:, None, None]
    ).astype(float)
    changes = [
        (sum(a) - sum(b)) / 3 - (sum(c) - sum(d)) / 3 for a, b, c, d in zip(*answered, strict=True)
    ]
    found = change_of_gap(*answered, np.random.default_rng(0))
    assert found.mean == pytest.approx(sum(changes) / 12)
    assert (found.low, found.high) == pytest.approx(
        bootstrap_interval(np.array(changes), rng=np.random.default_rng(0))
    )


def test_two_problems_have_an_interval_and_one_has_none():
    rng = np.random.default_rng(0)
    assert accuracy_interval(np.array([[0.0, 0.0], [1.0, 1.0]]), rng) == (0, 1)
    assert np.isnan(accuracy_interval(np.array([[0.0, 1.0]]), rng)).all()


def test_an_accuracy_of_several_answers_has_a_wider_interval_than_independent_ones_would():
    solved = np.repeat(np.arange(40) < 20, 4).reshape(40, 4).astype(float)
    low, high = accuracy_interval(solved, np.random.default_rng(0))
    assert low < 0.4 and high > 0.6  # 160 independent answers would give 0.42 to 0.58
    assert all(
        math.isnan(end) for end in accuracy_interval(np.ones((5, 2)), np.random.default_rng(0))
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=5))
def test_spearman_of_few_pairs_has_the_p_of_all_permutations(pairs):
    x, y = np.array(pairs, dtype=float).T
    rho, p = paired_spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(rho) and math.isnan(p)
        return
    assert rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    all_of_them = [scipy.stats.spearmanr(order, y).statistic for order in permutations(x)]
    shares = [
        np.mean(np.array(all_of_them) >= rho - 1e-9),
        np.mean(np.array(all_of_them) <= rho + 1e-9),
    ]
    assert p == pytest.approx(min(1, 2 * min(shares)))


def test_the_p_of_more_than_seven_pairs_is_that_of_so_many_random_permutations():
    """Two-sided and never 0: what was observed counts as one more permutation.

    The same call gives the same p.
    """
    order, other = np.arange(10.0), np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    assert paired_spearman(order, order)[1] == pytest.approx(2 / 10_001)
    assert paired_spearman(order, order, resamples=99)[1] == pytest.approx(2 / 100)
    assert paired_spearman(order, other, resamples=999) == paired_spearman(
        order, other, resamples=999
    )
    assert paired_spearman(order, other)[1] == pytest.approx(
        scipy.stats.spearmanr(order, other).pvalue, abs=0.05
    )
