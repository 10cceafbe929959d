"""Floors and ceilings of a grammar.

Against Bayes' rule written out, against sentences drawn, and against each other.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.corpora.grammar import expand, frame_grammar
from tracedlm.theory import grammar as theory
from tracedlm.theory.grammar import END

TINY = expand(
    {"one": (0.6, {"~a.X v.Z [p b.Y]": 0.7, "b.Y v.Z a.X": 0.3}), "two": (0.4, {"~a.Y w.Z": 1.0})},
    {"a": "N", "b": "N", "v": "V", "w": "V", "p": "P", "det": "D", "adj": "J"},
    ("X", "Y", "Z"),
)


def conditional(grammar, place, agrees):
    """P(class at a place | what `agrees` fixes), by going through all sentence types."""
    total = {}
    for row, mass in zip(grammar.symbols, grammar.probability, strict=True):
        if agrees(row):
            total[row[place]] = total.get(row[place], 0.0) + mass
    return {symbol: mass / sum(total.values()) for symbol, mass in total.items()}


def test_causal_surprisal_is_bayes_rule():
    found = theory.causal_surprisal(TINY.symbols, TINY.probability)
    for row, surprisal in zip(TINY.symbols, found, strict=True):
        for place in range(len(row)):
            chances = conditional(
                TINY,
                place,
                lambda other, row=row, place=place: (other[:place] == row[:place]).all(),
            )
            assert surprisal[place] == pytest.approx(-math.log(chances[row[place]]), abs=1e-12)


@given(st.lists(st.booleans(), min_size=TINY.symbols.shape[1], max_size=TINY.symbols.shape[1]))
def test_masked_surprisal_is_bayes_rule(visible):
    seen = np.array(visible)
    found = theory.masked_surprisal(TINY.symbols, TINY.probability, seen)
    for row, surprisal in zip(TINY.symbols, found, strict=True):
        for place in range(len(row)):
            if seen[place] or row[place] == END:
                assert surprisal[place] == 0
                continue
            known = seen | (row == END)
            chances = conditional(
                TINY,
                place,
                lambda other, row=row, known=known: (
                    (other[known] == row[known]).all() and ((other == END) == (row == END)).all()
                ),
            )
            assert surprisal[place] == pytest.approx(-math.log(chances[row[place]]), abs=1e-12)


def test_the_causal_floor_adds_up_to_the_entropy_of_a_sentence():
    entropy = -(
        TINY.probability * np.log(TINY.probability)
    ).sum()  # all sentence types differ in their classes
    assert len(np.unique(TINY.symbols, axis=0)) == len(TINY.symbols)
    assert (
        TINY.probability @ theory.causal_surprisal(TINY.symbols, TINY.probability)
    ).sum() == pytest.approx(entropy)


@pytest.mark.parametrize("grammar", [TINY, frame_grammar()], ids=["tiny", "frames"])
def test_masked_diffusions_loss_has_the_same_floor(grammar):
    """Integrated over mask ratios, what masks leave open is the entropy of a sentence of known
    length.
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)  # exact for polynomials up to degree 15
    ratios = (nodes + 1) / 2
    expected = theory.expected_masked_surprisal(grammar.symbols, grammar.probability, ratios)
    integral = (weights / 2) @ (expected.sum(2) @ grammar.probability)
    entropy = -(grammar.probability * np.log(grammar.probability)).sum()
    lengths = np.bincount(grammar.lengths, weights=grammar.probability)
    of_lengths = -sum(mass * math.log(mass) for mass in lengths if mass)
    assert integral == pytest.approx(entropy - of_lengths, rel=1e-10)


def test_expected_masked_surprisal_is_the_mean_over_all_masks():
    places, ratio = TINY.symbols.shape[1], 0.3
    mean = np.zeros(TINY.symbols.shape)
    for visible in itertools.product([True, False], repeat=places):
        chance = np.prod([1 - ratio if one else ratio for one in visible])
        mean += chance * theory.masked_surprisal(TINY.symbols, TINY.probability, np.array(visible))
    (found,) = theory.expected_masked_surprisal(TINY.symbols, TINY.probability, np.array([ratio]))
    # There the place itself is masked for certain.
    assert found * ratio == pytest.approx(mean, abs=1e-12)


def test_hiding_more_leaves_more_open():
    ratios = np.linspace(0, 1, 6)
    floors = (
        theory.expected_masked_surprisal(TINY.symbols, TINY.probability, ratios).sum(2)
        @ TINY.probability
    )
    assert (np.diff(floors) > -1e-12).all() and floors[-1] > floors[0]


