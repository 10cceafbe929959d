"""Drawn tokens: from which distribution, and what a draw depends on."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from oracles_decode import Settling, confidences, decode, prompts_of
from tracedlm.decode.commit import predict
from tracedlm.decode.plan import Plan

LOGITS = [2.0, 1.0, 0.5, 0.0, -1.0, -math.inf]


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def tempered(temperature):
    """softmax(logits / T).

    Argmax of exp(l) / (-log u)^T is argmax of l / T - log(-log u), the Gumbel-max of l / T.
    """
    weights = [math.exp(logit / temperature) for logit in LOGITS]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.0, 2.5])
def test_tokens_are_drawn_from_the_tempered_softmax(temperature):
    """40,000 draws, chi-square.

    LLaDA's exponent form is exact for every temperature, not only 1.
    """
    logits = torch.tensor(LOGITS).expand(2, 20_000, -1)
    tokens, log_confidence = predict(logits, temperature, generators(0, 1))
    counts, p = np.bincount(tokens.flatten(), minlength=6), np.array(tempered(temperature))
    assert counts[5] == 0
    enough = p * 40_000 >= 5
    rest = 40_000 * p[~enough].sum()
    observed, wanted = (
        np.append(counts[enough], counts[~enough].sum()),
        np.append(40_000 * p[enough], rest),
    )
    keep = wanted > 0
    assert chisquare(observed[keep], wanted[keep]).pvalue > 1e-3
    at_one = torch.tensor(LOGITS, dtype=torch.float64).log_softmax(-1)
    assert torch.allclose(log_confidence, at_one[tokens], rtol=1e-14), (
        "the confidence of a drawn token is its probability at temperature 1"
    )


def test_positions_and_rows_are_drawn_independently():
    """Two positions, two rows: the joint frequencies are the products of the marginals."""
    logits = torch.zeros(2, 20_000, 2)
    tokens, _ = predict(logits, 1.0, generators(0, 1))
    for first, second in ((tokens[0], tokens[1]), (tokens[0, ::2], tokens[0, 1::2])):
        joint = np.bincount(2 * first + second, minlength=4)
        assert chisquare(joint).pvalue > 1e-3


def test_a_low_temperature_does_not_overflow_or_underflow():
    """exp(logit) in the published form overflows above 709; in logarithms it does not."""
    logits = torch.tensor([[[900.0, 0.0, -900.0]]])
    token, log_confidence = predict(logits, 0.01, generators(0))
    assert token.item() == 0 and log_confidence.item() == 0.0


def test_temperature_zero_takes_the_most_likely_token():
    table = Settling().logits([1, 2, 3, *[8] * 9])
    token, log_confidence = predict(torch.tensor([table]), 0.0, [])
    assert token[0].tolist() == [best for best, _ in confidences(table)]
    np.testing.assert_allclose(
        log_confidence[0].exp(), [p for _, p in confidences(table)], rtol=1e-14
    )


def test_confidences_are_told_apart_where_float32_says_one():
    logits = torch.tensor([[[30.0, 0.0], [31.0, 0.0]]])
    assert logits.softmax(-1).max(-1).values.eq(1).all()
    _, log_confidence = predict(logits, 0.0, [])
    assert log_confidence[0, 0] < log_confidence[0, 1] < 0


PLAN = Plan(12, 6, 6)


def drawn(prompts, batch_size=4, temperature=1.0, seed=0, rule="full", **settings):
    done = decode(
        prompts,
        PLAN,
        rule,
        batch_size,
        Settling(),
        sampling={"temperature": temperature, "seed": seed},
        **settings,
    )
    return [done[n].tokens.tolist() for n in range(len(prompts))]


@pytest.mark.parametrize(
    ("rule", "settings"),
    [("full", {}), ("threshold", {"confidence": 0.7}), ("rad", {"delta": 0.01, "omega": 1})],
)
def test_a_drawn_sample_depends_neither_on_its_batch_nor_on_its_place(rule, settings):
    prompts, order = prompts_of(6), [4, 2, 0, 5, 1, 3]
    alone, together = (drawn(prompts, size, rule=rule, **settings) for size in (1, 6))
    assert alone == together
    assert drawn([prompts[n] for n in order], 2, rule=rule, **settings) == [alone[n] for n in order]
    assert drawn(prompts[2:4], rule=rule, **settings) == alone[2:4]


def test_a_seed_reproduces_and_another_differs():
    prompts = prompts_of(4)
    assert drawn(prompts, seed=3) == drawn(prompts, seed=3) != drawn(prompts, seed=4)
    assert (
        drawn(prompts, temperature=0.0, seed=3)
        == drawn(prompts, temperature=0.0, seed=4)
        != drawn(prompts, seed=3)
    )


def test_the_same_prompt_again_is_drawn_anew():
    """Its n-th occurrence has draws of its own, the same wherever the occurrences stand."""
    first, second, third = drawn([[1, 2]] * 3)
    assert first != second and second != third and first != third
    assert drawn([[1, 2], [5], [1, 2]]) == [first, drawn([[5]])[0], second]
