"""A model may predict [MASK] itself.

What LLaDA's published sampler then does, and so do we (docs/exit_rules.md).
"""

import pytest

import oracles_decode as twin
from oracles_decode import MASK, Lookup, decode, prompts_of
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder

OFTEN = 3.0
"""Logit of the mask at which every third prediction or so is one."""
PROMPTS = prompts_of(12)


def tokens(plan, rule="full", **settings):
    return [
        one.tokens.tolist()
        for _, one in sorted(decode(PROMPTS, plan, rule, model=Lookup(OFTEN), **settings).items())
    ]


@pytest.mark.parametrize("block_length", [16, 8, 4, (4, 12), (12, 4)])
def test_predicted_masks_spend_places_and_compete_in_later_blocks_as_in_the_published_sampler(
    block_length,
):
    ours = tokens(Plan(16, block_length, 8))
    assert ours == [twin.llada(Lookup(OFTEN), prompt, 16, block_length, 8) for prompt in PROMPTS]
    assert any(MASK in text for text in ours), (
        "some texts keep masks: the schedule ends, whatever it has left"
    )


def test_a_mask_left_in_an_earlier_block_may_be_filled_in_a_later_one():
    seen = TraceRecorder()
    decode(PROMPTS, Plan(16, 4, 8), model=Lookup(OFTEN), record=seen)
    rows = [row for sample in range(len(PROMPTS)) for row in seen.take(sample)[0]]
    late = [row for row in rows if (row["committed_position"] < 4 * row["block"]).any()]
    assert len(late) > 5 and not any(
        (row["committed_position"] >= 4 * (row["block"] + 1)).any() for row in rows
    )


@pytest.mark.parametrize(
    ("rule", "settings"),
    [("sched", {"high": 1e9, "low": 1e9}), ("stable_confident", {"entropy": 1e-300})],
)
def test_a_rule_that_never_stops_gives_the_tokens_of_full(rule, settings):
    plan = Plan(16, 4, 16)
    assert tokens(plan, rule, **settings) == tokens(plan)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("klass", {"kl": 1.0, "confidence": 0.2, "history": 1}),
        ("sched", {"high": 2.0, "low": 1.0}),
        ("full", {}),
    ],
)
def test_a_sample_does_not_depend_on_what_its_batch_has_left(rule, settings):
    plan = Plan(16, 4, 8)
    assert tokens(plan, rule, batch_size=1, **settings) == tokens(
        plan, rule, batch_size=5, **settings
    )


def test_recording_them_changes_no_token_and_no_number_of_its_neighbours():
    plan, found = Plan(16, 4, 8), {}
    for batch_size in (1, 5):
        seen = TraceRecorder()
        assert tokens(plan, batch_size=batch_size, record=seen) == tokens(plan)
        found[batch_size] = [
            row["predictive_kl"] for sample in range(len(PROMPTS)) for row in seen.take(sample)[0]
        ]
    assert found[1] == pytest.approx(found[5]) and any(value for value in found[1])
