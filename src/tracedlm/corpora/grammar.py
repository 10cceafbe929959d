"""The grammar: frames, their constructions, and the sentence types they expand to.

A type fixes class and role of every word.

A construction is written in words: `person.Agent act.Action ~thing.Patient [with tool.Instrument]`
is an animate noun that is the agent, a verb of action, a noun phrase whose head is the patient, and
perhaps an instrument. `~` marks a head that may have a determiner and an adjective before it,
`[...]` what may be left out. Role belongs to heads; what has no `.Role` carries none.

The subject's role is open until the verb is read (an animate noun may act, feel, rest, change or,
in the passive, suffer), and no class sequence has two readings: so a left-to-right reader cannot
know all roles, and who sees the whole sentence can.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product

import numpy as np

from tracedlm.theory.grammar import END

ROLES = (
    "Agent",
    "Patient",
    "Theme",
    "Experiencer",
    "Instrument",
    "Location",
    "Source",
    "Goal",
    "Time",
    "Action",
)

POS = ("NOUN", "VERB", "ADJ", "ADV", "DET", "ADP", "AUX")
"""Universal parts of speech that occur."""

CLASSES = {
    "person": "NOUN",
    "thing": "NOUN",
    "tool": "NOUN",
    "place": "NOUN",
    "time": "NOUN",
    "act": "VERB",
    "move": "VERB",
    "give": "VERB",
    "feel": "VERB",
    "rest": "VERB",
    "change": "VERB",
    "adj": "ADJ",
    "adv": "ADV",
    "det": "DET",
    "aux": "AUX",
    "by": "ADP",
    "with": "ADP",
    "in": "ADP",
    "from": "ADP",
    "to": "ADP",
}
"""Word classes and their part of speech."""

FRAMES: dict[str, tuple[float, dict[str, float]]] = {
    "action": (
        0.28,
        {
            "~person.Agent act.Action ~thing.Patient [with tool.Instrument] [time.Time]": 0.5,
            "~person.Agent act.Action ~person.Patient [adv]": 0.15,
            "~thing.Patient aux act.Action [by person.Agent] [in place.Location]": 0.15,
            "~person.Patient aux act.Action by person.Agent [time.Time]": 0.1,
            "~tool.Instrument act.Action ~thing.Patient": 0.1,
        },
    ),
    "motion": (
        0.2,
        {
            "~person.Agent move.Action [from place.Source] [to place.Goal]": 0.6,
            "~thing.Theme move.Action from place.Source [to place.Goal]": 0.25,
            "~person.Agent adv move.Action to place.Goal": 0.15,
        },
    ),
    "transfer": (
        0.14,
        {
            "~person.Agent give.Action ~thing.Theme to person.Goal": 0.6,
            "~thing.Theme aux give.Action to person.Goal [by person.Agent]": 0.25,
            "~person.Goal give.Action ~thing.Theme from person.Source": 0.15,
        },
    ),
    "perception": (
        0.16,
        {
            "~person.Experiencer feel.Action ~thing.Theme [in place.Location]": 0.5,
            "~person.Experiencer feel.Action ~person.Theme [time.Time]": 0.3,
            "~thing.Theme aux feel.Action by person.Experiencer": 0.2,
        },
    ),
    "state": (
        0.12,
        {
            "~thing.Theme rest.Action in place.Location [time.Time]": 0.6,
            "~person.Theme rest.Action [in place.Location] [time.Time]": 0.4,
        },
    ),
    "change": (
        0.1,
        {
            "~thing.Patient change.Action [adv] [time.Time]": 0.6,
            "~person.Patient change.Action [time.Time]": 0.4,
        },
    ),
}
"""Frame -> its share of sentences, and the share of each construction among its sentences."""

PHRASE = {"": 0.55, "det": 0.3, "det adj": 0.15}
"""What may stand before a head marked `~`, and how often."""

OPTIONAL = 0.3
"""Probability that what stands in brackets is said."""


@dataclass(frozen=True)
class Grammar:
    """Every sentence type of a grammar, with its probability.

    Attributes:
        classes: Names of word classes; `symbols` are indices into it.
        pos: Part of speech of each class.
        roles: Names of roles.
        frames: Names of frames.
        frame: int [types], index of the frame.
        symbols: int [types, places], class of each word, then `END`: at least one in every row.
        role: int [types, places], index of the role; -1 where there is none.
        probability: float64 [types]; sums to 1.
    """

    classes: tuple[str, ...]
    pos: tuple[str, ...]
    roles: tuple[str, ...]
    frames: tuple[str, ...]
    frame: np.ndarray
    symbols: np.ndarray
    role: np.ndarray
    probability: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Words of each sentence type, int [types]."""
        return (self.symbols != END).sum(1)


