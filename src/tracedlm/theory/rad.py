"""The Representational Alignment Distribution.

Where, over visible tokens, a step's activations align with the map.
"""

from typing import Any

from array_api_compat import array_namespace

Array = Any


def cosine_similarity(activation: Array, u: Array) -> Array:
    """Alignment Sim_s = <f_s, u> / (|f_s| |u|) of each token's activation with the map.

    Source: TRACE Eq. 5.

    Args:
        activation: [..., d] any floating type; computed in float32 or better.
        u: [d] the map; its scale does not matter.

    Returns:
        [...] in [-1, 1] up to rounding; NaN where an activation, or u, is zero.

    >>> import numpy as np
    >>> cosine_similarity(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([2.0, 0.0])).tolist()
    [0.6, nan]
    """
    f, u = _unit(activation), _unit(u)
    # A product and a sum, not a matmul: autocast and TF32 round the inputs of a matmul, and the RAD
    # lives in those digits.
    return array_namespace(f).sum(f * u, axis=-1)


def subspace_similarity(activation: Array, U: Array, cosine: bool = True) -> Array:
    """Length of an activation's projection on the map's subspace (EDIT Eq. 31).

    |U^T f_s| or |U^T f_s| / |f_s|.

    Args:
        activation: [..., d] any floating type; computed in float32 or better.
        U: [d, k] with orthonormal columns.
        cosine: Divide by |f_s|.

    Returns:
        [...] >= 0, and at most 1 with `cosine`, where a zero activation gives NaN.

    >>> import numpy as np
    >>> float(subspace_similarity(np.array([3.0, 0.0, 4.0]), np.eye(3)[:, :2]))
    0.6
    """
    f = _unit(activation) if cosine else _floating(activation)
    xp, U = array_namespace(f), _floating(U)
    coordinates = xp.stack([xp.sum(f * U[:, j], axis=-1) for j in range(U.shape[-1])])
    return xp.sqrt(xp.sum(coordinates * coordinates, axis=0))


def column_similarities(activation: Array, columns: Array) -> Array:
    """Cosine of each token's activation with each column of a matrix.

    What EDIT's released code reads (method.md section 2).

    Args:
        activation: [..., d] any floating type; computed in float32 or better.
        columns: [d, r], of any scale.

    Returns:
        [..., r] in [-1, 1] up to rounding; NaN where an activation or a column is zero.

    >>> import numpy as np
    >>> column_similarities(np.array([3.0, 4.0]), np.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [0.6, 0.8]
    """
    f, unit = _unit(activation), _unit(columns.T)
    xp = array_namespace(f)
    return xp.stack([xp.sum(f * unit[j], axis=-1) for j in range(columns.shape[-1])], axis=-1)


def alignment(similarity: Array, visible: Array, tau: float = 1.0) -> Array:
    """The RAD: P(s) = exp(Sim_s / tau) / sum over visible i of exp(Sim_i / tau) (TRACE Eq. 6).

    Args:
        similarity: [..., positions]; values at invisible positions are not read.
        visible: bool, same shape; for a matched support (TRACE Eq. 7) pass the support.
        tau: Temperature > 0.

    Returns:
        float64 of the same shape: a distribution over visible positions, 0 elsewhere; a row without
            a visible
        position, or with an undefined visible similarity, is NaN.

    Raises:
        ValueError: tau is not positive.

    >>> import numpy as np
    >>> alignment(np.log([[1.0, 3.0, 9.0]]), np.array([[True, True, False]])).round(12).tolist()
    [[0.25, 0.75, 0.0]]
    """
    logs = log_alignment(similarity, visible, tau)
    return array_namespace(logs).exp(logs)


def log_alignment(similarity: Array, visible: Array, tau: float = 1.0) -> Array:
    """Logarithm of `alignment`, the form in which small KLs keep their digits (TRACE Eq. 6, 7).

    Args:
        similarity: [..., positions]; values at invisible positions are not read.
        visible: bool, same shape.
        tau: Temperature > 0.

    Returns:
        float64 nats <= 0; -inf at invisible positions; rows without a defined RAD are NaN.

    Raises:
        ValueError: tau is not positive.

    >>> import numpy as np
    >>> log_alignment(np.zeros(4), np.array([True, True, False, False])).round(6).tolist()
    [-0.693147, -0.693147, -inf, -inf]
    """
    logits = relative_logits(similarity, visible, tau)
    xp = array_namespace(logits)
    total = xp.sum(xp.exp(logits), axis=-1, keepdims=True)
    return xp.where(total == 0, xp.nan, logits - xp.log(xp.where(total == 0, 1.0, total)))


