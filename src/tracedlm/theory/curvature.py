"""Spectrum of a symmetric matrix that is known by its products only.

Lanczos, its quadrature, and the stochastic trace.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import eigh_tridiagonal

Product = Callable[[np.ndarray], np.ndarray]
"""v [n] -> H v [n]."""


def lanczos(product: Product, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Tridiagonal matrix of H in the Krylov space of `start`.

    Every new vector is orthogonalised against all before it.

    Args:
        product: v -> H v for a symmetric H; called `steps` times at most.
        start: [n], not 0; its length does not matter.
        steps: Products to spend, >= 1.

    Returns:
        Diagonal alpha [k] and off-diagonal beta [k - 1]; k < steps where the Krylov space is
            exhausted. alpha[0] is the Rayleigh
        quotient of `start`.

    >>> alpha, beta = lanczos(lambda v: np.array([1.0, 3.0]) * v, np.ones(2), 5)
    >>> alpha.round(12).tolist(), beta.round(12).tolist()
    ([2.0, 2.0], [1.0])
    """
    basis = [start / np.linalg.norm(start)]
    alpha: list[float] = []
    beta: list[float] = []
    for _ in range(min(steps, start.size)):
        image = product(basis[-1])
        alpha.append(float(basis[-1] @ image))
        size = np.linalg.norm(image)
        for _ in range(2):  # once leaves rounding errors as large as what is looked for
            for vector in basis:
                image = image - (vector @ image) * vector
        rest = float(np.linalg.norm(image))
        if rest <= 1e-7 * size:
            break
        beta.append(rest)
        basis.append(image / rest)
    return np.array(alpha), np.array(beta[: len(alpha) - 1])


def quadrature(alpha: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of the spectral density that `lanczos` saw from its start.

    Stochastic Lanczos quadrature (Ghorbani et al. 2019).

    sum_i weight_i f(node_i) is exact for polynomials f of degree < 2k against start' f(H) start /
    start' start, whose expectation over random starts is tr f(H) / n.

    Args:
        alpha: [k].
        beta: [k - 1].

    Returns:
        Nodes [k], ascending, and their weights [k], which sum to 1.

    >>> nodes, weights = quadrature(np.array([2.0, 2.0]), np.array([1.0]))
    >>> nodes.round(12).tolist(), weights.round(12).tolist()
    ([1.0, 3.0], [0.5, 0.5])
    """
    nodes, vectors = eigh_tridiagonal(alpha, beta)
    return nodes, vectors[0] ** 2


def negative_share(nodes: np.ndarray, weights: np.ndarray, tolerance: float = 1e-2) -> float:
    """Share of eigenvalues that are clearly negative.

    Below -tolerance times the largest absolute node.

    Most eigenvalues of a network are close to zero. One node stands for all of them, and its sign
    is an accident of the few Lanczos steps: counted by their sign, one model's share was 0.006 on
    one batch and 0.997 on another.

    Returns:
        In [0, 1].

    >>> negative_share(np.array([-1.0, -1e-9, 2.0]), np.array([0.25, 0.5, 0.25]))
    0.25
    """
    return float(weights[nodes < -tolerance * np.abs(nodes).max()].sum())


def negative_mass(nodes: np.ndarray, weights: np.ndarray) -> float:
    """Share of the negative eigenvalues in the sum of absolute ones.

    How much of the curvature is downward.

    Returns:
        In [0, 1]; NaN where all nodes are 0.

    >>> negative_mass(np.array([-1.0, 0.0, 3.0]), np.array([0.25, 0.5, 0.25]))
    0.25
    """
    sizes = weights * np.abs(nodes)
    return float(sizes[nodes < 0].sum() / sizes.sum()) if sizes.any() else math.nan


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean of independent estimates and its standard error; no error from fewer than two.

    With v'Hv of random signs v this is Hutchinson's trace: unbiased, of variance 2 (||H||_F^2 - sum
    H_ii^2) for one v.

    >>> mean_and_error([1.0, 3.0]), mean_and_error([2.0])
    ((2.0, 1.0), (2.0, None))
    """
    n = len(values)
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None


def alignment(gradient: np.ndarray, image: np.ndarray) -> tuple[float, float]:
    """Curvature along the gradient g'Hg / g'g, and cos(g, Hg).

    Args:
        gradient: [n], g.
        image: [n], H g.

    Returns:
        In the unit of the eigenvalues, between the extreme ones; and in [-1, 1]. NaN where g = 0;
            the cosine also where H g = 0.

    >>> (
    ...     alignment(np.array([1.0, 0.0]), np.array([2.0, 0.0])),
    ...     alignment(np.array([1.0, 0.0]), np.zeros(2)),
    ... )
    ((2.0, 1.0), (0.0, nan))
    """
    squared, product, length = (
        float(gradient @ gradient),
        float(gradient @ image),
        float(np.linalg.norm(image)),
    )
    if not squared:
        return math.nan, math.nan
    return product / squared, product / (math.sqrt(squared) * length) if length else math.nan
