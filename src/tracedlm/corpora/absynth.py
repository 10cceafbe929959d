"""Corpora in ABSynth's JSON format (`{"corpus": [...]}`).

The dynamics paper trained on such a file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracedlm.corpora.corpus import CHUNK, split_of
from tracedlm.corpora.grammar import ROLES
from tracedlm.records.json_text import parse_json

PENN = {
    "NN": "NOUN",
    "VB": "VERB",
    "JJ": "ADJ",
    "RB": "ADV",
    "DT": "DET",
    "IN": "ADP",
    "CC": "CCONJ",
}
"""First two letters of a Penn tag -> universal part of speech."""

POS = tuple(PENN.values())


def read_absynth(path: str | Path, held_out: float, seed: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of `records.sentences.SENTENCES`, chunk by chunk.

    Verbs are given the role `Action`, which the format leaves unsaid.

    Args:
        path: The file.
        held_out: Share of different sentences kept from training.
        seed: Decides which.

    Raises:
        ValueError: The file is missing or of another form; a bad row is named by file, row (from 1)
            and field.
    """
    try:
        items = parse_json(Path(path).read_bytes())["corpus"]
        if not isinstance(items, list):
            raise TypeError(f"corpus is a {type(items).__name__}")
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; correct dynamics.corpus_file") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not an ABSynth corpus, a JSON object with a list `corpus` ({error!r})"
        ) from error
    for start in range(0, len(items), CHUNK):
        yield [
            _row(path, number, item, held_out, seed)
            for number, item in enumerate(items[start : start + CHUNK], start)
        ]


def _row(path: str | Path, number: int, item: Any, held_out: float, seed: int) -> dict[str, Any]:
    def bad(field: str, why: str) -> ValueError:
        return ValueError(f"{path}: row {number + 1}, field {field}: {why}")

    sentence = _field(item, "sentence", str, bad)
    annotations = _field(item, "linguistic_annotations", dict, bad)
    arguments = _field(item, "semantic_roles", dict, bad)
    words = sentence.split()
    tags = annotations.get("pos_tags")
    if not words:
        raise bad("sentence", "has no words")
    if not isinstance(tags, list) or len(tags) != len(words):
        raise bad(
            "linguistic_annotations.pos_tags",
            f"expected a list of {len(words)} tags, one a word, got {tags!r}",
        )
    unknown = [tag for tag in tags if not isinstance(tag, str) or tag[:2] not in PENN]
    if unknown:
        raise bad(
            "linguistic_annotations.pos_tags",
            f"unknown tag {unknown[0]!r}; known begin with {', '.join(PENN)}",
        )
    pos = [PENN[tag[:2]] for tag in tags]
    roles: list[str | None] = ["Action" if one == "VERB" else None for one in pos]
    for name, argument in arguments.items():
        field = f"semantic_roles.{name}"
        facts = argument if isinstance(argument, dict) else {}
        position = facts.get("position")
        role = facts.get("role")
        if not isinstance(position, int) or not 0 <= position < len(words):
            raise bad(f"{field}.position", f"expected 0 to {len(words) - 1}, got {position!r}")
        if role not in ROLES:
            raise bad(f"{field}.role", f"expected one of {', '.join(ROLES)}, got {role!r}")
        if argument.get("word") != words[position]:
            raise bad(
                f"{field}.word",
                f"{argument.get('word')!r} is not word {position} of the sentence,"
                f" {words[position]!r}",
            )
        roles[position] = role
    metadata = item.get("metadata") or {}
    frame = metadata.get("frame") if isinstance(metadata, dict) else metadata
    if not isinstance(metadata, dict) or not isinstance(frame, str | None):
        raise bad("metadata.frame", f"expected text, got {frame!r}"[:200])
    split = split_of(words, held_out, seed)
    return {
        "sentence_id": number,
        "split": split,
        "frame": frame,
        "kind": None,
        "words": words,
        "pos": pos,
        "roles": roles,
    }


def _field(item: Any, name: str, kind: type, bad: Any) -> Any:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, kind):
        raise bad(name, f"expected {'text' if kind is str else 'an object'}, got {value!r}"[:200])
    return value
