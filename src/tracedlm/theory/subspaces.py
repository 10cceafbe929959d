"""Subspace maps: an orthonormal basis in place of a vector.

Made by SVD or by CCA, with the angle between two of them.
"""

from typing import Any

import numpy as np
import scipy.linalg
from array_api_compat import array_namespace

Array = Any


def subspace(mean_update: Array, k: int) -> Array:
    """Subspace map: the k leading left singular vectors of Ubar (EDIT App. D, E).

    Singular vectors are defined up to sign; here the largest entry of each (the first, in a tie) is
    positive.

    Args:
        mean_update: [d, r].
        k: 1..min(d, r); EDIT uses 2, 3, 4.

    Returns:
        [d, k], columns orthonormal.

    Raises:
        ValueError: Ubar has fewer than k non-zero singular values: the subspace would be arbitrary.

    >>> subspace(np.array([[0.0, 1.0], [-2.0, 0.0], [0.0, 0.0]]), 1).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    xp = array_namespace(mean_update)
    left, singular, _ = xp.linalg.svd(mean_update, full_matrices=False)
    rank = _rank(singular, mean_update.shape)
    if not 1 <= k <= rank:
        raise ValueError(
            f"a subspace of dimension {k} needs 1 <= k <= rank, and the mean update has rank {rank}"
        )
    return _signed(left[:, :k])


def captured_energy(mean_update: np.ndarray, basis: np.ndarray) -> float:
    """Share of an update's energy that lies in a subspace of its output features.

    ||U^T Ubar||^2 / ||Ubar||^2.

    Args:
        mean_update: [d, r], not 0.
        basis: [d, k], columns orthonormal.

    Returns:
        In [0, 1]; k / d for an update without any direction.

    >>> captured_energy(np.array([[3.0], [4.0]]), np.array([[1.0], [0.0]]))
    0.36
    """
    return float(np.sum((basis.T @ mean_update) ** 2) / np.sum(mean_update**2))


def cca_subspace(
    mean_update: np.ndarray, activations: np.ndarray, k: int, energy: float = 0.99
) -> np.ndarray:
    """Subspace map by CCA.

    The k directions that the mean update and the activations share most (EDIT App. E).

    EDIT names the two sets, step-averaged preconditioned gradients (Ubar) and activations {f_s},
    and not what is paired. What they share are output features, so the features are the
    observations: the canonical variates Ubar a and F^T b are vectors in R^d, and the map is spanned
    by the k variates Ubar a of largest cosine (Bjorck and Golub 1973; not centred, since the
    readout U^T f is not). Where `subspace` takes what training moved most, this takes what training
    moved and inference uses, and a change of basis of LoRA's rank does not change it. Activations
    are first cut to the leading directions that hold `energy` of them, without which enough tokens
    span everything and every direction is shared.

    Args:
        mean_update: [d, r].
        activations: [n, d] of the module the map is for, one row a token, any scale.
        k: 1..min(r, directions kept).
        energy: Share of the activations' energy to keep, in (0, 1].

    Returns:
        [d, k], columns orthonormal, most shared first; signs as in `subspace`.

    Raises:
        ValueError: Widths differ, k is out of range, or the two sets together have more than d
            directions: some would then be shared whatever the data.

    >>> update, tokens = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 3.0, 0.0]])
    >>> (
    ...     np.abs(cca_subspace(update, tokens, 1)).ravel().tolist(),
    ...     subspace(update, 1).ravel().tolist(),
    ... )
    ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    """
    d = mean_update.shape[0]
    if activations.ndim != 2 or activations.shape[1] != d:
        raise ValueError(
            f"activations of shape {activations.shape} do not belong to a mean update of {d} output"
            f" features: expected [n, {d}]"
        )
    left, singular, _ = np.linalg.svd(mean_update.astype(float), full_matrices=False)
    moved = left[:, : _rank(singular, mean_update.shape)]
    _, weights, directions = np.linalg.svd(activations.astype(float), full_matrices=False)
    held = np.cumsum(weights**2) / np.sum(weights**2)
    used = directions[
        : min(int(np.searchsorted(held, energy)) + 1, _rank(weights, activations.shape))
    ].T
    if moved.shape[1] + used.shape[1] > d:
        raise ValueError(
            f"{moved.shape[1]} directions of the mean update and {used.shape[1]} of the activations"
            f" share some of {d} whatever the data; lower energy = {energy}"
        )
    if not 1 <= k <= min(moved.shape[1], used.shape[1]):
        raise ValueError(
            f"a subspace of dimension {k} needs 1 <= k <= {min(moved.shape[1], used.shape[1])}, the"
            " directions of the smaller set"
        )
    variates, _, _ = np.linalg.svd(moved.T @ used)
    return _signed(moved @ variates[:, :k])


def rank_of(matrix: Array) -> int:
    """Number of singular values that are not rounding.

    >>> rank_of(np.outer([1.0, 2.0, 3.0], [1.0, -1.0]))
    1
    """
    return _rank(array_namespace(matrix).linalg.svdvals(matrix), matrix.shape)


def principal_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between two subspace maps, the agreement statistic of TRACE App. D.

    Args:
        first: [d, k] orthonormal columns.
        second: [d, k] orthonormal columns.

    Returns:
        [k] radians in [0, pi/2], largest first; 0 for the same subspace.

    >>> principal_angles(np.eye(3)[:, :2], np.eye(3)[:, 1:]).round(6).tolist()
    [1.570796, 0.0]
    """
    return scipy.linalg.subspace_angles(first, second)


def _rank(singular: Array, shape: tuple[int, ...]) -> int:
    xp = array_namespace(singular)
    tolerance = float(singular[0]) * xp.finfo(singular.dtype).eps * max(shape)
    return int(xp.sum(xp.astype(singular > tolerance, xp.int64)))


def _signed(columns: Array) -> Array:
    """Columns with the sign that makes the largest entry of each, the first in a tie, positive."""
    xp = array_namespace(columns)
    largest = xp.argmax(xp.abs(columns), axis=0)
    rows = xp.cumulative_sum(xp.ones_like(columns, dtype=xp.int64), axis=0) - 1
    return columns * xp.sign(xp.sum(xp.where(rows == largest, columns, 0.0), axis=0))
