"""What a probe's accuracy means.

Disjoint splits, control tasks, baselines, errors over seeds, and when a label is learnt.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def sentence_split(
    sentence: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens to train and to test on, of different sentences.

    Args:
        sentence: int [tokens], which sentence each belongs to.
        share: Of the sentences, those to test on, in (0, 1).
        rng: Source of randomness.

    Returns:
        Two bool [tokens], of which one is True at each token.
    """
    test = np.isin(sentence, _drawn(sentence, share, rng))
    return ~test, test


def word_split(
    sentence: np.ndarray, word: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens to train and to test on, of different sentences and of different words.

    A word's own label cannot be remembered.

    Args:
        sentence: int [tokens].
        word: int [tokens], type of each token.
        share: Of the sentences, and of the words, in (0, 1).
        rng: Source of randomness.

    Returns:
        Two bool [tokens]; tokens that share a sentence or a word with the other side are in
            neither.
    """
    train, test = sentence_split(sentence, share, rng)
    unseen = np.isin(word, _drawn(word, share, rng))
    return train & ~unseen, test & unseen


def control_labels(word: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels of the control task.

    Every word always has the same one, drawn from the distribution of the true labels.

    A probe that solves it has learnt words by heart; selectivity is what the true task gives beyond
    it (Hewitt and Liang 2019).

    Args:
        word: int [tokens].
        labels: int [tokens], true labels.
        rng: Source of randomness.

    Returns:
        int [tokens].
    """
    types, index = np.unique(word, return_inverse=True)
    return rng.choice(labels, size=len(types))[index]


def lookup_predictions(
    train_keys: np.ndarray, train_labels: np.ndarray, test_keys: np.ndarray
) -> np.ndarray:
    """The most frequent training label of each key.

    What a table without a model predicts from a word, a position or nothing.

    Keys that training does not have get the most frequent label of all; ties go to the smaller
    label.

    Args:
        train_keys: int [n].
        train_labels: int [n], >= 0, n >= 1.
        test_keys: int [m].

    Returns:
        int [m].

    >>> lookup_predictions(
    ...     np.array([7, 7, 7, 9]), np.array([2, 2, 1, 1]), np.array([7, 9, 8])
    ... ).tolist()
    [2, 1, 1]
    """
    keys, index = np.unique(train_keys, return_inverse=True)
    counts = np.zeros((len(keys), int(train_labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (index, train_labels), 1)
    place = np.minimum(np.searchsorted(keys, test_keys), len(keys) - 1)
    return np.where(
        keys[place] == test_keys, counts.argmax(axis=1)[place], counts.sum(axis=0).argmax()
    )


def f1_scores(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """F1 of each class.

    Unlike recall, it does not reward a predictor that says the same label always.

    Args:
        truth: int [n] in 0..classes - 1.
        predicted: int [n], likewise.
        classes: Number of them.

    Returns:
        [classes] in [0, 1]; NaN where the truth has no such token.

    >>> f1_scores(np.array([0, 0, 1]), np.array([0, 1, 1]), 3).round(6).tolist()
    [0.666667, 0.666667, nan]
    """
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    real, claimed = np.bincount(truth, minlength=classes), np.bincount(predicted, minlength=classes)
    return np.divide(2.0 * hits, real + claimed, out=np.full(classes, math.nan), where=real > 0)


def resampled_error(values: Sequence[float], test_per_train: float) -> float | None:
    """Standard error of a mean over random splits of one data set (Nadeau and Bengio 2003).

    sqrt((1/k + test/train) s^2).

    Splits overlap, so that s / sqrt(k) would be too small.

    Args:
        values: [k], one per split.
        test_per_train: Tokens to test on per token to train on.

    Returns:
        In the unit of the values; None from fewer than two.

    >>> round(resampled_error([0.4, 0.6], 0.5), 6), resampled_error([0.5], 0.5)
    (0.141421, None)
    """
    k = len(values)
    return math.sqrt((1 / k + test_per_train) * float(np.var(values, ddof=1))) if k > 1 else None


class FirstLearnt(NamedTuple):
    """From which checkpoint on a label is learnt.

    Attributes:
        step: First step from which on the value stays at or above the threshold. None where it
            never does, with the reason.
        low: Up to this step the label was certainly not learnt. None where it may have been from
            the first checkpoint.
        high: From this step on it certainly was. None where no checkpoint is certain.
        reason: Why there is no step. Empty otherwise.
    """

    step: int | None
    low: int | None
    high: int | None
    reason: str = ""


def first_learnt(
    steps: Sequence[int],
    values: Sequence[float | None],
    stderrs: Sequence[float | None],
    threshold: float,
    quantile: float = 1.96,
) -> FirstLearnt:
    """First step at which a label is learnt for good, with an interval.

    The interval's upper end asks the same of value - quantile * stderr. Its lower end is the
    checkpoint before the first at which value + quantile * stderr stays above: what happened
    between two checkpoints is not known.

    Args:
        steps: [k], ascending.
        values: [k]; None where undefined, which no label survives: it counts as not learnt there.
        stderrs: [k]; None counts as exact.
        threshold: Value of a learnt label, e.g. half-way between its best baseline and its ceiling.
        quantile: Of the errors: 1.96 where they are well known; for the mean of k runs Student's t
            of k - 1 degrees of freedom, 4.30 for three. Where the errors given are half-widths of
            intervals, 1.

    Raises:
        ValueError: The lengths differ.

    >>> first_learnt([0, 10, 20, 30], [0.1, 0.5, 0.7, 0.9], [0.01, 0.1, 0.1, 0.1], threshold=0.6)
    FirstLearnt(step=20, low=0, high=30, reason='')
    >>> first_learnt([0, 10], [0.1, 0.2], [0.01, 0.01], threshold=0.6)
    FirstLearnt(step=None, low=10, high=None, reason='below 0.6 at the last checkpoint, step 10')
    """
    if not len(steps) == len(values) == len(stderrs):
        raise ValueError(
            f"one value and one error a step, got {len(steps)} steps, {len(values)} values,"
            f" {len(stderrs)} errors"
        )
    value = np.array([math.nan if v is None else v for v in values])
    spread = quantile * np.array([e or 0.0 for e in stderrs])
    # The upper bound is above first, and the lower one last.
    step = _stays_above(value, threshold)
    low = _stays_above(value + spread, threshold)
    high = _stays_above(value - spread, threshold)
    return FirstLearnt(
        steps[step] if step < len(steps) else None,
        steps[low - 1] if low else None,
        steps[high] if high < len(steps) else None,
        (
            ""
            if step < len(steps)
            else (
                f"below {threshold:g} at the last checkpoint, step {steps[-1]}"
                if steps
                else "no checkpoint"
            )
        ),
    )


def _stays_above(values: np.ndarray, threshold: float) -> int:
    """First index from which on all values reach the threshold.

    Their number where the last does not.
    """
    below = np.flatnonzero(~(values >= threshold))
    return int(below[-1]) + 1 if below.size else 0


def _drawn(groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    names = np.unique(groups)
    return rng.permutation(names)[: round(share * len(names))]
