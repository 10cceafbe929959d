"""Every exit rule against its naive twin (tests/oracles_rules.py), and what any rule must keep."""

import json
import os
import random
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

import oracles_decode
import oracles_rules as twin
from oracles_decode import MASK, decode, prompts_of
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.rules import RULES, make_rule
from tracedlm.decode.settings import SETTINGS
from tracedlm.theory.schedule import effective_steps, gaussian

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(os.environ.get("TRACEDLM_SHARED", ROOT.parent / "shared")) / "data" / "edit_configs"

CASES = [
    ("skip_noop", {}),
    ("threshold", {"confidence": 0.9}),
    ("threshold", {"confidence": 0.6}),
    ("factor", {"factor": 1.0}),
    ("factor", {"factor": 0.3}),
    ("entropy_bound", {"gamma": 0.1}),
    ("entropy_bound", {"gamma": 0.8}),
    ("klass", {"kl": 0.01, "history": 2, "confidence": 0.9}),
    ("klass", {"kl": 0.1, "history": 1, "confidence": 0.6}),
    ("prophet", {"gaps": (5.5, 4.5, 3.0)}),
    ("prophet", {"gaps": (6.0, 5.0, 4.0), "answer_start": 10}),
    ("sched", {"high": 7.0, "low": 1.0}),
    ("sched", {"high": 6.0, "low": 1.0, "shape": "linear"}),
    ("sched", {"high": 7.0, "low": 1.0, "shape": "exponential", "rate": 2.0}),
    ("stable_confident", {"steps": 1, "entropy": 0.1}),
    ("stable_confident", {"steps": 2, "entropy": 0.2}),
    ("stable_confident", {"steps": 1, "entropy": 0.12, "polish": 2}),
    ("rad", {"delta": 0.001, "omega": 2}),
    ("rad", {"delta": 0.004, "omega": 3}),
    ("rad", {"delta": 0.001, "omega": 1, "polish": 2}),
    ("rad", {"delta": 0.0005, "omega": 1, "later_delta": 0.001, "later_omega": 2, "tau": 0.5}),
    ("subspace", {"delta": 0.001, "omega": 2}),
    ("subspace_norm", {"delta": 0.02, "omega": 2}),
    ("token_freeze", {"delta": 0.001, "omega": 2, "token_delta": 0.001, "token_omega": 1}),
    (
        "token_freeze",
        {"delta": 0.0003, "omega": 1, "token_delta": 0.002, "token_omega": 2, "token_tau": 0.5},
    ),
    (
        "rank_softmax",
        {"blocks": ({"threshold": 0.07, "stability_span": 2, "required_stable": 1, "std": 2.0},)},
    ),
    (
        "rank_softmax",
        {
            "blocks": (
                {
                    "threshold": 0.07,
                    "stability_span": 5,
                    "required_stable": 2,
                    "polish_steps": 0,
                    "std": 3.0,
                },
                {
                    "threshold": 0.05,
                    "stability_span": 3,
                    "required_stable": 3,
                    "polish_steps": 3,
                    "std": 2.0,
                    "center": 3.0,
                },
            )
        },
    ),
]
PLANS = [Plan(32, 16, 32, "gaussian"), Plan(32, (8, 24), 32), Plan(32, (20, 12), 32, "gaussian")]
EVERY = dict(reversed(CASES)) | {
    "full": {},
    "truncate": {"forwards": 8},
    "random": {"forwards": 12},
}
"""One setting of every rule."""
COMPARISONS = [
    (name, settings, plan)
    for name, settings in CASES
    for plan in (PLANS if settings is EVERY[name] else PLANS[1:2])
]


def outcomes(done):
    return [(done[n].tokens.tolist(), done[n].stopped_at) for n in sorted(done)]


def expected(name, model, prompts, plan, settings):
    return [
        twin.outcome(name, model, prompt, plan.lengths, plan.steps, plan.schedule, **settings)
        for prompt in prompts
    ]