@pytest.mark.parametrize("causal", [True, False])
def test_the_role_ceiling_is_what_the_best_rule_reaches_on_drawn_sentences(causal):
    """Monte Carlo: a table of the likeliest role of each context, learnt from draws, scores the
    ceiling on other draws.
    """
    grammar, rng = frame_grammar(), np.random.default_rng(0)
    train, test = (
        rng.choice(len(grammar.probability), size=20_000, p=grammar.probability) for _ in range(2)
    )
    counts = {}

    def contexts(kind):
        for place, role in enumerate(grammar.role[kind]):
            if role >= 0:
                yield (*grammar.symbols[kind][: place + 1 if causal else None], place), role

    for kind in train:
        for context, role in contexts(kind):
            counts.setdefault(context, {}).setdefault(role, 0)
            counts[context][role] += 1
    right = [
        max(counts[context], key=counts[context].get) == role
        for kind in test
        for context, role in contexts(kind)
        if context in counts
    ]
    ceiling = theory.role_ceiling(grammar.symbols, grammar.role, grammar.probability, causal)
    scored = ~np.isnan(ceiling)
    weight = np.broadcast_to(grammar.probability[:, None], ceiling.shape)[scored]
    assert np.mean(right) == pytest.approx(
        (ceiling[scored] * weight).sum() / weight.sum(), abs=0.005
    )


@pytest.mark.parametrize("causal", [True, False])
def test_the_f1_ceiling_is_the_best_of_all_ways_to_say_a_role(causal):
    """Its naive twin goes through all sets of contexts in which a role may be said.

    Half of the sentence types make few enough.
    """
    tiny = [of_types[::2] for of_types in (TINY.symbols, TINY.role, TINY.probability)]
    chance = {}
    for symbols, roles, mass in zip(*tiny, strict=True):
        for place, role in enumerate(roles):
            if role >= 0:
                context = (place, *symbols[: place + 1 if causal else None])
                chance.setdefault(context, np.zeros(3))[role] += mass
    masses = np.array(list(chance.values()))
    said = np.array(list(itertools.product([False, True], repeat=len(masses))))
    best = (2 * (said @ masses) / ((said @ masses.sum(1))[:, None] + masses.sum(0))).max(0)
    found = theory.f1_ceiling(*tiny, causal)
    np.testing.assert_allclose(found, best)
    assert causal or np.allclose(found, 1)


def test_ceilings_are_of_the_sentences_that_occur():
    only = np.where(np.arange(len(TINY.probability)) == 0, 1.0, 0.0)
    ceiling = theory.role_ceiling(TINY.symbols, TINY.role, only, causal=True)
    # Of one sentence type all roles are known.
    assert np.nanmin(ceiling) == 1.0 and np.isnan(ceiling[1:]).all()


def test_roles_are_open_to_the_left_and_settled_by_the_whole():
    grammar = frame_grammar()
    prefix, whole = (
        theory.role_ceiling(grammar.symbols, grammar.role, grammar.probability, causal)
        for causal in (True, False)
    )
    assert np.nanmin(whole) == 1.0
    assert np.nanmin(prefix[:, 0]) < 0.7 and np.nanmax(prefix) == 1.0


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.05, 1.5])
def test_the_fit_finds_the_exponent(exponent):
    rng = np.random.default_rng(1)
    counts = np.bincount(rng.choice(300, size=50_000, p=theory.zipf(300, exponent)), minlength=300)
    assert theory.fitted_exponent(counts) == pytest.approx(exponent, abs=0.02)


def test_the_fit_of_two_types_is_the_logarithm_of_their_ratio_and_of_fewer_undefined():
    assert theory.fitted_exponent(np.array([3, 1])) == pytest.approx(math.log2(3), abs=1e-4)
    assert all(
        math.isnan(theory.fitted_exponent(np.array(counts)))
        for counts in ([], [7], [0, 0], [9, 0, 0], [0, 0, 9])
    )


def test_uniform_counts_are_not_zipfian():
    """What ABSynth's words look like: 30 to 48 occurrences each, where 1.05 was asked for."""
    rng = np.random.default_rng(2)
    assert abs(theory.fitted_exponent(rng.integers(30, 49, size=200))) < 0.05


def test_expected_types_on_draws():
    rng, p = np.random.default_rng(3), theory.zipf(500, 1.05)
    seen = [len(set(rng.choice(500, size=800, p=p))) for _ in range(50)]
    assert np.mean(seen) == pytest.approx(theory.expected_types(p, 800), rel=0.02)
