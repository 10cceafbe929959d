"""Going on from a state of a run gives what the run gave; and recorders see who stops."""

import pytest
import torch

import oracles_decode as twin
from oracles_decode import MASK, PAD, decode, prompts_of
from tracedlm.decode.engine import Engine
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import make_rule
from tracedlm.decode.slot import Start


def states(prompts, plan, rule="full", **settings):
    """Every state a run goes through.

    (sample, canvas before the forward, block, forwards of the block before it).
    """
    seen = []

    def record(step):
        where = zip(
            step.sample_r.tolist(),
            step.visible_rg,
            step.block_r.tolist(),
            step.block_step_r.tolist(),
            strict=True,
        )
        seen.extend(
            (sample, visible, block, block_step - 1) for sample, visible, block, block_step in where
        )

    done = decode(prompts, plan, rule, record=record, **settings)
    return done, [
        (sample, Start(torch.where(visible, done[sample].tokens, MASK), block, steps))
        for sample, visible, block, steps in seen
    ]


def go_on(prompts, plan, starts, rule="full", batch_size=4):
    engine = Engine(
        twin.Lookup(),
        prompts,
        plan,
        lambda slots: make_rule(rule, plan, slots),
        mask_id=MASK,
        pad_id=PAD,
        batch_size=batch_size,
        starts=starts,
    )
    return sorted(engine.run(), key=lambda one: one.sample)


@pytest.mark.parametrize(
    ("plan", "rule"),
    [
        (Plan(16, 8, 8), "full"),
        (Plan(12, (4, 8), 6), "full"),
        (Plan(32, 16, 32, "gaussian"), "skip_noop"),
    ],
)
def test_going_on_from_any_state_gives_the_same_text(plan, rule):
    prompts = prompts_of(5)
    done, seen = states(prompts, plan, rule)
    again = go_on([prompts[sample] for sample, _ in seen], plan, [start for _, start in seen], rule)
    assert [one.tokens.tolist() for one in again] == [
        done[sample].tokens.tolist() for sample, _ in seen
    ]
    for one, (sample, start) in zip(again, seen, strict=True):
        spent = done[sample].stopped_at
        rest = (0,) * start.block + (spent[start.block] - start.steps, *spent[start.block + 1 :])
        assert one.stopped_at == rest and one.nfe == sum(rest)
        assert one.confidence.isnan().tolist() == (start.tokens != MASK).tolist()


def test_a_blank_start_is_none():
    prompts, plan = prompts_of(5), Plan(16, 8, 8)
    blank = go_on(prompts, plan, [Start(torch.full((16,), MASK))] * 5)
    assert [one.tokens.tolist() for one in blank] == [
        one.tokens.tolist() for one in decode(prompts, plan).values()
    ]


def test_recorders_see_who_stops():
    prompts, plan, seen = prompts_of(7), Plan(16, 8, 8), []

    def record(step):
        for sample, block, block_step, stops in zip(
            step.sample_r, step.block_r, step.block_step_r, step.stop_r, strict=True
        ):
            if stops:
                seen.append((int(sample), int(block), int(block_step)))

    done = decode(prompts, plan, "rad", record=record, delta=0.02, omega=1)
    at = {
        (sample, block, steps)
        for sample, one in done.items()
        for block, steps in enumerate(one.stopped_at)
    }
    assert len(set(seen)) == len(seen) > 3 and set(seen) <= at
    assert {(sample, block) for sample, block, _ in seen} >= {
        (sample, block) for sample, block, steps in at if steps < 4
    }
