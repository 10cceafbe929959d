"""Is inference done where its pseudo-gradients look like training's gradients?

EDIT App. G: the band, and when it is reached for good.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

Array = Any


@dataclass(frozen=True)
class Band:
    """Where the gradients of fine-tuning lie.

    Mean plus and minus `width` standard deviations of their RMS over optimiser steps.
    """

    mean: float
    deviation: float
    width: float

    @property
    def low(self) -> float:
        """Lower edge; may be negative, which no RMS reaches."""
        return self.mean - self.width * self.deviation

    @property
    def high(self) -> float:
        """Upper edge."""
        return self.mean + self.width * self.deviation


def stable_band(rms: Array, width: float = 1.0) -> Band:
    """Band of the RMS of a module's gradients over optimiser steps.

    EDIT says "a variance band" and gives no width; one standard deviation (of the sample) is ours.

    Args:
        rms: [steps] >= 0, one per optimiser step; at least two.
        width: Standard deviations on either side, > 0.

    Raises:
        ValueError: Fewer than two steps, or a value that is not finite: training diverged.

    >>> band = stable_band(np.array([1.0, 2.0, 3.0]))
    >>> band.mean, band.deviation, band.low, band.high
    (2.0, 1.0, 1.0, 3.0)
    """
    rms = np.asarray(rms, dtype=float)
    if rms.size < 2 or not np.isfinite(rms).all():
        raise ValueError(
            f"a band needs at least two finite gradients, got {rms.size},"
            f" {int((~np.isfinite(rms)).sum())} of them not finite"
        )
    return Band(float(rms.mean()), float(rms.std(ddof=1)), width)


def convergence_step(rms: Array, band: Band) -> int | None:
    """First step from which the pseudo-gradients stay inside the band to the end of their block.

    EDIT declares convergence when they "approach the mean" and "remain within this band"; both ends
    of the band belong to it.

    Args:
        rms: [steps] of one block, in the order of its steps.
        band: See `stable_band`.

    Returns:
        Step, counted from 1; None where the last step lies outside, so that the block never
            settled, or where there is no step.

    >>> band = Band(mean=2.0, deviation=1.0, width=1.0)
    >>> [
    ...     convergence_step(np.array(rms), band)
    ...     for rms in ([9.0, 2.0, 0.5, 1.5, 3.0], [2.0, 2.0, 9.0], [1.0, 1.0])
    ... ]
    [4, None, 1]
    """
    rms = np.asarray(rms, dtype=float)
    outside = np.flatnonzero(~((rms >= band.low) & (rms <= band.high)))
    settled = int(outside[-1]) + 2 if outside.size else 1
    return settled if settled <= rms.size else None


def nearest_step(rms: Array, mean: float) -> int | None:
    """The step whose pseudo-gradient is nearest the mean of training; the first in a tie.

    t_conv as EDIT prints it (App. G).

    It says nothing of what follows: the next step may leave the band.

    Returns:
        Step, counted from 1; None where there is none.

    >>> nearest_step(np.array([9.0, 2.1, 0.5]), 2.0)
    2
    """
    rms = np.asarray(rms, dtype=float)
    return (
        int(np.nanargmin(np.abs(rms - mean))) + 1 if rms.size and not np.isnan(rms).all() else None
    )


def weight_gradient(outputs: Array, inputs: Array) -> Array:
    """Gradient of a loss with respect to a linear layer's weight.

    From what flows back to its outputs: sum over tokens of g a^T.

    Args:
        outputs: [..., tokens, d], the loss's gradient at the layer's outputs g = W a.
        inputs: [..., tokens, r], the layer's inputs a.

    Returns:
        [..., d, r].

    >>> weight_gradient(np.array([[1.0], [2.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])).tolist()
    [[3.0, 2.0]]
    """
    xp = array_namespace(outputs, inputs)
    return xp.matmul(xp.matrix_transpose(outputs), inputs)


def root_mean_square(gradient: Array) -> Array:
    """RMS of a matrix's entries, over its last two axes.

    >>> float(root_mean_square(np.array([[3.0, 0.0], [0.0, 4.0]])))
    2.5
    """
    xp = array_namespace(gradient)
    return xp.sqrt(xp.mean(gradient * gradient, axis=(-2, -1)))
