import math
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory.calibration import paper_quantile
from tracedlm.theory.risk import (
    assess,
    conformal_bound,
    control_risk,
    fixed_sequence,
    p_values,
    smallest_sample,
)

SPLITS, N, EPSILON, ETA = 1000, 107, 0.1, 0.1
CURVES = {
    "easy": [0.0, 0.005, 0.01, 0.02, 0.35, 0.6],
    "hard": list(np.linspace(0.03, 0.2, 12)),
    "adversarial": [0.1001, 0.1001, 0.15, 0.5],
    # Risky, safe, risky: valid settings must not be reached through a risky one.
    "late": [
        0.001,
        0.1001,
        0.01,
        0.1001,
        0.01,
    ],
}
"""Risk of each setting, from the least to the most aggressive."""


def splits(curve, seed=0, how="coupled", n=N):
    """Losses [n, settings] of fresh samples, again and again.

    `coupled`: a loss is a margin below what the setting asks for.
    """
    rng, risk = np.random.default_rng(seed), np.array(CURVES[curve])
    for _ in range(SPLITS):
        if how == "bounded":
            yield rng.beta(0.5 * np.maximum(risk, 1e-9), 0.5 * (1 - risk), size=(n, len(risk)))
        elif how == "margins":
            yield rng.random(n)
        else:
            yield (rng.random((n, 1 if how == "coupled" else len(risk))) < risk).astype(float)


def violations(curve, choose, **drawn):
    """Share of splits in which the choice's true risk exceeds epsilon, and the choices."""
    chosen = [choose(losses) for losses in splits(curve, **drawn)]
    return (
        np.mean([choice is not None and CURVES[curve][choice] > EPSILON for choice in chosen]),
        chosen,
    )


def monte_carlo(rate):
    return 3.5 * math.sqrt(rate * (1 - rate) / SPLITS)


def ltt(losses):
    return control_risk(losses, EPSILON, ETA)


def naive(losses):
    return max(np.flatnonzero(losses.mean(axis=0) <= EPSILON), default=None)


@pytest.mark.parametrize("how", ["coupled", "independent", "bounded"])
@pytest.mark.parametrize("curve", CURVES)
def test_the_risk_is_controlled(curve, how):
    rate, _ = violations(curve, ltt, how=how)
    assert rate <= ETA + monte_carlo(ETA)


def test_the_test_has_teeth():
    """With a risk right above epsilon the rate comes close to eta.

    Naming every sample's risk zero would not be noticed otherwise.
    """
    rate, _ = violations("adversarial", ltt)
    assert rate > 0.6 * ETA


def test_control_is_not_bought_with_silence():
    _, chosen = violations("easy", ltt)
    assert np.mean([choice == 3 for choice in chosen]) > 0.99
    _, chosen = violations("hard", ltt)
    assert np.mean([choice is not None for choice in chosen]) > 0.8


@pytest.mark.parametrize("curve", ["hard", "adversarial"])
def test_an_empirical_risk_below_epsilon_is_no_guarantee(curve):
    rate, _ = violations(curve, naive)
    assert rate > 3 * ETA


@pytest.mark.parametrize("curve", ["easy", "hard", "adversarial"])
def test_the_papers_quantile_is_no_guarantee(curve):
    """TRACE Cor. B.2: each setting asks for a margin, allowed is what lies below the (1 -
    beta)-quantile; a smaller margin is a loss.
    """

    def papers(margins):
        return np.flatnonzero(np.array(CURVES[curve]) <= paper_quantile(margins, EPSILON)).max()

    rate, _ = violations(curve, papers, how="margins")
    assert rate > 0.99


@pytest.mark.parametrize("how", ["coupled", "bounded"])
def test_conformal_control_is_in_expectation_only(how):
    for curve in ("hard", "adversarial"):
        rate, chosen = violations(
            curve, lambda losses: control_risk(losses, EPSILON, ETA, "crc"), how=how
        )
        risk = np.array([0.0 if choice is None else CURVES[curve][choice] for choice in chosen])
        assert risk.mean() <= EPSILON + 3.5 * risk.std() / math.sqrt(SPLITS)
        if how == "coupled":
            assert rate > 2 * ETA  # what it does not promise, it does not keep


