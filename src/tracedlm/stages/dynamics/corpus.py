"""Rule `dynamics_corpus`.

Sentences with gold labels, their vocabulary, and what the grammar says no model can beat.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from tracedlm.config import Dynamics
from tracedlm.corpora.absynth import read_absynth
from tracedlm.corpora.corpus import draw_sentences
from tracedlm.corpora.floors import limits
from tracedlm.corpora.grammar import Grammar, frame_grammar
from tracedlm.corpora.lexicon import Lexicon, zipfian_lexicon
from tracedlm.records.manifest import write_manifest
from tracedlm.records.parquet import table_writer, write_table
from tracedlm.records.sentences import SENTENCES, VOCABULARY
from tracedlm.theory.grammar import expected_types, fitted_exponent

FOREIGN = "the corpus is read from a file: no grammar is known to compute it from"


def make_corpus(settings: Dynamics, seed: int, out: dict[str, Path]) -> None:
    """Draw a corpus, or read one in ABSynth's format, in chunks.

    Write it with its vocabulary and its limits.

    Args:
        settings: See `config.Dynamics`.
        seed: Of the draws and of what is held out.
        out: `sentences` and `vocabulary`, Parquet; `limits`, JSON: floors in nats, ceilings in [0,
            1], and how the corpus fits its grammar: frames asked for and drawn with the chi-square
            test's p-value, exponent asked for and fitted, types seen.

    Raises:
        ValueError: A setting or a row of the file is unusable.
    """
    known = None if settings.corpus_file else grammar_of(settings)
    chunks = (
        draw_sentences(*known, settings.sentences, settings.held_out, seed)
        if known
        else read_absynth(str(settings.corpus_file), settings.held_out, seed)
    )
    counts, frames, kinds = Counter(), Counter(), dict[str, set[str]]()
    with table_writer(out["sentences"], SENTENCES) as table:
        for rows in chunks:
            table.write(rows)
            for row in rows:
                counts.update(row["words"])
                frames[row["frame"]] += 1
                for word, pos in zip(row["words"], row["pos"], strict=True):
                    kinds.setdefault(word, set()).add(pos)
    write_table(
        out["vocabulary"],
        _vocabulary(known[1] if known else None, known[0] if known else None, counts, kinds),
        VOCABULARY,
    )
    facts = {
        "sentences": frames.total(),
        "tokens": counts.total(),
        "types": len(counts),
        "frames": dict(sorted(frames.items(), key=str)),
    }
    measured = {**limits(*known), **_fit(*known, counts, frames)} if known else {"reason": FOREIGN}
    write_manifest(out["limits"], "dynamics.corpus", seed=seed, **facts, **measured)


def grammar_of(settings: Dynamics) -> tuple[Grammar, Lexicon]:
    """Grammar and lexicon that a corpus with these settings is drawn from."""
    grammar = frame_grammar(settings.frames)
    return grammar, zipfian_lexicon(grammar, settings.types, settings.exponent)


def _vocabulary(
    lexicon: Lexicon | None, grammar: Grammar | None, counts: Counter, kinds: dict[str, set[str]]
) -> list[dict[str, Any]]:
    if lexicon is None or grammar is None:
        return [
            {
                "word": word,
                "pos": min(kinds[word]) if len(kinds[word]) == 1 else None,
                "count": counts[word],
                "surprisal": None,
            }
            for word in sorted(counts)
        ]
    pos = [grammar.pos[symbol] for symbol in lexicon.word_class]
    return [
        {"word": word, "pos": one, "count": counts[word], "surprisal": float(-np.log(probability))}
        for word, one, probability in zip(lexicon.words, pos, lexicon.probability, strict=True)
    ]


def _fit(grammar: Grammar, lexicon: Lexicon, counts: Counter, frames: Counter) -> dict[str, Any]:
    """How the drawn corpus fits what was asked for."""
    shares = np.bincount(grammar.frame, weights=grammar.probability)
    drawn = np.array([frames[name] for name in grammar.frames])
    chi_square = scipy.stats.chisquare(drawn, shares * drawn.sum())
    by_word = np.array([counts[word] for word in lexicon.words])
    largest = int(np.argmax(np.diff(lexicon.start)))
    words = slice(lexicon.start[largest], lexicon.start[largest + 1])
    by_class = np.add.reduceat(by_word, lexicon.start[:-1])
    seen = [
        expected_types(lexicon.probability[start:stop], drawn)
        for start, stop, drawn in zip(lexicon.start[:-1], lexicon.start[1:], by_class, strict=True)
    ]
    return {
        "frame_shares": dict(zip(grammar.frames, shares.tolist(), strict=True)),
        "frame_p": float(chi_square.pvalue) if len(shares) > 1 else None,
        "exponent": {
            "asked": lexicon.exponent,
            "fitted": fitted_exponent(by_word[words]),
            "class": grammar.classes[largest],
        },
        "expected_types": float(sum(seen)),
        "lexicon": len(lexicon.words),
    }
