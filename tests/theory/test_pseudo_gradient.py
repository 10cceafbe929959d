import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.pseudo_gradient import (
    Band,
    convergence_step,
    nearest_step,
    root_mean_square,
    stable_band,
    weight_gradient,
)

BAND = Band(mean=2.0, deviation=1.0, width=1.0)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=30), st.floats(0.1, 3))
def test_the_band_is_mean_and_deviation_of_the_log(rms, width):
    band, mean = stable_band(np.array(rms), width), sum(rms) / len(rms)
    deviation = (sum((x - mean) ** 2 for x in rms) / (len(rms) - 1)) ** 0.5
    assert (band.mean, band.deviation) == pytest.approx((mean, deviation), abs=1e-9)
    assert (band.low, band.high) == pytest.approx(
        (mean - width * deviation, mean + width * deviation), abs=1e-9
    )


@pytest.mark.parametrize("rms", [[], [1.0], [1.0, np.nan], [1.0, np.inf]])
def test_a_band_of_nothing_is_an_error(rms):
    with pytest.raises(ValueError, match="at least two finite gradients"):
        stable_band(np.array(rms))


@given(st.lists(st.one_of(st.floats(0, 5), st.just(np.nan)), max_size=20))
def test_convergence_is_the_first_step_from_which_all_lie_in_the_band(rms):
    inside = [1.0 <= x <= 3.0 for x in rms]
    expected = next((t for t in range(1, len(rms) + 1) if all(inside[t - 1 :])), None)
    assert convergence_step(np.array(rms), BAND) == expected


def test_the_nearest_step_need_not_be_where_it_settles():
    """EDIT's formula and EDIT's words are two rules: the formula takes a step before the spike."""
    rms = np.array([9.0, 2.0, 8.0, 1.5, 2.5])
    assert (nearest_step(rms, BAND.mean), convergence_step(rms, BAND)) == (2, 4)
    assert nearest_step(np.array([]), 1.0) is None and nearest_step(np.array([np.nan]), 1.0) is None


def test_gradients_stored_in_float32_are_compared_in_float64():
    """0.1 in float32 is above 0.1, and 2 + 1e-8 is nearer to 3 than to 1.

    Rounded to float32 the edge and the mean would move.
    """
    rms = np.random.default_rng(0).random(1000).astype(np.float32)
    assert stable_band(rms) == stable_band(rms.astype(float))
    assert (
        convergence_step(
            np.array([0.1], dtype=np.float32), Band(mean=0.0, deviation=0.1, width=1.0)
        )
        is None
    )
    assert nearest_step(np.array([1.0, 3.0], dtype=np.float32), 2 + 1e-8) == 2


def test_weight_gradient_is_the_sum_over_tokens():
    rng = np.random.default_rng(0)
    g, a = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 3))
    expected = np.array([sum(np.outer(g[p, s], a[p, s]) for s in range(5)) for p in range(2)])
    np.testing.assert_allclose(weight_gradient(g, a), expected)
    np.testing.assert_allclose(
        root_mean_square(expected), [np.sqrt(np.mean(m**2)) for m in expected]
    )