def name_of(value):
    return (
        value
        if isinstance(value, str)
        else ""
        if isinstance(value, dict)
        else f"{value.block_length}-{value.schedule}"
    )


@pytest.mark.parametrize(("name", "settings", "plan"), COMPARISONS, ids=name_of)
def test_a_rule_does_what_its_definition_says(name, settings, plan):
    """Six samples in three slots.

    Rows leave and new ones enter while others are in the middle of a block.
    """
    prompts, model = prompts_of(6, seed=3), twin.model_for(name)
    wanted = expected(name, model, prompts, plan, settings)
    if name != "skip_noop":
        assert len({stops for _, stops in wanted}) >= 3, (
            "a comparison in which all samples stop at the same steps proves nothing"
        )
    assert outcomes(decode(prompts, plan, name, 3, model, **settings)) == wanted


@pytest.mark.parametrize(("name", "settings"), EVERY.items(), ids=name_of)
def test_a_sample_depends_neither_on_its_batch_nor_on_its_place(name, settings):
    prompts, plan, model = prompts_of(5, seed=5), Plan(20, (6, 14), 20), twin.model_for(name)
    order = [3, 1, 4, 0, 2]
    alone, together = (
        outcomes(decode(prompts, plan, name, size, model, **settings)) for size in (1, 5)
    )
    assert alone == together
    # The stops of these two are a function of the sample's number.
    if name not in ("truncate", "random"):
        assert outcomes(decode([prompts[n] for n in order], plan, name, 3, model, **settings)) == [
            alone[n] for n in order
        ]


@pytest.mark.parametrize(("name", "settings"), EVERY.items(), ids=name_of)
def test_recording_and_observing_change_nothing_and_forwards_add_up(name, settings):
    prompts, plan, model, seen = (
        prompts_of(4, seed=5),
        Plan(20, (14, 6), 20),
        twin.model_for(name),
        TraceRecorder(),
    )
    plain = decode(prompts, plan, name, 3, model, **settings)
    rows, model.rows = model.rows, 0
    assert outcomes(decode(prompts, plan, name, 3, model, seen, **settings)) == outcomes(plain)
    assert (
        model.rows
        == rows
        == sum(one.nfe for one in plain.values())
        == sum(map(len, seen.steps.values()))
    )
    for n, one in plain.items():
        assert sum(one.stopped_at) == one.nfe <= plan.gen_length
        assert one.token_forwards == one.nfe * (len(prompts[n]) + plan.gen_length)
        assert MASK not in one.tokens and len(one.stopped_at) == plan.blocks
        assert all(one.stopped_at) or RULES[name].scope == "canvas"
    if SETTINGS[name].reading is None:
        assert outcomes(
            decode(prompts, plan, name, 3, model, observed=False, **settings)
        ) == outcomes(plain)


@pytest.mark.parametrize(("name", "settings"), EVERY.items(), ids=name_of)
def test_a_model_that_predicts_the_mask_hangs_no_rule(name, settings):
    """The mask is the best token at about half of the positions; then everywhere, always."""
    prompts, plan = prompts_of(4, seed=3), Plan(24, (15, 9), 24)
    sometimes = twin.model_for(name, mask_logit=7.0 if name == "stable_confident" else 4.0)
    done = decode(prompts, plan, name, 3, sometimes, **settings)
    assert any(MASK in one.tokens for one in done.values()) or name in twin.COMMIT_THEMSELVES
    if name not in ("full", "truncate", "random"):
        assert outcomes(done) == expected(name, sometimes, prompts, plan, settings)
    always = decode(prompts, plan, name, 3, twin.model_for(name, mask_logit=64.0), **settings)
    assert all(
        set(one.tokens.tolist()) == {MASK} and one.nfe <= plan.gen_length for one in always.values()
    )


