"""Probes: classifiers that read a token's label from a layer's states.

They are trained afresh at every checkpoint, and compared with what they must beat.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from tracedlm.dynamics.batches import Labels
from tracedlm.dynamics.outputs import share_seconds
from tracedlm.records.measures import Measure
from tracedlm.theory.probing import (
    control_labels,
    f1_scores,
    lookup_predictions,
    resampled_error,
    sentence_split,
    word_split,
)

SPLITS = ("sentence", "word")
TEST_SHARE = 0.3
"""Of the sentences to test on, and in the split by words of the words too."""

BASELINES: dict[str, Callable[["Tokens"], np.ndarray]] = {
    "majority": lambda tokens: np.zeros_like(tokens.word),
    "position": lambda tokens: tokens.position,
    "word": lambda tokens: tokens.word,
}
"""What a table that never sees the model may look a label up by."""

CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    # Regularised logistic regression, the field's linear probe. On standardised float32 states it
    # takes 0.05 CPU-s, not the 1 to 14 of raw ones, so the cheaper ridge classifier, which masks
    # the middle ones of many classes, buys nothing.
    "linear": lambda seed: LogisticRegression(max_iter=100, tol=1e-3, random_state=seed),
    "mlp": lambda seed: MLPClassifier(
        (64,),
        batch_size=256,  # pyright: ignore[reportArgumentType]
        learning_rate_init=1e-2,
        max_iter=10,
        random_state=seed,
    ),
}
"""A new probe for a seed.

Its iterations are its budget: where they end it before convergence, that is the probe we mean.
"""


class Tokens(NamedTuple):
    """The tokens that a task scores; int [tokens] each.

    where: bool [n, length], which they are.
    """

    where: np.ndarray
    label: np.ndarray
    word: np.ndarray
    sentence: np.ndarray
    position: np.ndarray


class Fold(NamedTuple):
    """Indices of the tokens that one seed trains and tests on.

    And the control task's labels of all tokens.
    """

    seed: int
    train: np.ndarray
    test: np.ndarray
    control: np.ndarray


class Scores(NamedTuple):
    """Scores of one fold.

    Accuracy, F1 of each class (NaN where undefined), and accuracy on the control task (None where
    it is not asked).
    """

    accuracy: float
    f1: np.ndarray
    control: float | None


def probe_measures(
    states: np.ndarray,
    tasks: Mapping[str, Labels],
    word: np.ndarray,
    seeds: Sequence[int] = (0, 1, 2),
    classifiers: Sequence[str] = tuple(CLASSIFIERS),
    max_tokens: int = 2000,
) -> list[Measure]:
    """How well probes of each layer read each task's labels.

    On tokens of other sentences, and of other sentences and words.

    A seed draws the split, the control labels and the probe's start, the same at every checkpoint.
    In the split by words the control task is not asked: nothing that is learnt by heart helps
    there.

    Args:
        states: float32 [layers + 1, n, length, d] of `hidden_states`.
        tasks: Name -> label of each token.
        word: int [n, length], type of each token.
        seeds: One split each; two at least for errors.
        classifiers: Of `linear`, `mlp`.
        max_tokens: Most tokens to train on, drawn at random; baselines get the same.

    Returns:
        module = classifier.task.split, also for the baselines majority, position and word, which
            have no layer. accuracy, f1 by class,
        and in the split by sentences control (accuracy on the control task) and selectivity
            (accuracy - control). Means over seeds with
        the standard error of overlapping splits (`theory.probing.resampled_error`); n = tokens
            tested on, mean over seeds.

    Raises:
        ValueError: The arrays' shapes differ.
    """
    measures = []
    for task, labels in tasks.items():
        if not labels.ids.shape == word.shape == states.shape[1:3]:
            raise ValueError(
                f"states of {states.shape[1:3]} tokens, labels of {task} {labels.ids.shape}, words"
                f" {word.shape}: must be alike"
            )
        tokens = _scored(labels, word)
        for split in SPLITS:
            folds = []
            for seed in seeds:
                fold = _fold(tokens, split, seed, max_tokens)
                if fold is not None:
                    folds.append(fold)
            question = _Question(f"{task}.{split}", labels.names, tokens, folds)
            measures += _baseline_measures(question)
            for layer, layer_states in enumerate(states):
                features = layer_states[tokens.where]
                for classifier in classifiers:
                    # Nothing that is learnt by heart helps in the split by words.
                    measures += _probe_measures(
                        question, classifier, layer, features, control=split == "sentence"
                    )
    return measures


class _Question(NamedTuple):
    """One task on one split: `task.split`, its labels' names, its tokens and its folds."""

    name: str
    names: tuple[str, ...]
    tokens: Tokens
    folds: list[Fold]


