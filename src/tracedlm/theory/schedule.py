"""How many tokens each step of a block commits.

And at which steps of training a checkpoint is kept.
"""

import numpy as np


def total_steps(tokens: int, tokens_per_step: float) -> int:
    """Denoising steps T of a canvas, at least 1; the papers use T = G/2.

    >>> total_steps(256, 2.0)
    128
    """
    return max(1, round(tokens / tokens_per_step))


def checkpoint_steps(steps: int, interval: int, ratio: int = 2) -> list[int]:
    """Optimiser steps to keep a checkpoint of.

    0, powers of a ratio below the interval, its multiples, and the last.

    Args:
        steps: Steps of training, >= 1.
        interval: >= 1.
        ratio: >= 2.

    >>> checkpoint_steps(25, 8)
    [0, 1, 2, 4, 8, 16, 24, 25]
    """
    powers = [
        ratio**power
        for power in range(interval.bit_length())
        if ratio**power < min(interval, steps)
    ]
    return sorted({0, *powers, *range(interval, steps, interval), steps})


def uniform(tokens: int, steps: int) -> np.ndarray:
    """Even split, the remainder going to the first steps (LLaDA; method.md section 2).

    Args:
        tokens: Masked tokens of the block, >= 0.
        steps: Steps of the block, >= 1.

    Returns:
        int64 [steps] >= 0, summing to `tokens`.

    Raises:
        ValueError: tokens or steps is out of range.

    >>> uniform(7, 3).tolist()
    [3, 2, 2]
    """
    _check(tokens, steps)
    return tokens // steps + (np.arange(steps) < tokens % steps).astype(np.int64)


def gaussian(tokens: int, steps: int, center: float = 1 / 4, width: float = 1 / 5) -> np.ndarray:
    """EDIT's released schedule.

    Counts proportional to exp(-((s - center) / width)^2 / 2) (method.md section 2).

    s = step / steps with the step counted from 0: that convention reproduces the forwards measured
    on EDIT's released settings (162, 97 and 197 on MATH-512, GSM8K-256 and GSM8K-512); counted from
    1 they would be 154, 93 and 189.

    Args:
        tokens: Masked tokens of the block, >= 0.
        steps: Steps of the block, >= 1.
        center: Peak as a fraction of the block; the inverse of `center` in EDIT's files.
        width: Standard deviation as a fraction of the block, > 0; the inverse of `std` in EDIT's
            files.

    Returns:
        int64 [steps] >= 0, summing to `tokens`; largest-remainder rounding, ties to the earlier
            step.

    Raises:
        ValueError: tokens, steps or width is out of range.

    >>> gaussian(8, 4, center=1 / 4, width=1 / 4).tolist()
    [2, 3, 2, 1]
    """
    _check(tokens, steps)
    if not width > 0:
        raise ValueError(f"the width of a schedule must be positive, got {width}")
    exponent = -((((np.arange(steps) / steps) - center) / width) ** 2) / 2
    # Relative to the peak: a narrow schedule does not underflow to no weight at all.
    weight = np.exp(exponent - exponent.max())
    share = tokens * weight / weight.sum()
    counts = np.floor(share).astype(np.int64)
    # Rounded, so that steps symmetric about the centre tie on every machine whatever the last digit
    # of its exp.
    remainder = np.argsort(np.round(counts - share, 9), kind="stable")[: tokens - counts.sum()]
    counts[remainder] += 1
    return counts


def effective_steps(counts: np.ndarray) -> int:
    """Steps that commit something: what a decoder that skips no-ops must run (method.md section 2).

    >>> effective_steps(np.array([2, 0, 1, 0]))
    2
    """
    return int(np.count_nonzero(counts))


def _check(tokens: int, steps: int) -> None:
    if steps < 1 or tokens < 0:
        raise ValueError(
            f"a schedule needs steps >= 1 and tokens >= 0, got steps={steps} and tokens={tokens}"
        )