def test_conformal_control_holds_for_losses_that_fall_along_the_way():
    _, chosen = violations(
        "late", lambda losses: control_risk(losses, 0.05, ETA, "crc"), how="independent"
    )
    risk = np.array([0.0 if choice is None else CURVES["late"][choice] for choice in chosen])
    assert risk.mean() <= 0.05 and max(chosen) >= 0


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_the_binomial_p_value_is_the_sum(losses, epsilon):
    n, k = len(losses), sum(losses)
    expected = math.fsum(
        math.comb(n, i) * epsilon**i * (1 - epsilon) ** (n - i) for i in range(k + 1)
    )
    assert p_values(np.array(losses)[:, None], epsilon)[0] == pytest.approx(
        expected, rel=1e-9, abs=0
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_hoeffding_bentkus_from_its_definition(losses, epsilon):
    losses = [*losses, 0.5]
    n, risk = len(losses), min(sum(losses) / len(losses), epsilon)
    entropy = sum(
        a * math.log(a / b) for a, b in ((risk, epsilon), (1 - risk, 1 - epsilon)) if a > 0
    )
    bentkus = math.e * scipy.stats.binom.cdf(math.ceil(float(np.sum(losses))), n, epsilon)
    assert p_values(np.array(losses)[:, None], epsilon)[0] == pytest.approx(
        min(math.exp(-n * entropy), bentkus, 1), rel=1e-6, abs=1e-300
    )


def test_each_of_the_two_bounds_is_the_smaller_one_somewhere():
    """Hoeffding's far below epsilon, Bentkus's close below it once there are many samples."""
    few, many = np.array([[0.25]] * 3 + [[0.0]] * 7), np.full((2000, 1), 0.04)
    hoeffding = [
        math.exp(-n * (r * math.log(r / e) + (1 - r) * math.log((1 - r) / (1 - e))))
        for n, r, e in ((10, 0.075, 0.3), (2000, 0.04, 0.05))
    ]
    bentkus = [
        math.e * scipy.stats.binom.cdf(k, n, e) for n, k, e in ((10, 1, 0.3), (2000, 80, 0.05))
    ]
    assert hoeffding[0] < bentkus[0] and bentkus[1] < hoeffding[1]
    assert p_values(few, 0.3)[0] == pytest.approx(hoeffding[0]) and p_values(many, 0.05)[
        0
    ] == pytest.approx(bentkus[1])


def test_no_p_value_exceeds_1():
    """A risk just below epsilon is where rounding makes the relative entropy negative."""
    risks = 0.45 * (1 - 1e-9 * np.arange(200))
    assert (p_values(np.tile(risks, (64, 1)), 0.45) <= 1).all()


def test_losses_stored_in_float32_are_summed_in_float64():
    losses = np.random.default_rng(0).random((5000, 3)).astype(np.float32)
    assert p_values(losses, 0.51).tolist() == p_values(losses.astype(float), 0.51).tolist()
    assert conformal_bound(losses).tolist() == conformal_bound(losses.astype(float)).tolist()


def test_hoeffding_bentkus_is_a_p_value_on_every_outcome():
    """All 3^7 outcomes of seven losses in {0, 1/2, 1} with a mean right above epsilon.

    P(p <= u) <= u at every u that occurs.
    """
    epsilon, chances = 0.3, {0.0: 0.55, 0.5: 0.298, 1.0: 0.152}
    assert sum(value * chance for value, chance in chances.items()) > epsilon
    outcomes = np.array(list(product(chances, repeat=7)))
    mass = np.prod(np.vectorize(chances.get)(outcomes), axis=1)
    p = p_values(outcomes[:, :, None], epsilon)[:, 0]
    assert all(mass[p <= u].sum() <= u + 1e-12 for u in np.unique(p))


def test_testing_stops_at_the_first_setting_that_fails():
    losses = np.zeros((60, 4))
    losses[:12, 2] = 1
    found = assess(losses, 0.1, 0.05)
    assert found.valid.tolist() == [True, True, False, False] and found.index == 1
    assert found.p_values[3] < 0.05  # valid by itself, but it was never its turn
    assert found.risk.tolist() == [0, 0, 0.2, 0] and found.reason == ""


def test_the_cheapest_valid_setting_is_taken():
    losses = np.zeros((60, 3))
    assert control_risk(losses, 0.1, 0.05) == 2
    assert control_risk(losses, 0.1, 0.05, cost=[10, 5, 7]) == 1
    assert control_risk(losses, 0.1, 0.05, cost=[5, 5, 7]) == 0
    losses[:30, 1:] = 1
    assert control_risk(losses, 0.1, 0.05, cost=[10, 5, 7]) == 0


@pytest.mark.parametrize("method", ["ltt", "crc"])
@pytest.mark.parametrize(
    ("epsilon", "eta"), [(0.1, 0.05), (0.05, 0.1), (0.5, 0.5), (0.3, 0.01), (0.25, 0.25)]
)
def test_the_smallest_sample_is_the_smallest(epsilon, eta, method):
    n = smallest_sample(epsilon, eta, method)
    assert control_risk(np.zeros((n, 1)), epsilon, eta, method) == 0
    assert n == 1 or control_risk(np.zeros((n - 1, 1)), epsilon, eta, method) is None


def test_nothing_valid_has_a_reason():
    assert control_risk(np.ones((100, 2)), 0.1, 0.05) is None
    assert (
        assess(np.ones((100, 2)), 0.1, 0.05).reason
        == "the least aggressive setting has a mean loss of 1 in 100 samples: p = 1 > 0.05"
    )
    few = "5 samples cannot show a risk below 0.1: {} are needed, without a single loss"
    assert assess(np.zeros((5, 2)), 0.1, 0.05).reason == few.format(29)
    assert assess(np.zeros((5, 2)), 0.1, 0.05, "crc").reason == few.format(9)


@pytest.mark.parametrize(
    ("method", "n", "shown"), [("ltt", 29, "p = 0.2 > 0.05"), ("crc", 9, "its bound exceeds 0.1")]
)
def test_one_loss_is_too_many_where_the_samples_just_suffice(method, n, shown):
    found = assess((np.arange(n) < 1).astype(float)[:, None], 0.1, 0.05, method)
    assert (
        found.index is None
        and found.reason
        == f"the least aggressive setting has a mean loss of {1 / n:.3g} in {n} samples: {shown}"
    )


def test_a_choice_says_what_it_promises():
    choice = control_risk(np.zeros((60, 2)), 0.1, 0.05)
    assert choice == 1 and ["mild", "bold"][choice] == "bold"
    assert choice.evidence.guarantee == "P(risk > 0.1) <= 0.05" and choice.evidence.n == 60
    assert (choice.evidence.epsilon, choice.evidence.eta, choice.evidence.method) == (
        0.1,
        0.05,
        "ltt",
    )
    expected = control_risk(np.zeros((60, 2)), 0.1, 0.05, "crc").evidence
    assert expected.guarantee == "E[risk] <= 0.1" and np.isnan(expected.p_values).all()


def test_many_sets_at_once_are_what_they_are_one_by_one():
    losses = np.stack([*splits("hard")])[:50]
    together = fixed_sequence(p_values(losses, EPSILON), ETA)
    assert [row.tolist() for row in together] == [
        assess(one, EPSILON, ETA).valid.tolist() for one in losses
    ]
    bounded = [assess(one, EPSILON, ETA, "crc").valid.tolist() for one in losses]
    assert (conformal_bound(losses) <= EPSILON).tolist() == bounded


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.full((3, 2), 1.5), 0.1, 0.1), r"a loss lies in \[0, 1\], got 1.5"),
        ((np.full((3, 2), np.nan), 0.1, 0.1), r"a loss lies in \[0, 1\], got nan"),
        ((np.zeros(3), 0.1, 0.1), r"losses are \[samples, settings\]"),
        ((np.zeros((0, 3)), 0.1, 0.1), "at least one of each"),
        ((np.zeros((3, 2)), 0.0, 0.1), r"epsilon is a probability in \(0, 1\), got 0.0"),
        ((np.zeros((3, 2)), 0.1, 1.0), r"eta is a probability in \(0, 1\), got 1.0"),
        (
            (np.zeros((3, 2)), 0.1, 0.1, "rcps"),
            "unknown method 'rcps' of risk control; known: ltt, crc",
        ),
        ((np.zeros((3, 2)), 0.1, 0.1, "ltt", [1.0]), "one number for each of 2 settings"),
        (
            (np.zeros((3, 2)), 0.1, 0.1, "ltt", [1.0, None]),
            r"one number for each of 2 settings, got \[1.0, nan\]",
        ),
    ],
)
def test_bad_input_is_one_clear_message(arguments, message):
    with pytest.raises(ValueError, match=message):
        control_risk(*arguments)
