import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles_decode as twin
from oracles_decode import decode, prompts_of
from tracedlm.decode.commit import most_confident
from tracedlm.decode.engine import Engine
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.rules import RULES, make_rule
from tracedlm.decode.settings import SETTINGS, settings_of


def tokens(done):
    return [done[sample].tokens.tolist() for sample in sorted(done)]


# 3.0: a model that sometimes predicts the mask itself.
@pytest.mark.parametrize("mask_logit", [-np.inf, 3.0])
@pytest.mark.parametrize(
    ("gen_length", "block_length", "steps"),
    [(16, 8, 8), (16, 16, 5), (12, 4, 12), (12, 6, 24), (8, 8, 1)],
)
def test_full_gives_the_tokens_of_lladas_sampler(gen_length, block_length, steps, mask_logit):
    prompts, model = prompts_of(7), twin.Lookup(mask_logit)
    done = decode(prompts, Plan(gen_length, block_length, steps), batch_size=3, model=model)
    assert tokens(done) == [
        twin.llada(model, prompt, gen_length, block_length, steps) for prompt in prompts
    ]
    assert {one.nfe for one in done.values()} == {steps}


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("full", {}),
        ("truncate", {"forwards": 5.5}),
        ("random", {"forwards": 5.5}),
        ("rad", {"delta": 0.02, "omega": 1}),
    ],
)
def test_a_sample_does_not_depend_on_its_batch(rule, settings):
    prompts, plan = prompts_of(17), Plan(16, 8, 8)
    alone, together = (decode(prompts, plan, rule, batch_size=size, **settings) for size in (1, 16))
    assert tokens(alone) == tokens(together)
    assert [alone[n].stopped_at for n in range(17)] == [together[n].stopped_at for n in range(17)]
    assert [alone[n].token_forwards for n in range(17)] == [
        together[n].token_forwards for n in range(17)
    ]


@pytest.mark.parametrize(("rule", "settings"), [("full", {}), ("rad", {"delta": 0.02, "omega": 1})])
def test_a_sample_does_not_depend_on_the_order_of_the_prompts(rule, settings):
    prompts, plan = prompts_of(9), Plan(16, 8, 8)
    order = random.Random(1).sample(range(9), 9)
    forward, shuffled = (
        decode(prompts, plan, rule, **settings),
        decode([prompts[n] for n in order], plan, rule, **settings),
    )
    assert [shuffled[at].tokens.tolist() for at in range(9)] == [
        forward[n].tokens.tolist() for n in order
    ]


@pytest.mark.parametrize(
    ("rule", "settings"),
    [("full", {}), ("rad", {"delta": 0.02, "omega": 1}), ("truncate", {"forwards": 6})],
)
def test_recording_does_not_change_a_token(rule, settings):
    prompts, plan = prompts_of(9), Plan(16, 8, 8)
    seen = TraceRecorder()
    recorded, plain = (
        decode(prompts, plan, rule, record=seen, **settings),
        decode(prompts, plan, rule, **settings),
    )
    assert tokens(recorded) == tokens(plain) and len(seen.steps) == 9


def test_observing_does_not_change_a_token():
    prompts, plan = prompts_of(9), Plan(16, 8, 8)
    assert tokens(decode(prompts, plan)) == tokens(decode(prompts, plan, observed=False))


def test_skip_noop_gives_the_same_tokens_with_fewer_forwards():
    prompts, plan = prompts_of(9), Plan(32, 16, 32, "gaussian")
    full, skipping = twin.Lookup(), twin.Lookup()
    everything, shorter = (
        decode(prompts, plan, model=full),
        decode(prompts, plan, "skip_noop", model=skipping),
    )
    assert tokens(everything) == tokens(shorter)
    expected = 2 * int(np.count_nonzero(plan.counts(0)))
    assert {one.nfe for one in shorter.values()} == {expected} and expected < 32 == everything[
        0
    ].nfe
    assert skipping.rows < full.rows


def test_forwards_are_counted_as_they_happen():
    """Compaction: a finished row leaves the batch, so the rows the model saw are the forwards of
    the samples.
    """
    model, prompts = twin.Lookup(), prompts_of(11)
    done = decode(prompts, Plan(16, 8, 8), "rad", model=model, delta=0.02, omega=1)
    assert sum(one.nfe for one in done.values()) == model.rows
    assert all(one.nfe == sum(one.stopped_at) for one in done.values())
    assert [done[n].token_forwards for n in range(11)] == [
        done[n].nfe * (len(prompts[n]) + 16) for n in range(11)
    ]
    assert len({one.nfe for one in done.values()}) > 1