@pytest.mark.parametrize("lengths", [(8, 24), (24, 8), (4, 20, 8)])
@pytest.mark.parametrize("mask_logit", [-64.0, 4.0])
def test_full_is_lladas_sampler_on_blocks_of_any_length(lengths, mask_logit):
    prompts, plan, model = prompts_of(5), Plan(32, lengths, 16), oracles_decode.Settling(mask_logit)
    done = decode(prompts, plan, "full", 2, model)
    assert [done[n].tokens.tolist() for n in range(5)] == [
        oracles_decode.llada(model, prompt, 32, lengths, 16) for prompt in prompts
    ]
    assert {one.stopped_at for one in done.values()} == {tuple(length // 2 for length in lengths)}


ONE_TOKEN = {
    "threshold": {"confidence": 1.0},
    "factor": {"factor": 1e-12},
    "entropy_bound": {"gamma": 0.0},
}
EVERYTHING = {
    "threshold": {"confidence": 0.0},
    "factor": {"factor": 1e3},
    "entropy_bound": {"gamma": 1e3},
}


@pytest.mark.parametrize("name", ONE_TOKEN)
def test_the_strictest_setting_commits_one_token_a_step_and_the_loosest_all(name):
    prompts, plan = prompts_of(4), Plan(24, (8, 16), 12)
    assert {one.stopped_at for one in decode(prompts, plan, name, **ONE_TOKEN[name]).values()} == {
        plan.lengths
    }
    assert {one.stopped_at for one in decode(prompts, plan, name, **EVERYTHING[name]).values()} == {
        (1, 1)
    }


def committed(name, **settings):
    """(confidence or entropy of each eligible position, which were committed) of every forward of a
    decoding.
    """
    steps = []
    decode(
        prompts_of(5), Plan(16, 8, 8), name, 1, oracles_decode.Settling(), steps.append, **settings
    )
    for step in steps:
        eligible = step.eligible_rk[0]
        yield (
            step.log_confidence_rk[0][eligible].exp(),
            step.entropy_rk[0][eligible],
            step.scheduled_rk[0][eligible],
        )


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0])
def test_factor_commits_a_prefix_of_the_confidence_order(factor):
    sizes = set()
    for confidence, _, chosen in committed("factor", factor=factor):
        n = int(chosen.sum())
        assert confidence[chosen].min() >= confidence.masked_fill(chosen, 0).max()
        assert n == 1 or (n + 1) * (1 - confidence[chosen].min()) < factor
        assert n == len(chosen) or (n + 2) * (1 - confidence[~chosen].max()) >= factor
        sizes.add(n)
    assert len(sizes) > 2


@pytest.mark.parametrize("gamma", [0.05, 0.5])
def test_entropy_bound_commits_as_many_tokens_as_any_set_within_the_bound(gamma):
    sizes = set()
    for _, entropy, chosen in committed("entropy_bound", gamma=gamma):
        n = int(chosen.sum())
        assert entropy[chosen].sum() - entropy[chosen].max() <= gamma
        larger = combinations(entropy.tolist(), n + 1)
        assert all(sum(values) - max(values) > gamma for values in larger)
        sizes.add(n)
    assert len(sizes) > 2


@pytest.mark.parametrize("polish", [1, 3])
def test_a_polished_block_takes_its_further_forwards_and_no_more(polish):
    """Up to the stop of the first block both runs are the same.

    The polish then has `polish` forwards, or what is left of the plan.
    """
    prompts, plan, model = prompts_of(9, seed=2), Plan(16, 8, 16), oracles_decode.Settling()
    filled, polished = (
        decode(prompts, plan, "rad", 3, model, delta=0.001, omega=1, polish=n) for n in (0, polish)
    )
    stops = [(filled[n].stopped_at[0], polished[n].stopped_at[0]) for n in range(9)]
    assert all(later == min(stop + polish, 8) for stop, later in stops) and len(set(stops)) > 2
    assert any(not torch.equal(filled[n].tokens, polished[n].tokens) for n in range(9))


