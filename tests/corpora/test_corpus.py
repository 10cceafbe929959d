"""The drawn corpus is what was asked for: frames, words, labels, splits, bytes.

And others' corpora are read, bad rows by name.
"""

import json
from collections import Counter

import numpy as np
import pytest
import scipy.stats

from tracedlm.corpora.absynth import POS as PENN_POS
from tracedlm.corpora.absynth import read_absynth
from tracedlm.corpora.corpus import draw_sentences
from tracedlm.corpora.floors import causal_floor, limits, masked_floor
from tracedlm.corpora.grammar import CLASSES, POS, ROLES, frame_grammar
from tracedlm.corpora.lexicon import zipfian_lexicon
from tracedlm.records.parquet import read_table, table_writer
from tracedlm.records.sentences import BOS, EOS, PAD, SENTENCES, SPECIAL, read_sentences
from tracedlm.theory.grammar import expected_types, fitted_exponent

GRAMMAR = frame_grammar()
LEXICON = zipfian_lexicon(GRAMMAR, 300, 1.05)


@pytest.fixture(scope="module")
def rows():
    return [row for chunk in draw_sentences(GRAMMAR, LEXICON, 12_000, 0.1, seed=3) for row in chunk]


def test_frames_are_drawn_as_asked_for(rows):
    drawn = Counter(row["frame"] for row in rows)
    shares = np.bincount(GRAMMAR.frame, weights=GRAMMAR.probability)
    assert (
        scipy.stats.chisquare([drawn[name] for name in GRAMMAR.frames], shares * len(rows)).pvalue
        > 0.01
    )


def test_other_shares_of_frames_are_honoured_too():
    grammar = frame_grammar({"motion": 3, "state": 1})
    chunks = draw_sentences(grammar, zipfian_lexicon(grammar, 300, 1.05), 4000, 0.1, seed=0)
    drawn = Counter(row["frame"] for chunk in chunks for row in chunk)
    assert scipy.stats.chisquare(
        [drawn["motion"], drawn["state"]], [3000, 1000]
    ).pvalue > 0.01 and set(drawn) == {"motion", "state"}


@pytest.mark.parametrize(
    ("shares", "message"),
    [({"moton": 1}, "Did you mean 'motion'"), ({"motion": 0}, "no frame has")],
)
def test_unusable_shares_are_named(shares, message):
    with pytest.raises(ValueError, match=message):
        frame_grammar(shares)


def test_every_open_class_is_zipfian_with_the_asked_exponent(rows):
    counts = Counter(word for row in rows for word in row["words"])
    fits = []
    for symbol, name in enumerate(GRAMMAR.classes):
        words = LEXICON.words[LEXICON.start[symbol] : LEXICON.start[symbol + 1]]
        if len(words) >= 20:
            fits.append(fitted_exponent(np.array([counts[word] for word in words])))
            assert fits[-1] == pytest.approx(1.05, abs=0.1), name
    assert np.mean(fits) == pytest.approx(1.05, abs=0.03)


def test_labels_are_the_grammars(rows):
    for row in rows[:500]:
        classes = [word.rstrip("0123456789") for word in row["words"]]
        assert row["pos"] == [CLASSES[name] for name in classes]
        assert [row["roles"][place] for place, name in enumerate(row["pos"]) if name == "VERB"] == [
            "Action"
        ]
        assert all(
            role is None
            for role, pos in zip(row["roles"], row["pos"], strict=True)
            if pos in ("DET", "ADJ", "ADP", "AUX", "ADV")
        )
    assert {role for row in rows for role in row["roles"]} - {None} == set(ROLES)


