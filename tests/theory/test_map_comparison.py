import numpy as np
import pytest

from tracedlm.theory import map_comparison as compare
from tracedlm.theory import moments


def test_agreement_by_hand():
    maps = np.array([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8], [0.8, 0.6, 0.0]], np.float32)
    cosine, correlation = compare.cosines(maps), compare.correlations(maps)
    assert cosine[0, 1] == pytest.approx(0.48) and cosine[0, 2] == pytest.approx(0.96)
    for i in range(3):
        for j in range(3):
            assert correlation[i, j] == pytest.approx(np.corrcoef(maps[i], maps[j])[0, 1], abs=1e-6)


def test_a_constant_map_correlates_with_nothing():
    for constant in (0.5, 0.1, 1e6 / 3):  # the mean of three times 0.1 is not 0.1
        found = compare.correlations(np.array([[constant] * 3, [0.1, 0.2, 0.4]]))
        assert np.isnan(found[0]).all() and found[1, 1] == pytest.approx(1)


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_correlation_does_not_depend_on_the_unit(unit):
    maps = np.random.default_rng(0).random((4, 20))
    np.testing.assert_allclose(compare.correlations(unit * maps), np.corrcoef(maps), atol=1e-12)


def test_rounding_takes_no_statistic_out_of_its_range():
    rng = np.random.default_rng(1)
    for one in rng.integers(0, 1024, (50, 1, 9)):
        pair = np.concatenate([one, 1024 - one]) / 1024
        found = compare.correlations(pair)
        assert found.min() >= -1 and found.max() <= 1
        assert compare.cosines(moments.unit(pair[0].astype(np.float32))[None]).max() <= 1


@pytest.mark.parametrize("rank", [1, 2, 8])
def test_unrelated_maps_are_alike_by_chance(rank):
    """Two independent Gaussian updates.

    Their energies have the cosine of the formula, and no correlation.
    """
    rng = np.random.default_rng(rank)
    maps = np.stack(
        [moments.unit(moments.row_energy(rng.normal(size=(20_000, rank)))) for _ in range(2)]
    )
    assert compare.cosines(maps)[0, 1] == pytest.approx(compare.chance_cosine(rank), abs=0.005)
    assert abs(compare.correlations(maps)[0, 1]) < 0.03
