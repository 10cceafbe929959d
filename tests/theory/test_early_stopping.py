import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.early_stopping import mean_interval, plateau, turn_differences


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=12), st.integers(1, 4))
def test_a_plateau_is_seen_without_the_future(values, patience):
    found = plateau(values, 0.05, patience)
    if found is None:
        assert all(plateau(values[:end], 0.05, patience) is None for end in range(len(values) + 1))
    else:
        assert found >= patience and plateau(values[: found + 1], 0.05, patience) == found
        assert None not in values[found - patience : found + 1]


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=12), st.integers(-20, 20))
def test_rest_does_not_depend_on_the_unit(values, power):
    scaled = [None if value is None else value * 2.0**power for value in values]
    assert plateau(scaled, 0.25, 2) == plateau(values, 0.25, 2)


def test_a_change_of_just_the_tolerance_is_rest():
    assert plateau([2.0, 1.0], tolerance=0.5, patience=1) == 1
    assert plateau([0.0, 0.0, 0.0], tolerance=0.0, patience=2) == 2


def test_an_undefined_value_begins_the_wait_anew():
    assert plateau([1.0, 1.0, None, 1.0, 1.0, 1.0], 0.01, 2) == 5


def test_the_interval_covers_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        _, low, high = mean_interval(rng.normal(size=3).tolist())
        hits += low <= 0 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_noise_is_seldom_said_to_fall_though_it_always_lies_above_its_own_lowest_point():
    rng, falls, naive, trials = np.random.default_rng(0), 0, 0, 1000
    for _ in range(trials):
        curves = rng.normal(size=(3, 8))
        falls += mean_interval(turn_differences(curves)[0].tolist())[1] > 0
        naive += (
            mean_interval((curves[:, 0] - curves[:, curves.mean(axis=0).argmin()]).tolist())[1] > 0
        )
    # 0.025 is meant; runs that choose for each other are not quite independent.
    assert falls / trials < 0.055 and naive / trials > 0.08


def test_a_turn_that_all_runs_share_is_found():
    curves = np.array([5.0, 1.0, 4.0]) + 0.1 * np.random.default_rng(0).normal(size=(3, 3))
    assert all(mean_interval(found.tolist())[1] > 0 for found in turn_differences(curves))
    assert np.isnan(turn_differences(curves[:1])).all()


def test_the_interval_of_two_runs_is_that_of_a_cauchy_variable():
    mean, low, high = mean_interval([1.0, 3.0])  # Student's t with one degree of freedom
    assert (mean, low, high) == pytest.approx(
        (2, 2 - math.tan(0.475 * math.pi), 2 + math.tan(0.475 * math.pi))
    )


@pytest.mark.filterwarnings("error")
def test_one_run_has_no_interval():
    mean, low, high = mean_interval([2.0])
    assert mean == 2.0 and math.isnan(low) and math.isnan(high) and math.isnan(mean_interval([])[0])
