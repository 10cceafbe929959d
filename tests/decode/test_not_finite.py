"""Scores that are not finite end decoding with the sample and the forward.

Suppressed tokens do not.
"""

import pytest
import torch

from tracedlm.decode.engine import Engine
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import make_rule

PLAN = Plan(gen_length=8, block_length=4, steps=4)
VOCABULARY, MASK = 12, 1


def decode(spoil, rule="full", **settings):
    """Two samples; `spoil` changes the scores of the third forward."""
    calls = []

    def denoiser(tokens, attention, positions):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(1, positions.shape[1], VOCABULARY, generator=generator).repeat(
            len(tokens), 1, 1
        )
        logits[..., MASK] = -torch.inf  # a token that is suppressed
        calls.append(1)
        if len(calls) == 3:
            spoil(logits)
        return logits

    engine = Engine(
        denoiser,
        [[5, 6], [7, 8]],
        PLAN,
        lambda slots: make_rule(rule, PLAN, slots, **settings),
        mask_id=MASK,
        pad_id=0,
    )
    return list(engine.run())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("rule", "settings"),
    [("full", {}), ("threshold", {"confidence": 0.999}), ("entropy_bound", {})],
)
def test_a_number_that_is_not_finite_is_named_with_its_sample_and_forward(value, rule, settings):
    def spoil(logits):
        logits[1, 2, 3] = value

    with pytest.raises(
        ValueError, match=r"computed for sample 1 in forward 3 is not finite \(NaN or infinity\)"
    ):
        decode(spoil, rule, **settings)


def test_scores_that_are_all_minus_infinity_are_refused():
    def spoil(logits):
        logits[0, 1] = -torch.inf

    with pytest.raises(ValueError, match="sample 0 in forward 3"):
        decode(spoil)


def test_suppressed_tokens_are_decoded_around():
    for sample in decode(lambda logits: logits[..., 3:].fill_(-torch.inf)):
        assert MASK not in sample.tokens.tolist()
