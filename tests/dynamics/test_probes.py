"""Probes of states whose labels are known to be there, to be words only, or not to be there."""

import numpy as np
import pytest

from tracedlm.dynamics import Labels, probe_measures

N, LENGTH, WORDS, CLASSES = 150, 6, 60, 4
NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def text():
    """Labels that words decide, in words of equal frequency."""
    rng = np.random.default_rng(0)
    word = rng.integers(WORDS, size=(N, LENGTH))
    return rng, word, word % CLASSES


def measured(states, label, word, **settings):
    found = probe_measures(
        states[None].astype(np.float32), {"task": Labels(label, NAMES)}, word, **settings
    )
    return {(one.module, one.metric, one.label): one for one in found}


@pytest.fixture(scope="module")
def at_chance(text):
    rng, word, _ = text
    return measured(
        rng.normal(size=(N, LENGTH, 12)),
        rng.integers(CLASSES, size=(N, LENGTH)),
        word,
        seeds=range(4),
    )


def test_random_labels_are_at_chance(at_chance):
    for module in (
        "linear.task.sentence",
        "mlp.task.sentence",
        "linear.task.word",
        "mlp.task.word",
    ):
        found = at_chance[module, "accuracy", ""]
        # Student's t, 4 seeds; and the binomial error of the test tokens themselves, which the
        # splits share in part.
        assert found.value == pytest.approx(
            1 / CLASSES, abs=3.18 * found.stderr + 2 / np.sqrt(found.n * 16 / 3)
        )
        assert 0 < found.stderr < 0.08 and found.layer == 0 and found.seconds > 0


def test_random_labels_have_no_selectivity(at_chance):
    found = at_chance["linear.task.sentence", "selectivity", ""]
    assert found.value == pytest.approx(0, abs=0.12)


def test_separable_labels_are_read_whole(text):
    rng, word, label = text
    states = np.eye(CLASSES)[label] @ rng.normal(size=(CLASSES, 12)) + 0.01 * rng.normal(
        size=(N, LENGTH, 12)
    )
    found = measured(states, label, word, seeds=(0, 1))
    for module in (
        "linear.task.sentence",
        "mlp.task.sentence",
        "linear.task.word",
        "mlp.task.word",
    ):
        assert found[module, "accuracy", ""].value == 1
        assert [found[module, "f1", name].value for name in NAMES] == [1] * 4
    # Labels are in the states and words are not: the control task fails.
    assert found["linear.task.sentence", "selectivity", ""].value > 0.4


def test_states_that_are_words_solve_the_control_task_too(text):
    _, word, label = text
    found = measured(np.eye(WORDS)[word], label, word, seeds=(0, 1), classifiers=("linear",))
    assert found["linear.task.sentence", "accuracy", ""].value > 0.97
    assert found["linear.task.sentence", "control", ""].value > 0.97
    assert abs(found["linear.task.sentence", "selectivity", ""].value) < 0.03
    assert found["linear.task.word", "accuracy", ""].value < 0.5  # a word never seen says nothing
    assert ("linear.task.word", "control", "") not in found


def test_tables_set_the_bar(text):
    _, word, _ = text
    label = np.where(np.arange(LENGTH) < 4, 0, np.where(word % 2, 1, 2))
    found = measured(np.zeros((N, LENGTH, 2)), label, word, seeds=(0, 1), classifiers=("linear",))
    values = [
        found[f"{name}.task.sentence", "accuracy", ""].value
        for name in ("majority", "position", "word", "linear")
    ]
    assert values[0] == pytest.approx(4 / 6) == values[3]
    assert values[1] == pytest.approx(4 / 6 + 1 / 6, abs=0.05)
    assert found["majority.task.sentence", "accuracy", ""].layer is None
    assert found["majority.task.sentence", "f1", "b"].value == 0  # though it is right on two thirds


def test_what_is_not_there_is_undefined_and_padding_is_not_read(text):
    rng, word, label = text
    states = rng.normal(size=(N, LENGTH, 3))
    states[:, -1] = np.nan
    label = np.where(np.arange(LENGTH) == LENGTH - 1, -1, np.where(label == 3, 2, label))
    found = measured(states, label, word, seeds=(0,), classifiers=("linear",))
    missing = found["linear.task.sentence", "f1", "d"]
    assert (missing.value, missing.n, missing.reason) == (
        None,
        0,
        "no token of this label to test on",
    )
    assert found["linear.task.sentence", "accuracy", ""].stderr is None  # one seed
    single = measured(states, label, np.zeros_like(word), seeds=(0,), classifiers=("linear",))
    assert "leaves no token" in single["linear.task.word", "accuracy", ""].reason
    with pytest.raises(ValueError, match="must be alike"):
        probe_measures(states[None, :5], {"task": Labels(label, NAMES)}, word)
