"""Drawing sentences from a grammar and a lexicon.

In chunks, so that a corpus of any size takes bounded memory.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracedlm.corpora.grammar import Grammar
from tracedlm.corpora.lexicon import Lexicon

CHUNK = 5000
"""Sentences drawn together.

A longer corpus begins as a shorter one of the same seed does, chunk by chunk.
"""


def draw_sentences(
    grammar: Grammar, lexicon: Lexicon, sentences: int, held_out: float, seed: int
) -> Iterator[list[dict[str, Any]]]:
    """Rows of `records.sentences.SENTENCES`, chunk by chunk.

    Args:
        grammar: Sentence types and their probabilities.
        lexicon: Words and theirs.
        sentences: How many to draw.
        held_out: Share of different sentences kept from training, in [0, 1].
        seed: Equal seeds give equal corpora.
    """
    for start in range(0, sentences, CHUNK):
        rng = np.random.default_rng([seed, start])
        kinds = rng.choice(len(grammar.probability), size=CHUNK, p=grammar.probability)
        drawn = draw_words(grammar, lexicon, kinds, rng)
        rows = []
        for number in range(min(CHUNK, sentences - start)):
            kind, length = kinds[number], grammar.lengths[kinds[number]]
            words = [lexicon.words[word] for word in drawn[number, :length]]
            rows.append(
                {
                    "sentence_id": start + number,
                    "split": split_of(words, held_out, seed),
                    "frame": grammar.frames[grammar.frame[kind]],
                    "kind": int(kind),
                    "words": words,
                    "pos": [grammar.pos[symbol] for symbol in grammar.symbols[kind, :length]],
                    "roles": [
                        grammar.roles[role] if role >= 0 else None
                        for role in grammar.role[kind, :length]
                    ],
                }
            )
        yield rows


def draw_words(
    grammar: Grammar, lexicon: Lexicon, kinds: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Words of sentences of these types, int [sentences, places].

    Without meaning behind the end.
    """
    symbols = grammar.symbols[kinds]
    drawn = np.zeros(symbols.shape, dtype=np.int64)
    for symbol in range(len(grammar.classes)):
        words, here = slice(lexicon.start[symbol], lexicon.start[symbol + 1]), symbols == symbol
        drawn[here] = words.start + rng.choice(
            words.stop - words.start, size=here.sum(), p=lexicon.probability[words]
        )
    return drawn


def split_of(words: list[str], held_out: float, seed: int) -> str:
    """`train` or `held_out`.

    A function of the sentence's words, so that no sentence is in both however often it is drawn.
    """
    digest = hashlib.blake2b(f"{seed}/{' '.join(words)}".encode(), digest_size=8).digest()
    return "held_out" if int.from_bytes(digest) < held_out * 2**64 else "train"
