"""Matrices of known spectrum, seen through products only."""

import numpy as np
import pytest

from tracedlm.theory.curvature import (
    alignment,
    lanczos,
    mean_and_error,
    negative_mass,
    negative_share,
    quadrature,
)


def symmetric(eigenvalues, seed=0):
    basis, _ = np.linalg.qr(
        np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues)))
    )
    return basis * np.asarray(eigenvalues) @ basis.T


def test_a_whole_lanczos_run_is_the_spectrum():
    eigenvalues = np.linspace(-3, 5, 12)
    H = symmetric(eigenvalues)
    nodes, weights = quadrature(
        *lanczos(H.__matmul__, np.random.default_rng(1).normal(size=12), 12)
    )
    np.testing.assert_allclose(nodes, eigenvalues, atol=1e-10)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("steps", [1, 3])
def test_quadrature_is_exact_for_polynomials_below_twice_its_nodes(steps):
    H, start = symmetric(np.linspace(-1, 4, 30) ** 3), np.random.default_rng(2).normal(size=30)
    nodes, weights = quadrature(*lanczos(H.__matmul__, start, steps))
    for degree in range(2 * steps):
        assert weights @ nodes**degree == pytest.approx(
            start @ np.linalg.matrix_power(H, degree) @ start / (start @ start)
        )


def test_lanczos_stops_where_the_krylov_space_ends():
    calls = []
    alpha, beta = lanczos(lambda v: calls.append(v) or 2.0 * v, np.ones(7), 5)
    assert (alpha.round(12).tolist(), beta.tolist(), len(calls)) == ([2.0], [], 1)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_loss_is_that_of_the_eigenvalues_and_changes_no_share(unit):
    H, start = symmetric(np.linspace(-0.2, 1, 8)), np.arange(1.0, 9)
    (nodes, weights), (scaled, same) = (
        quadrature(*lanczos((scale * H).__matmul__, start, 5)) for scale in (1.0, unit)
    )
    np.testing.assert_allclose(scaled, unit * nodes, rtol=1e-9)
    np.testing.assert_allclose(same, weights, rtol=1e-9)
    assert negative_share(scaled, same) == pytest.approx(negative_share(nodes, weights)) != 0
    assert negative_mass(scaled, same) == pytest.approx(negative_mass(nodes, weights)) != 0


@pytest.mark.filterwarnings("error")
def test_where_nothing_is_curved_nothing_is_negative():
    flat = np.zeros(3), np.ones(3) / 3
    assert negative_share(*flat) == 0 and np.isnan(negative_mass(*flat))


def test_negative_part_of_a_known_spectrum():
    """30 of 100 eigenvalues are -1, 20 are 0, 50 are 2: share 0.3, mass 30 / 130."""
    H = symmetric([-1.0] * 30 + [0.0] * 20 + [2.0] * 50)
    rng = np.random.default_rng(3)
    runs = [
        quadrature(*lanczos(H.__matmul__, rng.choice([-1.0, 1.0], size=100), 10))
        for _ in range(200)
    ]
    for statistic, expected in ((negative_share, 0.3), (negative_mass, 30 / 130)):
        mean, error = mean_and_error([statistic(*run) for run in runs])
        assert mean == pytest.approx(expected, abs=4 * error)
        assert error < 0.01


@pytest.mark.parametrize("drift", [-1e-4, 1e-4])
def test_a_bulk_about_zero_is_not_counted_by_the_accident_of_its_sign(drift):
    """As in networks: 990 of 1,000 eigenvalues are about 0, five are clearly negative."""
    rng = np.random.default_rng(5)
    eigenvalues = np.concatenate(
        [np.linspace(-3, -2, 5), drift + 1e-3 * rng.normal(size=990), np.linspace(2, 10, 5)]
    )
    nodes, weights = quadrature(
        *lanczos(lambda v: eigenvalues * v, rng.choice([-1.0, 1.0], size=1000), 10)
    )
    assert negative_share(nodes, weights) == pytest.approx(0.005, abs=1e-3)


def test_random_signs_give_the_trace_with_its_error():
    H, rng = symmetric(np.linspace(-1, 9, 50)), np.random.default_rng(4)
    signs = rng.choice([-1.0, 1.0], size=(400, 50))
    mean, error = mean_and_error([v @ H @ v for v in signs])
    assert mean == pytest.approx(np.trace(H), abs=4 * error)
    spread = np.sqrt(2 * (np.square(H).sum() - np.square(np.diag(H)).sum()))
    assert error == pytest.approx(spread / 20, rel=0.15)


def test_alignment_lies_within_the_spectrum_and_is_one_on_an_eigenvector():
    H = symmetric([-2.0, 1.0, 5.0])
    vector = np.linalg.eigh(H)[1][:, 0]
    for length in (1.0, 1e-3, 4.0):  # a direction has none
        assert alignment(length * vector, H @ (length * vector)) == pytest.approx((-2, -1))
    assert np.isnan(alignment(np.zeros(3), np.zeros(3))).all()
