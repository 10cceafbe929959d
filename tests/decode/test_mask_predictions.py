"""A model may predict [MASK] itself: what LLaDA's published sampler then does, and where ours differs (docs/exit_rules.md)."""

import math

import pytest

from oracles_decode import MASK, Lookup, commit, confidences, decode, prompts_of, transfer_counts
from tracedlm.decode.plan import Plan

OFTEN = 3.0
"""Logit of the mask at which every third prediction or so is one."""


def published(model, prompt, gen_length, block_length, steps):
    """LLaDA's generate(): positions right of the block wait; whatever is masked left of its end can be chosen."""
    text, begin = [*prompt] + [MASK] * gen_length, len(prompt)
    for end in range(begin + block_length, begin + gen_length + 1, block_length):
        for count in transfer_counts(text[end - block_length : end].count(MASK), steps * block_length // gen_length):
            commit(text, confidences(model.logits(text)), begin, end, count)
    return text[begin:]


def both(block_length, mask_logit):
    """Our tokens and those of the published sampler, prompt by prompt."""
    prompts, model = prompts_of(12), Lookup(mask_logit)
    done = decode(prompts, Plan(16, block_length, 8), model=model)
    return [(done[n].tokens.tolist(), published(model, prompt, 16, block_length, 8)) for n, prompt in enumerate(prompts)]


def test_a_predicted_mask_spends_its_place_in_the_schedule_and_the_position_stays_masked():
    pairs = both(16, OFTEN)
    assert all(ours == theirs for ours, theirs in pairs)
    assert any(MASK in ours for ours, _ in pairs), "some texts keep masks: the schedule ends, whatever it has left"


@pytest.mark.parametrize("block_length", [8, 4])
def test_blocks_change_nothing_where_no_mask_is_predicted(block_length):
    assert all(ours == theirs and MASK not in ours for ours, theirs in both(block_length, -math.inf))


def test_a_mask_left_in_an_earlier_block_stays_there_while_the_published_sampler_may_still_fill_it():
    pairs = both(8, OFTEN)
    assert all(ours[:8].count(MASK) >= theirs[:8].count(MASK) for ours, theirs in pairs)
    filled = [theirs for ours, theirs in pairs if ours[:8].count(MASK) > theirs[:8].count(MASK)]
    assert filled and all(ours == theirs for ours, theirs in pairs if MASK not in ours[:8])
