"""How alike two maps are, and how alike they would be by chance."""

import math

import numpy as np


def cosines(maps: np.ndarray) -> np.ndarray:
    """Cosine of every pair of maps.

    A map has no negative entry, so that unrelated maps are alike too: compare with `chance_cosine`,
    or read `correlations`.

    Args:
        maps: [m, d], each of unit length.

    Returns:
        [m, m] in [0, 1], diagonal 1.

    >>> cosines(np.array([[1.0, 0.0], [0.6, 0.8]])).round(12).tolist()
    [[1.0, 0.6], [0.6, 1.0]]
    """
    maps = maps.astype(np.float64)
    return np.minimum(maps @ maps.T, 1.0)


def correlations(maps: np.ndarray) -> np.ndarray:
    """Pearson correlation of every pair of maps over features.

    The agreement statistic of TRACE App. D.

    Args:
        maps: [m, d].

    Returns:
        [m, m] in [-1, 1]; NaN where a map is constant.

    >>> correlations(np.array([[0.1, 0.2, 0.3], [0.4, 0.3, 0.2]])).round(12).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    maps = maps.astype(np.float64)
    centred = maps - maps.mean(axis=1, keepdims=True)
    # What centring leaves of a constant map is rounding, in proportion to the map's own length.
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    own_length = np.linalg.norm(maps, axis=1, keepdims=True)
    rounding = np.finfo(float).eps * np.sqrt(maps.shape[1]) * own_length
    unit = centred / np.where(length <= rounding, np.nan, length)
    return np.clip(unit @ unit.T, -1.0, 1.0)


def chance_cosine(rank: int) -> float:
    """Cosine between the row energies of two independent Gaussian mean updates.

    In the limit of many features.

    Rows of r independent entries have chi-distributed energies, so the cosine is E[chi_r]^2 / r:
    0.64 for one column, 0.94 for 8 and 0.996 for 128. A cosine of two maps says something by how
    much it exceeds this.

    Args:
        rank: Columns r of the mean update, >= 1.

    Returns:
        In [2/pi, 1).

    >>> round(chance_cosine(1), 6), round(chance_cosine(8), 3), round(chance_cosine(128), 4)
    (0.63662, 0.94, 0.9961)
    """
    return 2 * math.exp(2 * (math.lgamma((rank + 1) / 2) - math.lgamma(rank / 2))) / rank
