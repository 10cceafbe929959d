"""Reasoning Representation Maps: from AdamW's moments to a direction in activation space."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
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

    `outside` is M / (sqrt(V) + eps), what AdamW applies; `inside` is the papers' M / sqrt(V + eps).
    They differ a hundredfold where |g| ~ 1e-6, and the tests hold them apart.

    Args:
        first: [d, r] first moment M_k (PyTorch `exp_avg`).
        second: [d, r] second moment V_k >= 0 (PyTorch `exp_avg_sq`).
        eps: > 0.
        placement: "outside" or "inside".
        step: Optimiser step k >= 1, counted from 1; with `betas`, the moments are bias-corrected
            first.
        betas: (beta1, beta2) of the optimiser.

    Returns:
        [d, r], dimensionless; about 1 in size where a gradient is steady.

    Raises:
        ValueError: `placement` is unknown, only one of step and betas is given, or step < 1.

    >>> m, v = np.array([3e-6]), np.array([9e-12])
    >>> (
    ...     update(m, v, eps=1e-6).tolist(),
    ...     update(m, v, eps=16e-12, placement="inside").round(12).tolist(),
    ... )
    ([0.75], [0.6])
    """
    if placement not in ("outside", "inside"):
        raise ValueError(f"eps goes 'outside' or 'inside' the square root, got {placement!r}")
    if (step is None) != (betas is None) or (step is not None and step < 1):
        raise ValueError(
            f"bias correction needs a step >= 1 and both betas, got step={step}, betas={betas}"
        )
    if step is not None and betas is not None:
        first, second = first / (1 - betas[0] ** step), second / (1 - betas[1] ** step)
    xp = array_namespace(first, second)
    return (
        first / xp.sqrt(second + eps) if placement == "inside" else first / (xp.sqrt(second) + eps)
    )


def updates(
    first: Array, second: Array, eps: float, step: int, betas: tuple[float, float]
) -> Iterator[tuple[str, Array]]:
    """The four variants of `update` at once, for use after every optimiser step.

    What they have in common is computed once.

    Correction is a scale and another eps: with s = sqrt(1 - beta2^k), M^ / (sqrt(V^) + eps) = M s /
    (1 - beta1^k) / (sqrt(V) + eps s), and likewise inside the root with eps s^2.

    Args:
        first: First moments M_k, any shape.
        second: Second moments V_k >= 0, same shape.
        eps: > 0.
        step: Optimiser step k >= 1.
        betas: (beta1, beta2) of the optimiser.

    Yields:
        (variant, U_k): `outside_raw`, `outside_corrected`, `inside_raw`, `inside_corrected`; each
            is made when it is asked for.

    >>> for name, u in updates(np.array([0.1]), np.array([0.001]), 1e-12, 1, (0.9, 0.999)):
    ...     print(name, u.round(6).tolist())
    outside_raw [3.162278]
    outside_corrected [1.0]
    inside_raw [3.162278]
    inside_corrected [1.0]
    """
    xp = array_namespace(first, second)
    spread = math.sqrt(1 - betas[1] ** step)
    corrected = first * (spread / (1 - betas[0] ** step))
    root = xp.sqrt(second)
    yield "outside_raw", first / (root + eps)
    yield "outside_corrected", corrected / (root + eps * spread)
    yield "inside_raw", first / xp.sqrt(second + eps)
    yield "inside_corrected", corrected / xp.sqrt(second + eps * spread**2)


def row_energy(mean_update: Array) -> Array:
    """Row energy u[p] = |Ubar[p, :]|_2: how much each output feature was moved (TRACE Eq. 4).

    Not yet normalised.

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

    EDIT does not say of what. The signed mean would cancel opposite columns and give a map with
    signs, unlike the energy it is compared with, so we take the mean of absolute values.

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
    """Column energy |Ubar[:, p]|_2.

    The reduction of LoRA-A that aligns with a module's input (EDIT Table 4).

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
        raise ValueError(
            f"a map needs a direction, but its largest entry is {top}: was this module trained, and"
            " did training diverge?"
        )
    vector = vector / top
    return vector / xp.sqrt(xp.sum(vector * vector))


class RunningMean:
    """Mean of a stream of arrays in one array of memory: Ubar = (1/K) sum U_k (TRACE Eq. 3).

    NumPy streams are summed in float64, tensors in their own type but at least float32, on their
    device. `total` and `count` are the whole state: constructed with them, a killed and resumed run
    gives the same bits.

    >>> mean = RunningMean()
    >>> mean.add(np.array([1.0, 2.0]))
    >>> mean.add(np.array([3.0, 2.0]))
    >>> mean.value.tolist(), mean.count
    ([2.0, 2.0], 2)
    """

    def __init__(self, total: Array | None = None, count: int = 0) -> None:
        """Start empty, or from the saved state of another.

        `total` becomes ours and is changed in place.
        """
        if (total is None) != (count == 0):
            raise ValueError(
                f"a sum and its count go together, got count={count} and"
                f" {'no' if total is None else 'a'} sum"
            )
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


class SquaredDeltas:
    """Accumulated squared movement of a matrix over snapshots, S = sum (B_k - B_k-1)^2.

    Source: TRACE App. H, weights mode.

    Its root keeps the unit of the weights, and the row energy of the root is the l2 length of all
    that a row moved: with the snapshots 0 and B it is the row l2 of B, TRACE's map of a single
    adapter.

    >>> deltas = SquaredDeltas()
    >>> for weights in ([0.0, 0.0], [3.0, 1.0], [3.0, 0.0]):
    ...     deltas.add(np.array(weights))
    >>> deltas.value.tolist()
    [9.0, 2.0]
    """

    def __init__(self) -> None:
        self.last: np.ndarray | None = None
        self.total: np.ndarray | None = None

    def add(self, weights: np.ndarray) -> None:
        """Include the next snapshot, in the order of training."""
        weights = weights.astype(np.float64)
        if self.last is not None:
            squared = (weights - self.last) ** 2
            self.total = squared if self.total is None else self.total + squared
        self.last = weights

    @property
    def value(self) -> np.ndarray:
        """S so far, float64; ValueError before the second snapshot."""
        if self.total is None:
            raise ValueError("movement needs at least two snapshots")
        return self.total


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
