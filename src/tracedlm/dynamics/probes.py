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
            folds = [
                fold
                for seed in seeds
                if (fold := _fold(tokens, split, seed, max_tokens)) is not None
            ]
            for name, keys in BASELINES.items():
                table = keys(tokens)

                def look_up(fold: Fold, label: np.ndarray, table: np.ndarray = table) -> np.ndarray:
                    return lookup_predictions(
                        table[fold.train], label[fold.train], table[fold.test]
                    )

                measures += _measured(
                    look_up,
                    f"{name}.{task}.{split}",
                    None,
                    labels.names,
                    tokens,
                    folds,
                    control=False,
                )
            for layer, layer_states in enumerate(states):
                features = layer_states[tokens.where]
                for name in classifiers:

                    def probe(
                        fold: Fold,
                        label: np.ndarray,
                        features: np.ndarray = features,
                        name: str = name,
                    ) -> np.ndarray:
                        return _probed(CLASSIFIERS[name](fold.seed), features, label, fold)

                    measures += _measured(
                        probe,
                        f"{name}.{task}.{split}",
                        layer,
                        labels.names,
                        tokens,
                        folds,
                        control=split == "sentence",
                    )
    return measures


def _scored(labels: Labels, word: np.ndarray) -> Tokens:
    where = labels.ids >= 0
    sentence, position = np.nonzero(where)
    return Tokens(where, labels.ids[where], word[where], sentence, position)


def _fold(tokens: Tokens, split: str, seed: int, max_tokens: int) -> Fold | None:
    """None where a side is empty.

    A label that training never saw cannot be learnt: its tokens are not tested on.
    """
    rng = np.random.default_rng(seed)
    if split == "sentence":
        sides = sentence_split(tokens.sentence, TEST_SHARE, rng)
    else:
        sides = word_split(tokens.sentence, tokens.word, TEST_SHARE, rng)
    train, test = (np.flatnonzero(side) for side in sides)
    train = rng.permutation(train)[:max_tokens]
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
        warnings.filterwarnings(
            "ignore", message="Got `batch_size`"
        )  # fewer tokens than a batch are one batch
        classifier.fit((train - mean) / spread, classes)
    return classifier.predict((test - mean) / spread)


def _measured(
    predict: Callable[[Fold, np.ndarray], np.ndarray],
    module: str,
    layer: int | None,
    names: Sequence[str],
    tokens: Tokens,
    folds: Sequence[Fold],
    control: bool,
) -> list[Measure]:
    started = time.process_time()
    scores = []
    for fold in folds:
        truth, predicted = tokens.label[fold.test], predict(fold, tokens.label)
        by_heart = (
            float((predict(fold, fold.control) == fold.control[fold.test]).mean())
            if control
            else None
        )
        scores.append(
            Scores(
                float((predicted == truth).mean()),
                f1_scores(truth, predicted, len(names)),
                by_heart,
            )
        )
    ratio = float(np.mean([len(fold.test) / len(fold.train) for fold in folds])) if folds else 0.0
    counts = np.array(
        [np.bincount(tokens.label[fold.test], minlength=len(names)) for fold in folds]
    )

    def row(metric: str, label: str, values: list[float], n: float, reason: str) -> Measure:
        if not values:
            return Measure(module, layer, metric, label, None, None, 0, 0.0, reason)
        return Measure(
            module,
            layer,
            metric,
            label,
            float(np.mean(values)),
            resampled_error(values, ratio),
            round(n),
            0.0,
        )

    everything = float(counts.sum(axis=1).mean()) if folds else 0.0
    nothing = "the split leaves no token to train or test on"
    rows = [row("accuracy", "", [score.accuracy for score in scores], everything, nothing)]
    if control:
        chance = [(score.accuracy, score.control) for score in scores if score.control is not None]
        rows.append(row("control", "", [known for _, known in chance], everything, nothing))
        rows.append(
            row(
                "selectivity",
                "",
                [accuracy - known for accuracy, known in chance],
                everything,
                nothing,
            )
        )
    for index, name in enumerate(names):
        values = [float(score.f1[index]) for score in scores if not np.isnan(score.f1[index])]
        rows.append(
            row(
                "f1",
                name,
                values,
                float(counts[:, index].mean()) if values else 0.0,
                "no token of this label to test on",
            )
        )
    return share_seconds(rows, time.process_time() - started)
