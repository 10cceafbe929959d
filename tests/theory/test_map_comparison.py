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
    found = compare.correlations(np.array([[0.5] * 4, [0.1, 0.2, 0.3, 0.4]]))
    assert np.isnan(found[0]).all() and found[1, 1] == pytest.approx(1)


@pytest.mark.parametrize("rank", [1, 2, 8])
def test_unrelated_maps_are_alike_by_chance(rank):
    """Two independent Gaussian updates: their energies have the cosine of the formula, and no correlation."""
    rng = np.random.default_rng(rank)
    maps = np.stack([moments.unit(moments.row_energy(rng.normal(size=(20_000, rank)))) for _ in range(2)])
    assert compare.cosines(maps)[0, 1] == pytest.approx(compare.chance_cosine(rank), abs=0.005)
    assert abs(compare.correlations(maps)[0, 1]) < 0.03
