import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.calibration import beta_quantile, paper_quantile, select_pair


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
    with pytest.raises(ValueError, match="NaN"):
        beta_quantile([0.1, float("nan")], 0.5)


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