def relative_logits(similarity: Array, visible: Array, tau: float) -> Array:
    """Similarity / tau less the row's largest.

    What the softmax takes, on any part of the visible tokens, without overflow (TRACE Eq. 6).

    Args and Raises as `log_alignment`.

    Returns:
        float64 <= 0, the largest being 0; -inf at invisible positions.

    >>> import numpy as np
    >>> relative_logits(np.array([3.0, 1.0, 9.0]), np.array([True, True, False]), 0.5).tolist()
    [0.0, -4.0, -inf]
    """
    if not tau > 0:
        raise ValueError(f"the temperature must be positive, got tau={tau}")
    xp = array_namespace(similarity, visible)
    # Cast before the softmax: in float32 a late-step KL of 1e-9 is noise.
    logits = xp.where(visible, xp.astype(similarity, xp.float64) / tau, -xp.inf)
    top = xp.max(logits, axis=-1, keepdims=True)
    return logits - xp.where(top == -xp.inf, 0.0, top)


def restrict(p: Array, support: Array) -> Array:
    """A distribution renormalised to a support (TRACE Eq. 7).

    Args:
        p: [..., positions] probabilities.
        support: bool, same shape.

    Returns:
        float64 of the same shape, 0 off the support; NaN where the support holds no probability.

    >>> import numpy as np
    >>> restrict(np.array([0.25, 0.25, 0.5]), np.array([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    xp = array_namespace(p, support)
    kept = xp.where(support, xp.astype(p, xp.float64), 0.0)
    total = xp.sum(kept, axis=-1, keepdims=True)
    return kept / xp.where(total == 0, xp.nan, total)


def sharpen(p: Array, gamma: float) -> Array:
    """Power calibration P^gamma / sum P^gamma.

    Equals `alignment` at tau / gamma (TRACE section 4.5).

    Args:
        p: [..., positions] probabilities.
        gamma: Exponent > 0; above 1 sharpens.

    Returns:
        float64 of the same shape, a distribution; NaN where p is all zero.

    Raises:
        ValueError: gamma is not positive.

    >>> import numpy as np
    >>> sharpen(np.array([0.25, 0.75]), 2.0).round(12).tolist()
    [0.1, 0.9]
    """
    if not gamma > 0:
        raise ValueError(f"the exponent must be positive, got gamma={gamma}")
    xp = array_namespace(p)
    p = xp.astype(p, xp.float64)
    top = xp.max(p, axis=-1, keepdims=True)
    raised = (
        p / xp.where(top == 0, xp.nan, top)
    ) ** gamma  # relative to the top, so that a large gamma cannot underflow
    return raised / xp.sum(raised, axis=-1, keepdims=True)


def aggregate(similarities: Array, how: str) -> Array:
    """One readout from several projections.

    QKV-mean or QKV-max of the similarities (TRACE Table 4).

    Args:
        similarities: [projections, ..., positions], stacked for one step and one visible set.
        how: "mean" or "max", token by token over projections; the RAD is then rebuilt with
            `alignment`.

    Returns:
        float64 [..., positions]; NaN where any projection is NaN.

    Raises:
        ValueError: `how` is neither.

    >>> import numpy as np
    >>> stacked = np.array([[0.25, 0.5], [0.75, 0.0]])
    >>> aggregate(stacked, "mean").tolist(), aggregate(stacked, "max").tolist()
    ([0.5, 0.25], [0.75, 0.5])
    """
    xp = array_namespace(similarities)
    if how not in ("mean", "max"):
        raise ValueError(f"an aggregate is 'mean' or 'max', got {how!r}")
    # A float32 mean would add noise that no single projection has.
    similarities = xp.astype(similarities, xp.float64)
    return xp.mean(similarities, axis=0) if how == "mean" else xp.max(similarities, axis=0)


def _floating(array: Array) -> Array:
    xp = array_namespace(array)
    return array if array.dtype == xp.float64 else xp.astype(array, xp.float32)


def _unit(array: Array) -> Array:
    """Unit vectors over the last axis.

    Divides by the largest entry first, so that squares neither overflow nor vanish.
    """
    array = _floating(array)
    xp = array_namespace(array)
    top = xp.max(xp.abs(array), axis=-1, keepdims=True)
    array = array / xp.where(top == 0, xp.nan, top)
    return array / xp.sqrt(xp.sum(array * array, axis=-1, keepdims=True))
