"""Clouds of known dimension inside padded sentences."""

import numpy as np
import pytest

from tracedlm.dynamics import dimension_measures


def measured(states, attention, **settings):
    found = dimension_measures(
        states[None].astype(np.float32), attention, seed=0, resamples=20, **settings
    )
    return {(one.module, one.metric): one for one in found}


@pytest.fixture(scope="module")
def plane():
    """Tokens in a 3-dimensional cube inside 8 dimensions; what stands at padding is poison."""
    rng = np.random.default_rng(0)
    attention = (np.arange(6) < rng.integers(3, 7, size=(400, 1))).astype(int)
    states = rng.random((400, 6, 3)) @ np.linalg.qr(rng.normal(size=(8, 3)))[0].T
    states[attention == 0] = np.nan
    return states, attention


def test_padding_is_dropped_and_the_dimension_found(plane):
    states, attention = plane
    found = measured(states, attention, points=1000)
    for cloud, n in (("token", 1000), ("sentence", 400)):
        value = found[cloud, "two_nn"]
        assert value.value == pytest.approx(3, rel=0.15) and value.n == n
        assert found[cloud, "participation_ratio"].value == pytest.approx(3, rel=0.05)
        assert found[cloud, "components_90"].value == 3
    lengths = attention.sum(1)
    assert found["flat", "two_nn"].n == np.bincount(lengths).max()
    assert ("flat", "participation_ratio") not in found


def test_intervals_hold_the_estimate_and_shrink_with_the_cloud(plane):
    few, many = (measured(*plane, points=points) for points in (100, 1600))
    for metric in ("two_nn", "participation_ratio"):
        widths = []
        for found in (few, many):
            low, high = (found["token", f"{metric}_{end}"].value for end in ("low", "high"))
            assert low < found["token", metric].value < high
            widths.append(high - low)
        assert widths[1] < 0.5 * widths[0]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """40 clouds on a plane: a 95 % interval of TwoNN misses 2 rarely.

    Its standard error is the spread over clouds.
    """
    rng = np.random.default_rng(5)
    rows = [measured(rng.random((200, 1, 2)), np.ones((200, 1), dtype=int)) for _ in range(40)]
    inside = [
        row["token", "two_nn_low"].value <= 2 <= row["token", "two_nn_high"].value for row in rows
    ]
    assert sum(inside) >= 33
    spread = np.std([row["token", "two_nn"].value for row in rows])
    assert np.mean([row["token", "two_nn"].stderr for row in rows]) == pytest.approx(
        spread, rel=0.4
    )


def test_duplicates_are_dropped_and_too_few_points_have_no_dimension(plane):
    states, attention = plane
    once = measured(states, attention)["token", "two_nn"]
    twice = measured(
        np.concatenate([states, states]), np.concatenate([attention, attention]), points=10_000
    )["token", "two_nn"]
    assert twice.n == attention.sum() and twice.value == pytest.approx(once.value, rel=0.05)
    same = measured(np.ones((30, 4, 5)), np.ones((30, 4), dtype=int))["sentence", "two_nn"]
    assert (same.value, same.n, same.reason) == (None, 1, "1 distinct points, fewer than 10")
