"""Averages over tokens of sentences, with honest errors, and bands of word frequency."""

import math

import numpy as np


def clustered_mean(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float | None]:
    """Mean over tokens with a standard error that counts sentences.

    Tokens of one sentence are no independent draws.

    Ratio estimator, linearised: sqrt(S / (S - 1) sum_s (sum_s x - n_s mean)^2) / n.

    Args:
        values: [n], at least one.
        cluster: int [n], the sentence of each.

    Returns:
        The mean; and its error, None from fewer than two sentences.

    >>> mean, error = clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    >>> mean, error
    (2.0, 1.0)
    >>> clustered_mean(np.array([1.0, 3.0]), np.array([5, 5]))
    (2.0, None)
    """
    mean = float(values.mean())
    _, index = np.unique(cluster, return_inverse=True)
    residuals = np.bincount(index, weights=values - mean)
    sentences = len(residuals)
    if sentences < 2:
        return mean, None
    return mean, math.sqrt(sentences / (sentences - 1) * float(residuals @ residuals)) / len(values)


def equal_mass_bands(counts: np.ndarray, bands: int) -> np.ndarray:
    """Band of each word by frequency, 0 = most frequent.

    Every band holds about the same number of tokens.

    Args:
        counts: int [words], occurrences.
        bands: >= 1.

    Returns:
        int [words] in 0..bands - 1; words of equal count may be parted, the earlier coming first.

    >>> equal_mass_bands(np.array([1, 6, 2, 3]), 2).tolist()
    [1, 0, 1, 1]
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    middle = (before + counts[order] / 2) / max(int(counts.sum()), 1)
    band = np.empty(len(counts), dtype=np.int64)
    band[order] = np.minimum((middle * bands).astype(np.int64), bands - 1)
    return band
