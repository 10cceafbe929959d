"""Clouds of known dimension, a slow twin, and what duplicates do."""

import math

import numpy as np
import pytest

from tracedlm.theory.dimension import (
    components_for,
    covariance_spectrum,
    distinct,
    neighbour_ratios,
    participation_ratio,
    two_nn,
)


def ball(d, ambient, n, seed=0):
    """Uniform in a d-dimensional ball, turned at random into a space of more dimensions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(n, d))
    points = (
        directions
        / np.linalg.norm(directions, axis=1, keepdims=True)
        * rng.random((n, 1)) ** (1 / d)
    )
    basis, _ = np.linalg.qr(rng.normal(size=(ambient, d)))
    return points @ basis.T


def estimate(points):
    return float(two_nn(neighbour_ratios(points)))


def slow_two_nn(points, discard=0.1):
    """Facco et al. 2017, steps 1 to 6, in plain Python."""
    ratios = []
    for i, point in enumerate(points):
        first, second = sorted(math.dist(point, other) for j, other in enumerate(points) if j != i)[
            :2
        ]
        ratios.append(second / first)
    ratios.sort()
    pairs = [
        (math.log(mu), -math.log(1 - (i + 1) / len(ratios)))
        for i, mu in enumerate(ratios)
        if i < int(len(ratios) * (1 - discard))
    ]
    return sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_uniform_ball_has_its_dimension_wherever_it_is_embedded(d):
    assert estimate(ball(d, ambient=12, n=2000)) == pytest.approx(d, rel=0.08)


def test_two_nn_is_its_slow_twin():
    points = ball(3, ambient=4, n=60)
    assert estimate(points) == pytest.approx(slow_two_nn(points.tolist()), rel=1e-12)


@pytest.mark.parametrize(
    ("d", "ambient", "n", "expected"),
    [(3, 3, 400, 3.160676764957807), (7, 40, 400, 6.676081096542076)],
)
def test_two_nn_is_that_of_scikit_dimension(d, ambient, n, expected):
    """Expected: `skdim.id.TwoNN()` of scikit-dimension 0.5.0, not a dependency.

    It brings numba, and 40 times the code.
    """
    points = np.random.default_rng(d).normal(size=(n, d)) @ np.random.default_rng(d + 1).normal(
        size=(d, ambient)
    )
    assert estimate(points) == pytest.approx(expected, rel=1e-12)


def test_resamples_are_estimated_row_by_row():
    ratios = neighbour_ratios(ball(2, ambient=2, n=50))
    draws = np.stack([ratios, ratios[::-1] ** 2])
    np.testing.assert_allclose(two_nn(draws), [two_nn(ratios), two_nn(ratios) / 2])


def test_doubled_points_ruin_two_nn_and_are_dropped():
    points = ball(3, ambient=6, n=300)
    # The last bits of float32.
    nearly = points + 1e-8 * np.random.default_rng(1).normal(size=points.shape)
    doubled = np.concatenate([points, nearly, points[:50]])
    assert estimate(doubled[:600]) < 0.3
    assert distinct(doubled).tolist() == list(range(300))
    assert distinct(np.ones((5, 2))).tolist() == [0]


@pytest.mark.parametrize("place", [(0.0, 0.0), (700.0, -300.0)])
@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_what_a_duplicate_is_depends_neither_on_the_unit_nor_on_the_origin(unit, place):
    """Twins of the first points at half and at twice the tolerance, which is relative to the
    cloud's radius about its own mean.
    """
    cloud = np.random.default_rng(0).normal(size=(40, 2))
    radius = math.sqrt(np.square(cloud - cloud.mean(axis=0)).sum() / len(cloud))
    twins = [cloud[:5] + times * 1e-3 * radius * np.array([0.6, 0.8]) for times in (0.5, 2.0)]
    points = unit * (np.concatenate([cloud, *twins]) + np.array(place))
    assert distinct(points, tolerance=1e-3).tolist() == [*range(40), *range(45, 50)]


@pytest.mark.filterwarnings("error")
def test_two_nn_needs_two_ratios_of_which_one_is_above_1():
    """Of n ratios a tenth, rounded up, is left out.

    Of two one is left, of three two, where -log(1 - F) is log 3/2 and log 3.
    """
    assert math.isnan(two_nn(np.array([2.0, 3.0]))) and math.isnan(two_nn(np.ones(20)))
    x = math.log(1.1), math.log(1.2)
    expected = (x[0] * math.log(1.5) + x[1] * math.log(3)) / (x[0] ** 2 + x[1] ** 2)
    assert two_nn(np.array([1.3, 1.1, 1.2])) == pytest.approx(expected, rel=1e-12)


def test_spectrum_is_that_of_the_covariance_and_weights_are_repetitions():
    points = ball(4, ambient=5, n=40) * np.array([3.0, 1, 1, 1, 1])
    np.testing.assert_allclose(
        covariance_spectrum(points),
        np.linalg.eigvalsh(np.cov(points.T, bias=True))[::-1],
        atol=1e-12,
    )
    counts = np.arange(40) % 3
    np.testing.assert_allclose(
        covariance_spectrum(points, counts),
        covariance_spectrum(np.repeat(points, counts, axis=0)),
        atol=1e-12,
    )


def test_linear_dimensions_of_a_flat_cloud():
    spectrum = covariance_spectrum(np.random.default_rng(0).normal(size=(20_000, 4)) @ np.eye(4, 9))
    assert participation_ratio(spectrum) == pytest.approx(4, rel=0.01)
    # A variance, whatever its last digit.
    assert covariance_spectrum(ball(3, ambient=12, n=50)).min() >= 0
    assert components_for(spectrum) == 4
    assert components_for(np.array([9.0, 1.0])) == 1  # exactly the share
    assert math.isnan(components_for(np.zeros(3)))