def _baseline_measures(question: _Question) -> list[Measure]:
    """Scores of looking a token's label up by what is known of it without a model."""
    measures = []
    for baseline, keys in BASELINES.items():
        table = keys(question.tokens)

        def look_up(fold: Fold, label: np.ndarray, table: np.ndarray = table) -> np.ndarray:
            return lookup_predictions(table[fold.train], label[fold.train], table[fold.test])

        measures += _measured(look_up, question, baseline, None, control=False)
    return measures


def _probe_measures(
    question: _Question, classifier: str, layer: int, features: np.ndarray, control: bool
) -> list[Measure]:
    """Scores of one kind of probe on a layer's states, [tokens, d]."""

    def probe(fold: Fold, label: np.ndarray) -> np.ndarray:
        return _probed(CLASSIFIERS[classifier](fold.seed), features, label, fold)

    return _measured(probe, question, classifier, layer, control=control)


def _scored(labels: Labels, word: np.ndarray) -> Tokens:
    scored = labels.ids >= 0
    sentence, position = np.nonzero(scored)
    return Tokens(scored, labels.ids[scored], word[scored], sentence, position)


def _fold(tokens: Tokens, split: str, seed: int, max_tokens: int) -> Fold | None:
    """None where a side is empty.

    A label that training never saw cannot be learnt: its tokens are not tested on.
    """
    rng = np.random.default_rng(seed)
    if split == "sentence":
        sides = sentence_split(tokens.sentence, TEST_SHARE, rng)
    else:
        sides = word_split(tokens.sentence, tokens.word, TEST_SHARE, rng)
    train = rng.permutation(np.flatnonzero(sides[0]))[:max_tokens]
    test = np.flatnonzero(sides[1])
    test = test[np.isin(tokens.label[test], tokens.label[train])]
    if not len(train) or not len(test):
        return None
    return Fold(seed, train, test, control_labels(tokens.word, tokens.label, rng))


def _probed(classifier: Any, features: np.ndarray, label: np.ndarray, fold: Fold) -> np.ndarray:
    """Predictions for the test tokens of a probe trained on the training tokens.

    Features in units of their spread there.
    """
    train, test, classes = features[fold.train], features[fold.test], label[fold.train]
    if (classes == classes[0]).all():
        return np.full(len(test), classes[0])
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread == 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Fewer tokens than a batch are one batch.
        warnings.filterwarnings("ignore", message="Got `batch_size`")
        classifier.fit((train - mean) / spread, classes)
    return classifier.predict((test - mean) / spread)


def _measured(
    predict: Callable[[Fold, np.ndarray], np.ndarray],
    question: _Question,
    reader: str,
    layer: int | None,
    control: bool,
) -> list[Measure]:
    """Measures of one reader (a probe or a baseline), over all folds."""
    started = time.process_time()
    scores = [_score(predict, question, fold, control) for fold in question.folds]
    # Tokens of each label that a fold tests on, [folds, labels].
    counts = np.array(
        [
            np.bincount(question.tokens.label[fold.test], minlength=len(question.names))
            for fold in question.folds
        ]
    )
    ratios = [len(fold.test) / len(fold.train) for fold in question.folds]
    ratio = float(np.mean(ratios)) if ratios else 0.0

    def row(metric: str, label: str, values: list[float], n: float, reason: str) -> Measure:
        return Measure(
            module=f"{reader}.{question.name}",
            layer=layer,
            metric=metric,
            label=label,
            value=float(np.mean(values)) if values else None,
            stderr=resampled_error(values, ratio) if values else None,
            n=round(n) if values else 0,
            seconds=0.0,
            reason="" if values else reason,
        )

    tested = float(counts.sum(axis=1).mean()) if question.folds else 0.0
    untested = "the split leaves no token to train or test on"
    rows = [row("accuracy", "", [score.accuracy for score in scores], tested, untested)]
    if control:
        by_heart = [score.control for score in scores if score.control is not None]
        gaps = [score.accuracy - score.control for score in scores if score.control is not None]
        rows.append(row("control", "", by_heart, tested, untested))
        rows.append(row("selectivity", "", gaps, tested, untested))
    for index, name in enumerate(question.names):
        values = [float(score.f1[index]) for score in scores if not np.isnan(score.f1[index])]
        n = float(counts[:, index].mean()) if values else 0.0
        rows.append(row("f1", name, values, n, "no token of this label to test on"))
    return share_seconds(rows, time.process_time() - started)


def _score(
    predict: Callable[[Fold, np.ndarray], np.ndarray],
    question: _Question,
    fold: Fold,
    control: bool,
) -> Scores:
    """Scores of one reader on one fold."""
    truth = question.tokens.label[fold.test]
    predicted = predict(fold, question.tokens.label)
    by_heart = None
    if control:
        right = predict(fold, fold.control) == fold.control[fold.test]
        by_heart = float(right.mean())
    accuracy = float((predicted == truth).mean())
    return Scores(accuracy, f1_scores(truth, predicted, len(question.names)), by_heart)
