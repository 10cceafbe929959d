"""What the grammar leaves open.

The surprisal of every token under the grammar itself, which no model can beat on average.
"""

from typing import Any

import numpy as np

from tracedlm.corpora.grammar import Grammar
from tracedlm.corpora.lexicon import Lexicon
from tracedlm.theory.grammar import (
    END,
    causal_surprisal,
    expected_masked_surprisal,
    f1_ceiling,
    role_ceiling,
)

RATIOS = tuple(step / 10 for step in range(11))
"""Mask ratios that the summary names."""


def causal_floor(
    grammar: Grammar, lexicon: Lexicon, kind: np.ndarray, words: np.ndarray
) -> np.ndarray:
    """Surprisal of each token given all before it, under the grammar.

    Args:
        grammar: Sentence types.
        lexicon: Words.
        kind: int [n], type of each sentence.
        words: int [n, places], index of each word in the lexicon, -1 behind the end; one place more
            than there are words.

    Returns:
        Nats [n, places]; the first place behind the last word is that of `<eos>`. 0 behind it.
    """
    return causal_surprisal(grammar.symbols, grammar.probability)[
        kind, : words.shape[1]
    ] + _word_surprisal(lexicon, words)


def masked_floor(
    grammar: Grammar, lexicon: Lexicon, kind: np.ndarray, words: np.ndarray, ratio: float
) -> np.ndarray:
    """Surprisal of each masked word, mean over masks of this ratio.

    Given its sentence's length and what is visible.

    Args:
        grammar: Sentence types.
        lexicon: Words.
        kind: int [n].
        words: int [n, places], -1 behind the end.
        ratio: Probability with which each other word is masked too, in [0, 1].

    Returns:
        Nats [n, places]; 0 behind the end.
    """
    surprisal = expected_masked_surprisal(grammar.symbols, grammar.probability, np.array([ratio]))[
        0
    ]
    return surprisal[kind, : words.shape[1]] + _word_surprisal(lexicon, words)


def limits(grammar: Grammar, lexicon: Lexicon) -> dict[str, Any]:
    """Floors and ceilings in expectation over all sentences.

    Returns:
        `causal`: nats per token, `<eos>` among them; `masked`: ratio -> nats per masked word, by
            `RATIOS`; `causal_by_role`: role -> nats
        per word; `ceiling_prefix` and `ceiling_sentence`: largest accuracy of a classifier of roles
            that sees the sentence up to the
        word, or all of it; `f1_prefix` and `f1_sentence`: role -> its largest F1.
    """
    is_word = grammar.symbols != END
    inside = np.where(is_word, lexicon.entropy()[grammar.symbols], 0.0)
    weight = np.broadcast_to(grammar.probability[:, None], is_word.shape)
    causal = causal_surprisal(grammar.symbols, grammar.probability) + inside
    masked = (
        expected_masked_surprisal(grammar.symbols, grammar.probability, np.array(RATIOS)) + inside
    )
    roles = {name: grammar.role == number for number, name in enumerate(grammar.roles)}
    occurring = {name: where for name, where in roles.items() if (weight * where).sum() > 0}

    def mean(values: np.ndarray, where: np.ndarray) -> float:
        return float((values * weight)[where].sum() / weight[where].sum())

    ceilings = {
        name: role_ceilings(grammar, grammar.probability, causal)
        for name, causal in (("prefix", True), ("sentence", False))
    }
    return {
        "causal": float((causal * weight).sum() / (weight[is_word].sum() + 1)),
        "masked": {
            f"{ratio:g}": mean(values, is_word)
            for ratio, values in zip(RATIOS, masked, strict=True)
        },
        "causal_by_role": {name: mean(causal, where) for name, where in occurring.items()},
        **{f"ceiling_{name}": accuracy for name, (accuracy, _) in ceilings.items()},
        **{f"f1_{name}": f1 for name, (_, f1) in ceilings.items()},
    }


def role_ceilings(
    grammar: Grammar, probability: np.ndarray, causal: bool
) -> tuple[float, dict[str, float]]:
    """What the best reader of roles reaches where sentence types have these probabilities.

    The grammar's, or shares of some sentences.

    Which words stand in a sentence says no more about its roles than their classes do, so this is
    all that there is to know.

    Args:
        grammar: Sentence types.
        probability: float [types], sums to 1. Different sentences, as models are evaluated on, are
            not distributed as the grammar draws.
        causal: The reader sees the sentence up to the word; else all of it.

    Returns:
        Largest accuracy; and role -> its largest F1, for roles that occur.
    """
    settled = grammar.symbols, grammar.role, probability, causal
    likeliest, best = role_ceiling(*settled), f1_ceiling(*settled)
    scored = ~np.isnan(likeliest)
    weight = np.broadcast_to(probability[:, None], scored.shape)[scored]
    f1 = {
        name: float(value)
        for name, value in zip(grammar.roles, best, strict=False)
        if not np.isnan(value)
    }
    return float((likeliest[scored] * weight).sum() / weight.sum()), f1


def _word_surprisal(lexicon: Lexicon, words: np.ndarray) -> np.ndarray:
    return np.where(words >= 0, -np.log(lexicon.probability[words]), 0.0)
