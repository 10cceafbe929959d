"""The words of each class and their frequencies by Zipf's law."""

from dataclasses import dataclass

import numpy as np

from tracedlm.corpora.grammar import Grammar
from tracedlm.theory.grammar import zipf

CLOSED = {"det": 4, "aux": 2, "by": 1, "with": 2, "in": 3, "from": 2, "to": 2}
"""Words of classes that do not grow with the lexicon."""

OPEN = {
    "person": 0.2,
    "thing": 0.26,
    "tool": 0.08,
    "place": 0.12,
    "time": 0.04,
    "act": 0.06,
    "move": 0.04,
    "give": 0.03,
    "feel": 0.04,
    "rest": 0.03,
    "change": 0.03,
    "adj": 0.05,
    "adv": 0.02,
}
"""Shares of the other words."""


@dataclass(frozen=True)
class Lexicon:
    """Words and their probabilities given their class.

    Attributes:
        words: Every word, class by class, most frequent first.
        word_class: int [words], index of the class.
        probability: float64 [words], given the class; sums to 1 over each.
        start: int [classes + 1]: words of class c are start[c] .. start[c + 1] - 1.
        exponent: Of Zipf's law.
    """

    words: tuple[str, ...]
    word_class: np.ndarray
    probability: np.ndarray
    start: np.ndarray
    exponent: float

    def entropy(self) -> np.ndarray:
        """Entropy of a class' word, nats [classes]."""
        surprisal = -self.probability * np.log(self.probability)
        return np.add.reduceat(surprisal, self.start[:-1])


def zipfian_lexicon(grammar: Grammar, types: int, exponent: float) -> Lexicon:
    """About `types` words in all; each class' frequencies follow Zipf's law with one exponent.

    Raises:
        ValueError: There are too few types for every open class to have two words.
    """
    closed = sum(CLOSED.values())
    sizes = [CLOSED.get(name) or round((types - closed) * OPEN[name]) for name in grammar.classes]
    if min(size for name, size in zip(grammar.classes, sizes, strict=True) if name in OPEN) < 2:
        raise ValueError(
            f"types = {types} leaves a word class with fewer than two words; use at least"
            f" {closed + round(2 / min(OPEN.values()))}"
        )
    words = tuple(
        f"{name}{rank}"
        for name, size in zip(grammar.classes, sizes, strict=True)
        for rank in range(1, size + 1)
    )
    return Lexicon(
        words=words,
        word_class=np.repeat(np.arange(len(sizes)), sizes),
        probability=np.concatenate([zipf(size, exponent) for size in sizes]),
        start=np.concatenate([[0], np.cumsum(sizes)]),
        exponent=exponent,
    )
