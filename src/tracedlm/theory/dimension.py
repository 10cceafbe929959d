"""Intrinsic dimension of a cloud of points.

From two nearest neighbours (TwoNN), and from the spectrum of its covariance (PCA).
"""

import math

import numpy as np
from scipy.spatial import KDTree

COINCIDENT = 1e-5
"""Points closer than this are one point computed twice in float32.

Relative to the cloud's root mean square radius.
"""


def distinct(points: np.ndarray, tolerance: float = COINCIDENT) -> np.ndarray:
    """Indices of points of which no earlier one is a duplicate.

    States of the same words in the same context are one point of the data manifold, though their
    last bits differ with the batch they were computed in. Left in, doubled points alone take TwoNN
    to 0.05 (dynamics 5).

    Args:
        points: [n, d].
        tolerance: Distance, relative to the root mean square distance from the mean, up to which
            points are the same.

    Returns:
        int64 [m], ascending.

    >>> distinct(np.array([[0.0], [1.0], [1.0 + 1e-9], [0.0], [3.0]])).tolist()
    [0, 1, 4]
    """
    # Exact copies first: pairs of many copies are many.
    _, first = np.unique(points, axis=0, return_index=True)
    first = np.sort(first)
    kept = np.asarray(points[first], dtype=float)
    radius = np.sqrt(np.square(kept - kept.mean(axis=0)).sum(axis=1).mean())
    later = KDTree(kept).query_pairs(tolerance * radius, output_type="ndarray")[:, 1]
    return np.delete(first, later)


def neighbour_ratios(points: np.ndarray) -> np.ndarray:
    """Ratio r2 / r1 = mu of each point.

    Distances to its second and its first neighbour (Facco et al. 2017).

    Args:
        points: [n, d], n >= 3, all distinct.

    Returns:
        [n], at least 1.

    >>> neighbour_ratios(np.array([[0.0], [1.0], [3.0]])).tolist()
    [3.0, 2.0, 1.5]
    """
    distances, _ = KDTree(points).query(points, k=3)
    return distances[:, 2] / distances[:, 1]


def two_nn(ratios: np.ndarray, discard: float = 0.1) -> np.ndarray:
    """Intrinsic dimension by TwoNN (Facco et al. 2017).

    Slope through the origin of -log(1 - F(mu)) over log mu.

    Assumes that density is constant up to the second neighbour. It is low in high dimensions for
    want of points: 4,000 points of a 25-dimensional Gaussian give 20. Compare clouds of the same
    size only.

    Args:
        ratios: [n] of `neighbour_ratios`, or [..., n] of resamples.
        discard: Share of the largest ratios that is left out, in (0, 1).

    Returns:
        [...], > 0; NaN where fewer than 2 ratios are left or all are 1.

    >>> d = 3.0
    >>> round(float(two_nn((1 - np.arange(1, 101) / 100.5) ** (-1 / d))), 1)
    3.0
    """
    n = ratios.shape[-1]
    kept = int(n * (1 - discard))
    log_mu = np.log(np.sort(ratios, axis=-1)[..., :kept])
    survival = -np.log1p(-np.arange(1, kept + 1) / n)
    scale = (log_mu * log_mu).sum(axis=-1)
    defined = (scale > 0) & (kept >= 2)
    return np.divide(
        (log_mu * survival).sum(axis=-1),
        scale,
        out=np.full(np.shape(scale), math.nan),
        where=defined,
    )


def covariance_spectrum(points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Eigenvalues of the covariance, descending, never negative.

    Args:
        points: [n, d].
        weights: [n] how often each point counts (a bootstrap's counts); None: once.

    Returns:
        [d].

    >>> covariance_spectrum(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [0.0, -0.5]])).tolist()
    [0.5, 0.125]
    """
    counts = np.ones(len(points)) if weights is None else weights
    mean = counts @ points / counts.sum()
    centred = points - mean
    covariance = (centred * counts[:, None]).T @ centred / counts.sum()
    return np.clip(np.linalg.eigvalsh(covariance)[::-1], 0, None)


def participation_ratio(spectrum: np.ndarray) -> float:
    """Number of directions that carry the variance: (sum lambda)^2 / sum lambda^2.

    Args:
        spectrum: [d] eigenvalues of the covariance, >= 0.

    Returns:
        In [1, d]; NaN where there is no variance.

    >>> participation_ratio(np.array([2.0, 2.0, 0.0])), participation_ratio(np.zeros(2))
    (2.0, nan)
    """
    squares = float((spectrum * spectrum).sum())
    return float(spectrum.sum()) ** 2 / squares if squares else math.nan


def components_for(spectrum: np.ndarray, share: float = 0.9) -> float:
    """Fewest principal components whose variance is at least `share` of all.

    Args:
        spectrum: [d] eigenvalues of the covariance, descending.
        share: In (0, 1].

    Returns:
        A whole number in 1..d; NaN where there is no variance.

    >>> components_for(np.array([8.0, 1.0, 1.0])), components_for(np.array([8.0, 1.0, 1.0]), 0.91)
    (2.0, 3.0)
    """
    total = spectrum.sum()
    if not total:
        return math.nan
    return float(1 + np.argmax(np.cumsum(spectrum) >= share * total * (1 - 1e-12)))
