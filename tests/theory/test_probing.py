"""Splits that share nothing, controls that carry nothing, tables that are counted by hand, and when
a label is learnt.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.probing import (
    control_labels,
    f1_scores,
    first_learnt,
    lookup_predictions,
    resampled_error,
    sentence_split,
    word_split,
)

RNG = np.random.default_rng(0)
SENTENCE = np.repeat(np.arange(40), 5)
WORD = RNG.integers(30, size=200)


@pytest.mark.parametrize("seed", range(3))
def test_splits_share_no_sentence_and_no_word(seed):
    train, test = sentence_split(SENTENCE, 0.25, np.random.default_rng(seed))
    assert (train ^ test).all() and len(np.unique(SENTENCE[test])) == 10
    train, test = word_split(SENTENCE, WORD, 0.3, np.random.default_rng(seed))
    assert train.any() and test.any()
    assert not set(SENTENCE[train]) & set(SENTENCE[test]) and not set(WORD[train]) & set(WORD[test])


def test_control_labels_are_the_words_and_follow_the_distribution_of_the_labels():
    labels = np.array([0] * 150 + [1] * 50)
    control = control_labels(WORD, labels, np.random.default_rng(0))
    assert all(len(set(control[word == WORD])) == 1 for word in set(WORD))
    many = control_labels(np.arange(20_000), labels, np.random.default_rng(0))
    assert many.mean() == pytest.approx(0.25, abs=0.02)


PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30)


@given(PAIRS, st.lists(st.integers(-1, 6), max_size=10))
def test_a_table_says_the_commonest_label(pairs, asked):
    def commonest(labels):
        counts = Counter(labels)
        return min(counts, key=lambda label: (-counts[label], label))

    keys, labels = map(np.array, zip(*pairs, strict=True))
    expected = [
        commonest([label for key, label in pairs if key == one] or labels.tolist()) for one in asked
    ]
    assert lookup_predictions(keys, labels, np.array(asked, dtype=int)).tolist() == expected


@given(PAIRS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    truth, predicted = map(np.array, zip(*pairs, strict=True))
    for label, score in enumerate(f1_scores(truth, predicted, 5)):
        hits = ((truth == label) & (predicted == label)).sum()
        if not (truth == label).any():
            assert np.isnan(score)
        elif hits:
            precision, recall = hits / (predicted == label).sum(), hits / (truth == label).sum()
            assert score == pytest.approx(2 / (1 / precision + 1 / recall))
        else:
            assert score == 0


def test_errors_of_overlapping_splits_are_larger_than_those_of_independent_draws():
    values = [0.5, 0.6, 0.7]
    naive = np.std(values, ddof=1) / np.sqrt(3)
    assert resampled_error(values, 0.0) == pytest.approx(naive)
    assert resampled_error(values, 3 / 7) == pytest.approx(naive * np.sqrt(1 + 3 * 3 / 7))


def test_a_label_is_learnt_when_it_stays_learnt():
    steps = [0, 1, 2, 4, 8]
    assert first_learnt(steps, [0.1, 0.9, 0.2, 0.8, 0.9], [None] * 5, 0.5) == (4, 2, 4, "")
    assert first_learnt(steps, [0.9] * 5, [0.01] * 5, 0.5) == (0, None, 0, "")
    assert first_learnt(steps, [0.1, 0.9, None, 0.9, 0.9], [0.0] * 5, 0.5).step == 4
    unsure = first_learnt(steps, [0.1, 0.45, 0.55, 0.55, 0.55], [0.1] * 5, 0.5)
    assert (unsure.step, unsure.low, unsure.high) == (2, 0, None)
    # At the threshold is learnt.
    assert first_learnt(steps, [0.1, 0.5, 0.5, 0.5, 0.5], [None] * 5, 0.5) == (
        1,
        0,
        1,
        "",
    )
    sure, unsure = (
        first_learnt(steps, [0.6] * 5, [error] * 5, 0.5).high
        for error in (0.1 / 1.961, 0.1 / 1.959)
    )
    assert sure == 0 and unsure is None  # at 95 %, two-sided
    assert first_learnt([], [], [], 0.5).reason == "no checkpoint"
    with pytest.raises(ValueError, match="5 steps, 1 values"):
        first_learnt(steps, [0.1], [0.1], 0.5)


VALUES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3)), min_size=1, max_size=8)


@given(VALUES)
def test_the_interval_holds_the_step(rows):
    steps = list(range(0, 10 * len(rows), 10))
    found = first_learnt(steps, [value for value, _ in rows], [error for _, error in rows], 0.5)
    low, step, high = (
        -1 if found.low is None else found.low,
        *(10**6 if x is None else x for x in (found.step, found.high)),
    )
    assert low < step <= high