@pytest.mark.parametrize("name", twin.OF_THE_CANVAS)
def test_a_stop_of_the_canvas_fills_later_blocks_without_a_forward(name):
    loose = {"prophet": {"gaps": (0.0, 0.0, 0.0)}, "sched": {"high": 0.0, "low": 0.0}}[name]
    done = decode(prompts_of(4), Plan(24, 8, 12), name, model=twin.model_for(name), **loose)
    assert {(one.stopped_at, one.nfe) for one in done.values()} == {((1, 0, 0), 1)}
    assert all(MASK not in one.tokens for one in done.values())


def test_the_most_likely_text_is_not_the_drawn_one():
    """Half of each block is certain and committed first.

    The rest is drawn anew in every forward, though its best token stays.
    """

    class Coins(oracles_decode.Lookup):
        def logits(self, text):
            return [
                [20.0 if at % 2 else 0.3] + [0.0] * (MASK - 1) + [-64.0] for at in range(len(text))
            ]

    done = decode(
        [[1, 2]],
        Plan(16, 8, 16),
        "stable_confident",
        model=Coins(),
        sampling={"temperature": 1.0},
        steps=3,
        entropy=9.0,
    )
    assert done[0].stopped_at == (4, 4) and len(set(done[0].tokens[::2].tolist())) > 1


def test_an_answer_outside_the_canvas_is_refused():
    with pytest.raises(
        ValueError, match=r"answer_start 8 is outside 0\.\.7, the positions of the canvas"
    ):
        decode([[1]], Plan(8, 8, 4), "prophet", answer_start=8)


class Edge(oracles_decode.Lookup):
    """Surer the later the position.

    What it reads of the first four response tokens stands still, the rest moves with every forward.
    """

    def logits(self, text):
        return [[1.0 + at] + [0.0] * (MASK - 1) + [-64.0] for at in range(len(text))]

    def reading(self, text, module):
        rng = random.Random(repr(text))
        return [
            [rng.random() * (at >= len(text) - 12) for _ in range(3)] for at in range(len(text))
        ]


def test_a_short_block_is_judged_by_its_own_tokens():
    """Its view runs on: over the next block's masks, or, at the end of the canvas, over the last
    token again and again.
    """
    calm = {"threshold": 1e-6, "stability_span": 2, "required_stable": 1, "polish_steps": 0}
    done = decode([[1, 2]], Plan(16, (4, 12), 16), "rank_softmax", model=Edge(), blocks=[calm])
    assert done[0].stopped_at == (2, effective_steps(gaussian(12, 12)))
    for lengths in ((4, 12), (12, 4)):
        done = decode(
            [[1, 2]], Plan(16, lengths, 16), "stable_confident", model=Edge(), steps=1, entropy=9.0
        )
        assert done[0].stopped_at == (2, 2)


@pytest.mark.parametrize("lengths", [(8, 24), (24, 8)])
def test_a_recorded_drift_is_the_mean_over_the_block_alone(lengths):
    """A short block is looked at through a view of the longest one's width."""
    prompts, plan, model, seen = (
        prompts_of(3),
        Plan(32, lengths, 16),
        oracles_decode.Settling(),
        TraceRecorder(),
    )
    decode(prompts, plan, "full", 3, model, seen)
    for n, prompt in enumerate(prompts):
        text, before = [*prompt] + [MASK] * 32, []
        for row in seen.steps[n]:
            first = len(prompt) + plan.begins[row["block"]]
            now = [
                twin.softmax(logits)
                for logits in model.logits(text)[first : first + lengths[row["block"]]]
            ]
            if row["block_step"] == 1:
                assert row["predictive_kl"] is None
            else:
                drift = np.mean([twin.divergence(p, q) for p, q in zip(now, before, strict=True)])
                assert row["predictive_kl"] == pytest.approx(drift, rel=1e-6, abs=0)
            before = now
            for at, token in zip(row["committed_position"], row["committed_token"], strict=True):
                text[len(prompt) + at] = int(token)