def frame_grammar(shares: Mapping[str, float] | None = None) -> Grammar:
    """The grammar above, with the given shares of frames in place of its own.

    Args:
        shares: Frame -> share of sentences, for all frames that shall occur; normalised. None:
            those of `FRAMES`.

    Raises:
        ValueError: A frame is unknown, or no share is positive.
    """
    shares = dict(shares or {name: share for name, (share, _) in FRAMES.items()})
    for name, share in shares.items():
        if name not in FRAMES:
            nearest = get_close_matches(name, FRAMES, n=1)
            raise ValueError(
                f"unknown frame {name!r}; known: {', '.join(FRAMES)}."
                + (f" Did you mean {nearest[0]!r}?" if nearest else "")
            )
        if share < 0:
            raise ValueError(f"share of frame {name} is {share}; shares are not negative")
    if not sum(shares.values()):
        raise ValueError("no frame has a positive share; give one")
    constructions = {name: (share, FRAMES[name][1]) for name, share in shares.items() if share}
    return expand(constructions, CLASSES, ROLES)


def expand(
    frames: Mapping[str, tuple[float, Mapping[str, float]]],
    classes: Mapping[str, str],
    roles: tuple[str, ...],
) -> Grammar:
    """Every sentence type of written-out constructions; shares need not sum to 1."""
    rows: list[tuple[int, list[tuple[str, str]], float]] = []
    total = sum(share for share, _ in frames.values())
    for number, (share, constructions) in enumerate(frames.values()):
        inner = sum(constructions.values())
        for construction, part in constructions.items():
            rows += [
                (number, words, share / total * part / inner * chance)
                for words, chance in _expansions(construction)
            ]
    places = max(len(words) for _, words, _ in rows) + 1
    symbols, role = np.full((len(rows), places), END), np.full((len(rows), places), -1)
    for row, (_, words, _) in enumerate(rows):
        symbols[row, : len(words)] = [list(classes).index(name) for name, _ in words]
        role[row, : len(words)] = [roles.index(name) if name else -1 for _, name in words]
    frame, probability = (
        np.array([number for number, _, _ in rows]),
        np.array([chance for _, _, chance in rows]),
    )
    return Grammar(
        tuple(classes),
        tuple(classes.values()),
        roles=roles,
        frames=tuple(frames),
        frame=frame,
        symbols=symbols,
        role=role,
        probability=probability,
    )


def _expansions(construction: str) -> Iterator[tuple[list[tuple[str, str]], float]]:
    """Word sequences of a construction, with their probabilities.

    Each word is (class, role or "").
    """
    choices = []
    for optional, word in re.findall(r"\[([^]]*)\]|(\S+)", construction):
        choices.append(_optional(optional) if optional else _phrase(word))
    for chosen in product(*choices):
        yield (
            [word for words, _ in chosen for word in words],
            float(np.prod([chance for _, chance in chosen])),
        )


def _optional(text: str) -> list[tuple[list[tuple[str, str]], float]]:
    return [([_word(part) for part in text.split()], OPTIONAL), ([], 1 - OPTIONAL)]


def _phrase(text: str) -> list[tuple[list[tuple[str, str]], float]]:
    before = PHRASE if text.startswith("~") else {"": 1.0}
    return [
        ([*((name, "") for name in words.split()), _word(text.lstrip("~"))], chance)
        for words, chance in before.items()
    ]


def _word(text: str) -> tuple[str, str]:
    name, _, role = text.partition(".")
    return name, role
