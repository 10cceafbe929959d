"""The grid of EDIT Figures 3 to 5 against loops over single parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.magnitude import eight_bits, grid_shape, magnitude_grid


@pytest.mark.parametrize("shape", [(4096, 128), (128, 4096)])
def test_the_papers_projection_gives_the_papers_grid(shape):
    assert grid_shape(shape[0] * shape[1]) == (256, 256, 8)
    assert magnitude_grid(np.zeros(shape, np.float32)).shape == (256, 256)


@given(st.integers(1, 5000), st.integers(1, 12))
def test_a_grid_holds_every_parameter_once_and_is_as_square_as_its_size_allows(parameters, depth):
    rows, columns, deep = grid_shape(parameters, depth)
    assert rows * columns * deep == parameters and rows <= columns and depth % deep == 0
    assert not any(
        parameters // deep % side == 0
        for side in range(rows + 1, int((parameters // deep) ** 0.5) + 1)
    )


def twin(update, depth):
    """Parameter by parameter: its place in the matrix read row by row says its cell."""
    rows, columns, deep = grid_shape(update.size, depth)
    total = [[0.0] * columns for _ in range(rows)]
    for i in range(update.shape[0]):
        for j in range(update.shape[1]):
            cell = (i * update.shape[1] + j) // deep
            total[cell // columns][cell % columns] += abs(float(update[i, j])) / deep
    return np.array(total)


@pytest.mark.parametrize("shape", [(32, 4), (4, 32), (24, 5), (7, 3)])
@pytest.mark.parametrize("depth", [8, 3])
def test_each_cell_is_the_mean_of_its_own_parameters(shape, depth):
    update = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(magnitude_grid(update, depth), twin(update, depth), rtol=1e-12)
    assert magnitude_grid(update, depth).mean() == pytest.approx(
        np.abs(update.astype(float)).mean(), rel=1e-12
    )


def test_one_large_parameter_is_one_peak_where_it_lies():
    update = np.zeros((32, 4))
    update[13, 2] = -8
    grid = magnitude_grid(update)
    cell = (13 * 4 + 2) // 8
    assert np.argwhere(grid).tolist() == [[cell // 4, cell % 4]] and grid.max() == 1


def test_the_papers_scale_ends_at_255_and_an_untrained_matrix_has_none():
    grid = magnitude_grid(np.random.default_rng(1).normal(size=(16, 8)))
    scaled = eight_bits(grid)
    assert scaled.max() == 255 and np.corrcoef(scaled.ravel(), grid.ravel())[0, 1] == pytest.approx(
        1
    )
    assert eight_bits(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]