def test_rank_softmax_has_the_schedule_of_its_blocks():
    blocks = [{"center": 4.0, "std": 5.0}, {"center": 6.0, "std": 4.0}]
    rule = make_rule("rank_softmax", Plan(256, (64, 96, 96), 128), 1, blocks=blocks)
    for block, (length, center, std) in enumerate([(64, 4, 5), (96, 6, 4), (96, 6, 4)]):
        counts = rule.counts(0, block)
        np.testing.assert_array_equal(counts, gaussian(length, length // 2, 1 / center, 1 / std))
        assert counts.tolist() == twin.gaussian(length, length // 2, center, std)


def test_rank_softmax_looks_once_it_has_a_span_of_steps():
    """Nothing moves: two stable steps of five are had at the third forward, and the released code
    would stop at the fifth.
    """
    own = {"threshold": 1e-6, "stability_span": 5, "required_stable": 2, "polish_steps": 0}
    done = decode(
        [[1, 2]],
        Plan(12, 12, 12),
        "rank_softmax",
        model=oracles_decode.Settling(components=3, scale=0.0),
        blocks=[own],
    )
    assert done[0].stopped_at == (5,)


@pytest.mark.shared
@pytest.mark.skipif(
    not CONFIGS.is_dir(),
    reason=f"EDIT's released settings are not at {CONFIGS} (set TRACEDLM_SHARED)",
)
@pytest.mark.parametrize(
    ("name", "length", "forwards"),
    [("math", 512, 162), ("gsm8k", 256, 97), ("gsm8k", 512, 197), ("countdown", 512, 176)],
)
def test_rank_softmax_without_noops_costs_what_the_released_schedules_do(name, length, forwards):
    """Measured on EDIT's files (method.md section 2), with no stop at all."""
    blocks = json.loads((CONFIGS / f"EDIT_{name}_seq{length}.json").read_text())["token_schedule"]
    rule = make_rule("rank_softmax", Plan(length, 64, length // 2), 1, blocks=blocks)
    assert sum(effective_steps(rule.counts(0, block)) for block in range(length // 64)) == forwards


def test_the_documented_rules_are_those_there_are():
    table = [
        line
        for line in (ROOT / "docs/exit_rules.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    documented = [name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(documented) == sorted(RULES)


def test_the_documented_new_rule_runs(monkeypatch):
    """The example of docs/exit_rules.md as it stands there, on the lookup denoiser, against a twin
    of its own.
    """
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/exit_rules.md").read_text(), flags=re.DOTALL
    )
    for registry in (SETTINGS, RULES):
        monkeypatch.setitem(registry, "certain", None)  # so that it is gone afterwards
    exec(compile(example, "docs/exit_rules.md", "exec"), {"__name__": "example"})
    prompts, plan, model = (
        prompts_of(6),
        Plan(24, (8, 16), 24),
        oracles_decode.Settling(gaps=(3.0, 9.0)),
    )

    def rule(history, quota):
        now = history[-1]
        return twin.scheduled(history, quota), all(now.found[at][1] >= 0.6 for at in now.masked())

    counts = twin.schedule("uniform", plan.lengths, plan.steps)
    wanted = [twin.decode(model, prompt, plan.lengths, counts, rule) for prompt in prompts]
    assert outcomes(decode(prompts, plan, "certain", 3, model, confidence=0.6)) == wanted
    assert len({stops for _, stops in wanted}) >= 3
    polished = decode(prompts, plan, "certain", 3, model, confidence=0.6, polish=2)
    assert sum(one.nfe for one in polished.values()) > sum(sum(stops) for _, stops in wanted)
    with pytest.raises(
        ValueError,
        match=r"confidence: Input should be less than or equal to 1.*Settings: polish, confidence",
    ):
        decode(prompts, plan, "certain", confidence=2)
