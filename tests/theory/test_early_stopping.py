import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.early_stopping import mean_interval, plateau


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=12), st.integers(1, 4))
def test_a_plateau_is_seen_without_the_future(values, patience):
    found = plateau(values, 0.05, patience)
    if found is None:
        assert all(plateau(values[:end], 0.05, patience) is None for end in range(len(values) + 1))
    else:
        assert found >= patience and plateau(values[: found + 1], 0.05, patience) == found
        assert None not in values[found - patience : found + 1]


def test_an_undefined_value_begins_the_wait_anew():
    assert plateau([1.0, 1.0, None, 1.0, 1.0, 1.0], 0.01, 2) == 5


def test_the_interval_covers_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        _, low, high = mean_interval(rng.normal(size=3).tolist())
        hits += low <= 0 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_one_run_has_no_interval():
    mean, low, high = mean_interval([2.0])
    assert mean == 2.0 and math.isnan(low) and math.isnan(high) and math.isnan(mean_interval([])[0])
