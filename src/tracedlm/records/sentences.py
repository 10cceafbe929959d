"""Annotated sentences (`dynamics/corpus/sentences.parquet`) and their vocabulary.

Both also as the arrays that models and probes take.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tracedlm.records.parquet import column, read_table

SPECIAL = ("<pad>", "<bos>", "<eos>", "<mask>")
PAD = 0
BOS = 1
EOS = 2
MASK = 3
"""The first token ids of every vocabulary; words follow in the order of `VOCABULARY`."""

SENTENCES = pa.schema(
    [
        column("sentence_id", pa.int32(), "index in the corpus, from 0"),
        column(
            "split",
            pa.string(),
            "train or held_out, by the sentence's words: no sentence is in both",
        ),
        column("frame", pa.string(), "semantic frame"),
        column(
            "kind",
            pa.int32(),
            "sentence type of the grammar it was drawn from; null where there is none",
        ),
        column("words", pa.list_(pa.string()), "its words"),
        column("pos", pa.list_(pa.string()), "part of speech of each word"),
        column(
            "roles", pa.list_(pa.string()), "semantic role of each word; null where it has none"
        ),
    ]
)

VOCABULARY = pa.schema(
    [
        column(
            "word", pa.string(), "word; its token id is its row plus the number of special tokens"
        ),
        column("pos", pa.string(), "part of speech; null where the corpus has several"),
        column("count", pa.int64(), "occurrences in the corpus"),
        column(
            "surprisal",
            pa.float64(),
            "-log of its probability given its class, nats; null where no grammar is known",
        ),
    ]
)


@dataclass(frozen=True)
class Sentences:
    """Sentences as token ids with gold labels: `<bos>`, words, `<eos>`, padded on the right.

    Attributes:
        vocabulary: Every token's text, by id.
        pos_names: What values of `pos` mean.
        role_names: What values of `role` mean.
        input_ids: int64 [n, width].
        attention_mask: int64 [n, width], 1 = a token.
        pos: int64 [n, width]; -1 where it is not to be scored: special tokens and padding.
        role: int64 [n, width]; -1 likewise, and for words without a role.
        word: int64 [n, width], the token id of a word; -1 for special tokens and padding.
        position: int64 [n, width], index of the word in its sentence, from 0; -1 likewise.
        kind: int64 [n], sentence type of the grammar; -1 where there is none.
    """

    vocabulary: tuple[str, ...]
    pos_names: tuple[str, ...]
    role_names: tuple[str, ...]
    input_ids: np.ndarray
    attention_mask: np.ndarray
    pos: np.ndarray
    role: np.ndarray
    word: np.ndarray
    position: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.input_ids)


def read_vocabulary(path: str | Path) -> tuple[str, ...]:
    """Every token's text by id, special ones first.

    Raises:
        ValueError: The file is missing or of another kind.
    """
    # The table holds words alone: no corpus has special tokens.
    return (*SPECIAL, *read_table(path, VOCABULARY, "a vocabulary", ["word"])["word"].to_pylist())


def read_sentences(
    corpus: str | Path,
    vocabulary: Sequence[str],
    pos_names: Sequence[str],
    role_names: Sequence[str],
    split: str,
    limit: int | None = None,
) -> Sentences:
    """Sentences of one split, in the order of the corpus.

    Args:
        corpus: Table of `SENTENCES`.
        vocabulary: Every token's text by id.
        pos_names: Parts of speech, in the order of their numbers.
        role_names: Roles, in the order of theirs.
        split: `train` or `held_out`.
        limit: Different sentences at most, repetitions left out; None: all, with their repetitions.

    Raises:
        ValueError: The file is missing or of another kind, holds no sentence of this split, or a
            word or label that is not known.
    """
    rows = _rows_of(corpus, split, limit)
    token_ids = {text: number for number, text in enumerate(vocabulary)}
    pos_ids = {name: number for number, name in enumerate(pos_names)}
    role_ids = {name: number for number, name in enumerate(role_names)}
    width = max(len(row["words"]) for row in rows) + 2  # a begin token and an end token
    shape = (len(rows), width)
    ids = np.full(shape, PAD, dtype=np.int64)
    attention = np.zeros(shape, dtype=np.int64)
    # -1 where a token has no label: begin, end, padding, and words without a role.
    pos_of = np.full(shape, -1, dtype=np.int64)
    role_of = np.full(shape, -1, dtype=np.int64)
    word = np.full(shape, -1, dtype=np.int64)
    position = np.full(shape, -1, dtype=np.int64)
    for number, row in enumerate(rows):
        words = slice(1, len(row["words"]) + 1)
        try:
            ids[number, words] = [token_ids[text] for text in row["words"]]
            pos_of[number, words] = [pos_ids[name] for name in row["pos"]]
            role_of[number, words] = [
                -1 if name is None else role_ids[name] for name in row["roles"]
            ]
        except KeyError as error:
            raise ValueError(
                f"{corpus}: sentence {row['sentence_id']}: {error.args[0]!r} is not known; make the"
                " corpus anew"
            ) from None
        word[number, words] = ids[number, words]
        position[number, words] = np.arange(len(row["words"]))
        ids[number, 0] = BOS
        ids[number, words.stop] = EOS
        attention[number, : words.stop + 1] = 1
    kind = np.array([-1 if row["kind"] is None else row["kind"] for row in rows], dtype=np.int64)
    return Sentences(
        vocabulary=tuple(vocabulary),
        pos_names=tuple(pos_names),
        role_names=tuple(role_names),
        input_ids=ids,
        attention_mask=attention,
        pos=pos_of,
        role=role_of,
        word=word,
        position=position,
        kind=kind,
    )


def _rows_of(corpus: str | Path, split: str, limit: int | None) -> list[dict[str, Any]]:
    """Rows of one split of a corpus, each with a part of speech and a role for each word."""
    table = read_table(corpus, SENTENCES, "a corpus")
    rows = [row for row in table.to_pylist() if row["split"] == split]
    if limit is not None:
        # The last of equal sentences stays, at the place of the first.
        different = {tuple(row["words"]): row for row in rows}
        rows = list(different.values())[:limit]
    for row in rows:
        words = len(row["words"] or ())
        if not words or len(row["pos"] or ()) != words or len(row["roles"] or ()) != words:
            raise ValueError(
                f"{corpus}: sentence {row['sentence_id']}: needs words, and a part of speech and a"
                " role for each of them"
            )
    if not rows:
        raise ValueError(
            f"{corpus}: no sentence of split {split!r}; draw more sentences, or raise"
            " dynamics.held_out"
        )
    return rows
