"""How large a training's updates of one matrix are, and where: the grid of EDIT Figures 3 to 5."""

from math import gcd, isqrt

import numpy as np

DEPTH = 8
"""Parameters of one cell (EDIT Figure 4: 256 x 256 x 8)."""


def grid_shape(parameters: int, depth: int = DEPTH) -> tuple[int, int, int]:
    """Rows, columns and depth of the grid that a matrix is folded into.

    A 4096 x 128 matrix gives EDIT's 256 x 256 x 8.

    A smaller one is folded as nearly square as its size allows; where `depth` does not divide it,
    cells are as deep as does.

    Args:
        parameters: Entries of the matrix, >= 1.
        depth: Entries of one cell, >= 1.

    Returns:
        Three numbers whose product is `parameters`; rows <= columns.

    >>> grid_shape(4096 * 128), grid_shape(192 * 8), grid_shape(7 * 5)
    ((256, 256, 8), (12, 16, 8), (5, 7, 1))
    """
    depth = gcd(parameters, depth)
    cells = parameters // depth
    rows = next(side for side in range(isqrt(cells), 0, -1) if cells % side == 0)
    return rows, cells // rows, depth


def magnitude_grid(update: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Mean magnitude of an update in each cell of its grid (EDIT Figures 3 to 5).

    The matrix is read row by row; `depth` successive entries make one cell. EDIT does not say how
    the eight numbers of a cell become one height: their mean is ours.

    Args:
        update: [d, r] of LoRA-B or [r, d_in] of LoRA-A, dimensionless, finite.
        depth: Entries of one cell.

    Returns:
        float64 [rows, columns] >= 0, see `grid_shape`; its mean is that of |update|.

    >>> magnitude_grid(
    ...     np.array([[1.0, -3.0], [0.0, 2.0], [5.0, 5.0], [-1.0, 0.0]]), depth=2
    ... ).tolist()
    [[2.0, 1.0], [5.0, 0.5]]
    """
    return np.abs(update.astype(np.float64)).reshape(grid_shape(update.size, depth)).mean(axis=2)


def eight_bits(grid: np.ndarray) -> np.ndarray:
    """Magnitudes on EDIT's scale, 0 to 255, the largest of the grid being 255.

    It hides how large they are: two matrices are compared in their own unit, not on this scale.

    Returns:
        float64 like `grid`; all 0 where nothing was updated.

    >>> eight_bits(np.array([[0.0, 0.1, 0.2]])).tolist()
    [[0.0, 127.5, 255.0]]
    """
    largest = grid.max()
    return 255 * grid / largest if largest > 0 else np.zeros_like(grid)