@settings(max_examples=25)
@given(st.integers(2, 8), st.integers(0, 40))
def test_truncate_meets_its_budget_exactly(block_steps, quarter):
    plan = Plan(16, 8, 2 * block_steps)
    budget = 2 + (plan.steps - 2) * quarter / 40
    n = 40
    done = decode([[1]] * n, plan, "truncate", forwards=budget, batch_size=n)
    total = sum(one.nfe for one in done.values())
    assert total == int(np.floor(n * budget + 1e-6))
    shares = {forwards for one in done.values() for forwards in one.stopped_at}
    assert max(shares) - min(shares) <= 1
    rule = make_rule("truncate", plan, 1, forwards=budget)
    assert all(rule.counts(sample, block).sum() == 8 for sample in range(n) for block in range(2))


@pytest.mark.parametrize(
    ("schedule", "budget"),
    [("uniform", 9.0), ("uniform", 14.6), ("gaussian", 9.0), ("gaussian", 12.0)],
)
def test_random_meets_its_budget_on_average(schedule, budget):
    """300 samples; the mean is within four standard errors of the budget."""
    plan = Plan(32, 16, 16 if schedule == "uniform" else 32, schedule)
    nfe = np.array(
        [
            one.nfe
            for one in decode(
                [[1]] * 300, plan, "random", forwards=budget, batch_size=300, stop_seed=1
            ).values()
        ]
    )
    assert nfe.std() > 0 and abs(nfe.mean() - budget) < 4 * nfe.std() / np.sqrt(300)
    assert nfe.min() >= 2 and nfe.max() <= plan.steps


@pytest.mark.parametrize("budget", [6.3, 20, 31.5, 40.9])
def test_random_meets_its_budget_with_eight_samples(budget):
    plan = Plan(64, 16, 64)
    means = []
    for seed in range(20):
        done = decode([[1]] * 8, plan, "random", forwards=budget, batch_size=8, stop_seed=seed)
        means.append(np.mean([one.nfe for one in done.values()]))
    assert np.abs(np.array(means) - budget).max() < 1.01 and abs(np.mean(means) - budget) < 0.2


def test_random_is_a_function_of_its_seed():
    prompts, plan = prompts_of(20), Plan(16, 8, 16)
    one, same, other = (
        decode(prompts, plan, "random", forwards=8, stop_seed=seed) for seed in (0, 0, 1)
    )
    assert (
        [one[n].stopped_at for n in range(20)]
        == [same[n].stopped_at for n in range(20)]
        != [other[n].stopped_at for n in range(20)]
    )


@pytest.mark.parametrize("schedule", ["uniform", "gaussian"])
@pytest.mark.parametrize(("delta", "omega"), [(0.02, 1), (0.02, 2), (0.005, 1), (0.05, 3)])
def test_rad_stops_where_its_twin_stops(schedule, delta, omega):
    """Thirteen samples in three slots.

    Rows leave and new samples enter while others are in the middle of a block.
    """
    prompts, plan, model = prompts_of(13, seed=2), Plan(16, 8, 16, schedule), twin.Lookup()
    done = decode(prompts, plan, "rad", batch_size=3, model=model, delta=delta, omega=omega)
    expected = [
        twin.rad(model, prompt, 16, 8, plan.counts(0).tolist(), delta, omega) for prompt in prompts
    ]
    assert [(done[n].tokens.tolist(), done[n].stopped_at) for n in range(13)] == expected


def test_rad_twin_stops_at_different_steps():
    """The comparison above would prove nothing if every sample stopped at the same step."""
    plan = Plan(16, 8, 16)
    stops = {
        twin.rad(twin.Lookup(), prompt, 16, 8, plan.counts(0).tolist(), 0.02, 1)[1]
        for prompt in prompts_of(13, seed=2)
    }
    assert len(stops) > 3


