import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracedlm.theory.parallelism import area_under_curve, area_weights, pareto_front

CURVES = st.lists(
    st.tuples(st.sampled_from([1.0, 2.0, 2.5, 4.0, 6.0, 9.0]), st.floats(0, 1)),
    min_size=2,
    max_size=8,
)


def line_at(points, x):
    """Accuracy at log-parallelism x, on the straight line between the neighbouring points.

    Points that share a place are averaged.
    """
    places = sorted({place for place, _ in points})
    means = {
        place: sum(y for p, y in points if p == place) / sum(p == place for p, _ in points)
        for place in places
    }
    left = max(place for place in places if place <= x)
    right = min((place for place in places if place > x), default=left)
    return (
        means[left]
        if left == right
        else means[left] + (means[right] - means[left]) * (x - left) / (right - left)
    )


@settings(max_examples=25)
@given(CURVES, st.floats(0, 1), st.floats(0, 1))
def test_area_is_the_mean_of_many_narrow_strips(points, a, b):
    parallelism, accuracy = (np.array(side) for side in zip(*points, strict=True))
    span = parallelism.max() / parallelism.min()
    low, high = (
        float(parallelism.min() * span**share) for share in sorted((0.9 * a, 0.9 * b + 0.05))
    )
    assume(high / low > 1.01 and high <= parallelism.max())
    logs = [(math.log(place), float(solved)) for place, solved in points]
    strips = 1000
    width = (math.log(high) - math.log(low)) / strips
    expected = sum(line_at(logs, math.log(low) + (n + 0.5) * width) for n in range(strips)) / strips
    assert area_under_curve(parallelism, accuracy, low, high) == pytest.approx(expected, abs=2e-3)


@given(CURVES, st.floats(0.1, 10))
def test_the_unit_of_parallelism_does_not_matter(points, unit):
    """Canvas tokens or written ones.

    A constant factor moves a curve and its limits, not its area.
    """
    parallelism, accuracy = (np.array(side) for side in zip(*points, strict=True))
    limits = (float(parallelism.min()), float(parallelism.max()))
    assume(limits[0] < limits[1])
    scaled = parallelism * unit
    area = area_under_curve(scaled, accuracy, float(scaled.min()), float(scaled.max()))
    assert area == pytest.approx(area_under_curve(parallelism, accuracy, *limits), abs=1e-9)
    assert accuracy.min() - 1e-9 <= area <= accuracy.max() + 1e-9


def test_every_way_to_store_the_points_gives_the_same_weights():
    """Powers of two are exact in float32; their logarithms are not, and must not be taken there."""
    places = [1, 2, 8]
    expected = [1 / 6, 1 / 2, 1 / 3]
    for kind in (np.int64, np.float32, np.float64):
        np.testing.assert_allclose(
            area_weights(np.array(places, dtype=kind), 1, 8), expected, rtol=1e-14
        )


def test_a_point_inside_straightens_nothing_and_one_outside_the_limits_still_bends_the_line():
    parallelism, accuracy = np.array([2.0, 4.0, 8.0]), np.array([1.0, 0.0, 1.0])
    assert area_under_curve(parallelism, accuracy, 2, 8) == pytest.approx(0.5)
    # From 4 to sqrt(32), halfway to 8, the line rises from 0 to 1/2.
    assert area_under_curve(parallelism, accuracy, 4, math.sqrt(32)) == pytest.approx(0.25)
    assert area_weights(parallelism, 4, 8)[0] == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("parallelism", "low", "high"),
    [
        ([4.0], 4, 4),
        ([4.0, 4.0], 4, 4),
        ([2.0, 8.0], 1.9, 8),
        ([2.0, 8.0], 2, 8.1),
        ([2.0, 8.0], 8, 2),
        ([2.0, 8.0], 4, 4),
        ([], 1, 2),
    ],
)
def test_nothing_is_extrapolated(parallelism, low, high):
    assert np.isnan(area_weights(np.array(parallelism), low, high)).all()
    assert not parallelism or math.isnan(
        area_under_curve(np.array(parallelism), np.ones(len(parallelism)), low, high)
    )


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_point_beats(points):
    def beats(one, other):
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    cost, value = np.array(points).T
    assert pareto_front(cost, value).tolist() == [
        not any(beats(other, point) for other in points) for point in points
    ]