def test_no_sentence_is_in_both_splits(rows):
    splits = {}
    for row in rows:
        splits.setdefault(" ".join(row["words"]), set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert sum(row["split"] == "held_out" for row in rows) / len(rows) == pytest.approx(
        0.1, abs=0.02
    )


def test_the_seed_decides_everything_and_a_longer_corpus_begins_as_a_shorter_one(rows):
    again = [row for chunk in draw_sentences(GRAMMAR, LEXICON, 6000, 0.1, seed=3) for row in chunk]
    assert again == rows[:6000]
    assert next(draw_sentences(GRAMMAR, LEXICON, 50, 0.1, seed=4)) != rows[:50]


def test_the_published_size_has_the_published_number_of_words():
    lexicon = zipfian_lexicon(GRAMMAR, 9750, 1.05)
    uses = (
        GRAMMAR.probability[:, None]
        * (GRAMMAR.symbols[:, :, None] == np.arange(len(GRAMMAR.classes))).sum(1)
    ).sum(0)
    parts = zip(lexicon.start[:-1], lexicon.start[1:], uses, strict=True)
    seen = sum(
        expected_types(lexicon.probability[begin:end], 25_000 * use) for begin, end, use in parts
    )
    assert seen == pytest.approx(7910, rel=0.01)


def test_the_grammars_own_loss_is_its_floor(rows, tmp_path):
    """Monte Carlo: the mean surprisal of drawn tokens is the floor in expectation, causal and
    masked.
    """
    with table_writer(tmp_path / "corpus.parquet", SENTENCES) as table:
        table.write([{**row, "split": "train"} for row in rows])
    sentences = read_sentences(
        tmp_path / "corpus.parquet", (*SPECIAL, *LEXICON.words), POS, ROLES, "train"
    )
    words = np.where(sentences.word >= 0, sentences.word - len(SPECIAL), -1)[:, 1:]
    expected = limits(GRAMMAR, LEXICON)
    causal = causal_floor(GRAMMAR, LEXICON, sentences.kind, words)
    tokens = (sentences.attention_mask[:, 1:] == 1).sum()
    assert causal.sum() / tokens == pytest.approx(expected["causal"], rel=0.01)
    masked = masked_floor(GRAMMAR, LEXICON, sentences.kind, words, 0.5)
    assert (
        masked[words >= 0].mean() == pytest.approx(expected["masked"]["0.5"], rel=0.01)
        and not masked[words < 0].any()
    )


def test_sentences_as_arrays(rows, tmp_path):
    with table_writer(tmp_path / "corpus.parquet", SENTENCES) as table:
        table.write(rows)
    vocabulary = (*SPECIAL, *LEXICON.words)
    found = read_sentences(
        tmp_path / "corpus.parquet", vocabulary, POS, ROLES, "held_out", limit=40
    )
    held_out = {tuple(row["words"]): row for row in rows if row["split"] == "held_out"}
    assert len(found) == 40 and len({tuple(ids) for ids in found.input_ids.tolist()}) == 40
    for number in range(40):
        ids = found.input_ids[number]
        length = int(found.attention_mask[number].sum())
        row = held_out[tuple(vocabulary[token] for token in ids[1 : length - 1])]
        assert ids[0] == BOS and ids[length - 1] == EOS and (ids[length:] == PAD).all()
        assert [POS[one] for one in found.pos[number, 1 : length - 1]] == row["pos"]
        assert [
            ROLES[one] if one >= 0 else None for one in found.role[number, 1 : length - 1]
        ] == row["roles"]
        outside = [0, *range(length - 1, len(ids))]
        assert all(
            (array[number, outside] == -1).all()
            for array in (found.pos, found.role, found.word, found.position)
        )
    with pytest.raises(ValueError, match="no sentence of split 'test'"):
        read_sentences(tmp_path / "corpus.parquet", vocabulary, POS, ROLES, "test")
    with pytest.raises(ValueError, match="is not known"):
        read_sentences(tmp_path / "corpus.parquet", SPECIAL, POS, ROLES, "train")
    assert read_table(tmp_path / "corpus.parquet", SENTENCES, "a corpus").num_rows == len(rows)


ITEM = {
    "sentence": "noun139 transitive_verb8s noun40 preposition4 location2",
    "semantic_roles": {
        "arg0": {"word": "noun139", "role": "Agent", "position": 0},
        "arg1": {"word": "noun40", "role": "Patient", "position": 2},
        "arg2": {"word": "location2", "role": "Location", "position": 4},
    },
    "linguistic_annotations": {"pos_tags": ["NN", "VBZ", "NN", "IN", "NN"]},
    "metadata": {"frame": "transitive_action"},
}


def written(tmp_path, **changes):
    path = tmp_path / "corpus.json"
    path.write_text(
        json.dumps({"corpus": [ITEM, {**ITEM, **changes}], "metadata": {}, "statistics": {}})
    )
    return path


def test_absynths_format_is_read(tmp_path):
    (rows,) = read_absynth(written(tmp_path), 0.5, seed=0)
    assert len(rows) == 2 and rows[0]["roles"] == ["Agent", "Action", "Patient", None, "Location"]
    assert rows[0]["pos"] == ["NOUN", "VERB", "NOUN", "ADP", "NOUN"] and set(rows[0]["pos"]) <= set(
        PENN_POS
    )
    assert (
        rows[0]["frame"] == "transitive_action"
        and rows[0]["split"] == rows[1]["split"]
        and rows[0]["kind"] is None
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sentence": None}, "sentence"),
        ({"sentence": " "}, "sentence"),
        ({"linguistic_annotations": {"pos_tags": ["NN"]}}, "linguistic_annotations.pos_tags"),
        (
            {"linguistic_annotations": {"pos_tags": ["NN", "VBZ", "NN", "IN", "XX"]}},
            "linguistic_annotations.pos_tags",
        ),
        (
            {"semantic_roles": {"arg0": {"word": "noun139", "role": "Hero", "position": 0}}},
            "semantic_roles.arg0.role",
        ),
        (
            {"semantic_roles": {"arg0": {"word": "noun139", "role": "Agent", "position": 9}}},
            "semantic_roles.arg0.position",
        ),
        (
            {"semantic_roles": {"arg0": {"word": "noun40", "role": "Agent", "position": 0}}},
            "semantic_roles.arg0.word",
        ),
    ],
)
def test_a_bad_row_is_named_by_file_row_and_field(tmp_path, changes, field):
    with pytest.raises(ValueError, match=rf"corpus\.json: row 2, field {field}: "):
        list(read_absynth(written(tmp_path, **changes), 0.5, seed=0))


def test_what_is_no_corpus_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="not an ABSynth corpus"):
        list(read_absynth(tmp_path / "other.json", 0.5, seed=0))
    with pytest.raises(ValueError, match="not found"):
        list(read_absynth(tmp_path / "missing.json", 0.5, seed=0))