def test_fewer_than_two_common_tokens_are_never_stable():
    """With any KL allowed, one token a step.

    S_1 is empty, and S_3 & S_4 are the first that share two tokens.
    """
    done = decode(prompts_of(3), Plan(16, 8, 16), "rad", delta=1e9, omega=1)
    assert {one.stopped_at for one in done.values()} == {(4, 2)}
    done = decode(prompts_of(3), Plan(16, 8, 16), "rad", delta=1e9, omega=3)
    assert {one.stopped_at for one in done.values()} == {(6, 4)}


def test_no_mask_is_left_after_an_exit():
    done = decode(prompts_of(5), Plan(16, 8, 8), "rad", delta=1e9, omega=1)
    assert all(twin.MASK not in one.tokens.tolist() for one in done.values())


def test_the_most_confident_are_chosen_and_ties_go_to_the_earlier():
    log_confidence = torch.tensor([[0.0, -1.0, 0.0, 0.0], [-3.0, -2.0, -1.0, -4.0]])
    eligible = torch.tensor([[False, True, True, True], [True, True, True, True]])
    assert most_confident(log_confidence, eligible, torch.tensor([2, 1])).tolist() == [
        [False, False, True, True],
        [False, False, True, False],
    ]
    assert most_confident(log_confidence[:1], eligible[:1], torch.tensor([1])).tolist() == [
        [False, False, True, False]
    ]


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        ("truncate", {"forwards": 1}, r"truncate: forwards 1 is outside 2\.\.8"),
        ("truncate", {"forwards": 9}, r"truncate: forwards 9 is outside 2\.\.8"),
        ("random", {"forwards": 1.5}, r"random: forwards 1.5 is outside 2\.\.8"),
        ("rad", {"delta": 0}, r"delta: Input should be greater than 0 \(got 0\)"),
        ("rad", {"delta": float("nan")}, "delta: Input should be a finite number"),
        ("rad", {"omega": 0}, "omega: Input should be greater than or equal to 1"),
        ("rad", {"omega": 4}, "omega 4 can never fire in blocks of 4 steps"),
        ("klass", {"history": 4}, "history 4 can never fire in blocks of 4 steps"),
        ("stable_confident", {"steps": 4}, "steps 4 can never fire in blocks of 4 steps"),
        (
            "rank_softmax",
            {"blocks": [{"required_stable": 3}]},
            "stability_span 6 can never fire in blocks of 3 steps",
        ),
        (
            "rad",
            {"dleta": 1},
            (
                r"dleta: unknown setting \(got 1\)\. Settings: polish, delta, omega, later_delta,"
                r" later_omega, tau"
            ),
        ),
        (
            "rank_softmax",
            {"blocks": [{"required_stable": 7}]},
            "required_stable 7 exceeds stability_span 6",
        ),
        ("truncat", {}, "Did you mean 'truncate'"),
        ("truncate", {}, r"forwards: required, it has no default\. Settings: forwards"),
    ],
)
def test_a_setting_that_cannot_be_is_named(rule, settings, message):
    with pytest.raises(ValueError, match=message):
        decode([[1]], Plan(16, 8, 8), rule, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((16, 5, 8), "not divisible.*; use a multiple of it"),
        ((16, 8, 7), "use 2 or a multiple of it"),
        ((16, 8, 0), "do not divide"),
        ((16, 8, 8, "linear"), "unknown schedule"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Plan(*arguments)


def test_empty_prompts_batches_of_none_and_missing_maps_are_refused():
    for prompts, size in (([], 4), ([[1], []], 4), ([[1]], 0)):
        with pytest.raises(ValueError, match=r"prompt|batch_size"):
            decode(prompts, Plan(8, 8, 4), batch_size=size)
    with pytest.raises(ValueError, match="needs a map"):
        decode([[1]], Plan(8, 8, 4), "rad", omega=2, observed=False)


def test_a_rule_without_a_schedule_has_nothing_to_polish_by():
    class Polishing(RULES["threshold"]):
        def polish(self, block):
            return 2

    plan = Plan(8, 8, 4)
    with pytest.raises(
        ValueError, match=r"'threshold' commits tokens without a schedule.*set polish to 0"
    ):
        Engine(
            twin.Lookup(),
            [[1]],
            plan,
            lambda slots: Polishing(plan, slots, settings_of("threshold")),
            mask_id=twin.MASK,
            pad_id=twin.PAD,
        )


def test_every_rule_has_settings():
    assert set(SETTINGS) == set(RULES)
