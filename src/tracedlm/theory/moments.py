"""Reasoning Representation Maps: from AdamW's moments to a direction in activation space."""

from typing import Any

import numpy as np
import scipy.linalg
from array_api_compat import array_namespace, is_numpy_array

Array = Any


def update(
    first: Array,
    second: Array,
    eps: float = 1e-8,
    placement: str = "outside",
    step: int | None = None,
    betas: tuple[float, float] | None = None,
) -> Array:
    """Element-wise update U_k of one optimiser step (TRACE Eq. 2; method.md section 1).

    `outside` is M / (sqrt(V) + eps), what AdamW applies; `inside` is the papers' M / sqrt(V + eps). They differ a
    hundredfold where |g| ~ 1e-6, and the tests hold them apart.

    Args:
        first: [d, r] first moment M_k (PyTorch `exp_avg`).
        second: [d, r] second moment V_k >= 0 (PyTorch `exp_avg_sq`).
        eps: > 0.
        placement: "outside" or "inside".
        step: Optimiser step k >= 1, counted from 1; with `betas`, the moments are bias-corrected first.
        betas: (beta1, beta2) of the optimiser.

    Returns:
        [d, r], dimensionless; about 1 in size where a gradient is steady.

    Raises:
        ValueError: `placement` is unknown, only one of step and betas is given, or step < 1.

    >>> m, v = np.array([3e-6]), np.array([9e-12])
    >>> update(m, v, eps=1e-6).tolist(), update(m, v, eps=16e-12, placement="inside").round(12).tolist()
    ([0.75], [0.6])
    """
    if placement not in ("outside", "inside"):
        raise ValueError(f"eps goes 'outside' or 'inside' the square root, got {placement!r}")
    if (step is None) != (betas is None) or (step is not None and step < 1):
        raise ValueError(f"bias correction needs a step >= 1 and both betas, got step={step}, betas={betas}")
    if step is not None and betas is not None:
        first, second = first / (1 - betas[0] ** step), second / (1 - betas[1] ** step)
    xp = array_namespace(first, second)
    return first / xp.sqrt(second + eps) if placement == "inside" else first / (xp.sqrt(second) + eps)


def row_energy(mean_update: Array) -> Array:
    """Row energy u[p] = |Ubar[p, :]|_2: how much each output feature was moved (TRACE Eq. 4). Not yet normalised.

    Args:
        mean_update: [..., d, r].

    Returns:
        [..., d] >= 0.

    >>> row_energy(np.array([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    xp = array_namespace(mean_update)
    return xp.sqrt(xp.sum(mean_update * mean_update, axis=-1))


def row_mean(mean_update: Array) -> Array:
    """Row mean of |Ubar| (EDIT Table 4, "Row-wise Mean").

    EDIT does not say of what. The signed mean would cancel opposite columns and give a map with signs, unlike the
    energy it is compared with, so we take the mean of absolute values.

    Args:
        mean_update: [..., d, r].

    Returns:
        [..., d] >= 0.

    >>> row_mean(np.array([[3.0, -4.0], [0.0, 2.0]])).tolist()
    [3.5, 1.0]
    """
    xp = array_namespace(mean_update)
    return xp.mean(xp.abs(mean_update), axis=-1)


def column_energy(mean_update: Array) -> Array:
    """Column energy |Ubar[:, p]|_2: the reduction of LoRA-A that aligns with a module's input (EDIT Table 4).

    Args:
        mean_update: [..., r, d_in].

    Returns:
        [..., d_in] >= 0.

    >>> column_energy(np.array([[3.0, 0.0], [4.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    return row_energy(array_namespace(mean_update).moveaxis(mean_update, -1, -2))


def unit(vector: Array) -> Array:
    """The map, l2-normalised (TRACE section 2.1).

    Args:
        vector: [d].

    Returns:
        [d] of length 1.

    Raises:
        ValueError: The vector is zero or not finite: no direction was learnt, or training diverged.

    >>> unit(np.array([3.0, 4.0])).tolist()
    [0.6, 0.8]
    """
    xp = array_namespace(vector)
    top = float(xp.max(xp.abs(vector)))
    if not 0 < top < float("inf"):
        raise ValueError(f"a map needs a direction, but its largest entry is {top}: was this module trained, and did training diverge?")
    vector = vector / top
    return vector / xp.sqrt(xp.sum(vector * vector))


def subspace(mean_update: Array, k: int) -> Array:
    """Subspace map: the k leading left singular vectors of Ubar (EDIT App. D, E).

    Singular vectors are defined up to sign; here the largest entry of each (the first, in a tie) is positive.

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
    tolerance = float(singular[0]) * xp.finfo(singular.dtype).eps * max(mean_update.shape)
    rank = int(xp.sum(xp.astype(singular > tolerance, xp.int64)))
    if not 1 <= k <= rank:
        raise ValueError(f"a subspace of dimension {k} needs 1 <= k <= rank, and the mean update has rank {rank}")
    columns = left[:, :k]
    largest = xp.argmax(xp.abs(columns), axis=0)
    rows = xp.cumulative_sum(xp.ones_like(columns, dtype=xp.int64), axis=0) - 1
    at_largest = xp.sum(xp.where(rows == largest, columns, 0.0), axis=0)
    return columns * xp.sign(at_largest)


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


class RunningMean:
    """Mean of a stream of arrays in one array of memory: Ubar = (1/K) sum U_k (TRACE Eq. 3).

    NumPy streams are summed in float64, tensors in their own type but at least float32, on their device. `total`
    and `count` are the whole state: constructed with them, a killed and resumed run gives the same bits.

    >>> mean = RunningMean()
    >>> mean.add(np.array([1.0, 2.0])); mean.add(np.array([3.0, 2.0]))
    >>> mean.value.tolist(), mean.count
    ([2.0, 2.0], 2)
    """

    def __init__(self, total: Array | None = None, count: int = 0) -> None:
        """Start empty, or from the saved state of another; `total` becomes ours and is changed in place."""
        if (total is None) != (count == 0):
            raise ValueError(f"a sum and its count go together, got count={count} and {'no' if total is None else 'a'} sum")
        self.total, self.count = total, count

    def add(self, x: Array) -> None:
        """Include one array; it is not kept."""
        xp = array_namespace(x)
        wide = xp.float64 if is_numpy_array(x) or x.dtype == xp.float64 else xp.float32
        if self.total is None:
            self.total = xp.astype(x, wide, copy=True)
        else:
            self.total += x
        self.count += 1

    @property
    def value(self) -> Array:
        """The mean so far; ValueError before the first `add`."""
        if self.total is None:
            raise ValueError("the mean of no arrays is undefined: nothing was added")
        return self.total / self.count


def storage_bytes(modules: int, width: int, bytes_per_entry: int) -> int:
    """Bytes of the retained maps, |P| d b (TRACE App. E).

    >>> storage_bytes(modules=96, width=4096, bytes_per_entry=4)
    1572864
    """
    return modules * width * bytes_per_entry


def storage_overhead(map_bytes: float, model_bytes: float) -> float:
    """Size of the maps in percent of the model's (TRACE App. E).

    >>> round(storage_overhead(1572864, 8 * 2**30), 3)
    0.018
    """
    return 100 * map_bytes / model_bytes
