"""Exits undone, against a twin that decodes one sample at a time and simply ignores the exits it is
told to ignore.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import oracles
import oracles_decode as twin
from oracles_decode import MASK, PAD, decode, prompts_of
from tracedlm.config import FlipAudit
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.rules import make_rule
from tracedlm.stages.exits.flip_audit import Schedule, StopRecorder, audited, undone
from tracedlm.theory.certificate import BOUNDS

AUDIT = FlipAudit(delta=0.01, omega=2)
STABLE = {"delta": 0.02, "omega": 1}


class TableBench:
    """What the audit uses of a `Bench`, with a lookup table for a model.

    The answer is whether its tokens sum to an odd number.
    """

    def __init__(self, prompts, plan, model=None, batch_size=3):
        self.prompts, self.plan, self.model, self.how = (
            prompts,
            plan,
            model or twin.Lookup(),
            {"batch_size": batch_size},
        )

    @property
    def denoiser(self):
        class Denoiser:
            mask_id, tokenizer, device = MASK, SimpleNamespace(pad_token_id=PAD), "cpu"
            __call__ = staticmethod(self.model)

        return Denoiser()

    def run(self, name, settings, record=None):
        done = decode(
            self.prompts, self.plan, name, self.how["batch_size"], self.model, record, **settings
        )
        return [done[sample] for sample in range(len(self.prompts))]

    def answers(self, done):
        return [str(odd(one.tokens.tolist())) for one in done]


def odd(tokens):
    return sum(tokens) % 2 == 1


def rad(model, prompt, plan, delta, omega, heeded):
    """TRACE Algorithm 1, heeding its exits in some blocks.

    (tokens, {block: (forward it stops after, masks it fills)}).
    """
    text, fired = [*prompt] + [MASK] * plan.gen_length, {}
    for block, length in enumerate(plan.lengths):
        first, previous, run = len(prompt) + plan.begins[block], None, 0
        for used, count in enumerate(plan.counts(block).tolist(), start=1):
            found = twin.confidences(model.logits(text))
            now = (
                torch.tensor(model.reading(text, (0, "q"))).tolist()[len(prompt) :],
                [token != MASK for token in text[len(prompt) :]],
            )
            if previous is not None:
                kl = oracles.step_statistics([previous[0], now[0]], [previous[1], now[1]])[1]["kl"]
                run = run + 1 if kl is not None and kl < delta else 0
            previous, masks = now, [at for at in range(first, first + length) if text[at] == MASK]
            if run >= omega and block not in fired:
                fired[block] = used, [at - len(prompt) for at in masks]
                if block in heeded:
                    twin.commit(text, found, first, first + length, length)
                    break
            twin.commit(text, found, first, first + length, count)
    return text[len(prompt) :], fired


def naive(model, prompts, plan, delta, omega):
    """(sample, block, forward, masks filled, tokens flipped, answer flipped) of every exit."""
    rows, blocks = [], range(plan.blocks)
    for sample, prompt in enumerate(prompts):
        final, fired = rad(model, prompt, plan, delta, omega, blocks)
        early = [
            block
            for block in blocks
            if block in fired and fired[block][0] < len(plan.counts(block))
        ]
        for n, block in enumerate(early):
            kept, _ = rad(model, prompt, plan, delta, omega, early[: n + 1])
            ignored, _ = rad(model, prompt, plan, delta, omega, early[:n])
            used, filled = fired[block]
            flips = sum(final[at] != ignored[at] for at in filled)
            rows.append((sample, block, used, len(filled), flips, odd(kept) != odd(ignored)))
    return rows


def test_every_exit_is_undone_as_its_twin_undoes_it():
    prompts, plan, model = prompts_of(6, seed=2), Plan(24, 8, 24), twin.Settling()
    rows = audited(TableBench(prompts, plan, model), "rad", STABLE, AUDIT, 1.0)
    found = [
        (
            row["sample_id"],
            row["block"],
            row["block_step"],
            row["filled"],
            row["token_flips"],
            row["answer_flip"],
        )
        for row in rows
    ]
    expected = naive(model, prompts, plan, **STABLE)
    assert found == expected
    # The comparison would prove nothing without exits after exits, flips and kept answers.
    assert len({row[0] for row in expected}) < len(expected) and 0 < sum(
        row[4] > 0 for row in expected
    ) < len(expected)
    assert {row[5] for row in expected} == {True, False}


class Fickle(twin.Lookup):
    """Predicts a quarter of the number of masks everywhere, surer to the left."""

    def logits(self, text):
        token = text.count(MASK) // 4
        return [
            [9.0 - 0.1 * at if other == token else 0.0 for other in range(MASK)] + [-math.inf]
            for at in range(len(text))
        ]


def test_flips_counted_by_hand():
    """rad that is always stable stops after forward 4 of 8, with 5 masks, all of which it makes 1.

    The last three would become 0.
    """
    (row,) = audited(
        TableBench([[1]], Plan(8, 8, 8), Fickle()), "rad", {"delta": 1e9, "omega": 1}, AUDIT, 1.0
    )
    assert (
        row["block_step"],
        row["scheduled"],
        row["filled"],
        row["token_flips"],
        row["answer_flip"],
    ) == (4, 8, 5, 3, True)


RULES = {
    "rad": STABLE,
    "rad, polished": {"delta": 0.02, "omega": 1, "polish": 2},
    "token_freeze": {"delta": 0.02, "omega": 1},
    "random": {"forwards": 12},
    "stable_confident": {"steps": 1, "entropy": 1.9},
    "prophet": {"gaps": (0.6, 0.5, 0.4)},
    "rank_softmax": {"blocks": ({"threshold": 0.05, "required_stable": 2, "stability_span": 3},)},
}


def model_for(rule):
    components = {"token_freeze": 4, "rank_softmax": 5}.get(rule, 0)
    return twin.Settling(components=components) if components else twin.Lookup()


@pytest.mark.parametrize("case", RULES)
def test_undoing_the_first_exit_gives_full_decoding(case):
    name, plan, prompts = case.split(",")[0], Plan(24, 8, 24), prompts_of(5, seed=4)
    bench = TableBench(prompts, plan, model_for(name))
    schedule, recorder = Schedule(make_rule(name, plan, 1, **RULES[case])), StopRecorder(2)
    final = bench.run(name, RULES[case], recorder)
    stops = sorted(recorder.stops, key=lambda stop: (stop.sample, stop.block))
    first = {
        stop.sample: one
        for stop, one in reversed(
            list(zip(stops, undone(bench, schedule, stops, final), strict=True))
        )
    }
    never = (
        twin.decode(prompts, plan, model=bench.model)
        if name != "rank_softmax"
        else scheduled(bench, schedule)
    )
    assert first and {sample: one.tokens.tolist() for sample, one in first.items()} == {
        n: never[n].tokens.tolist() for n in first
    }
    for stop in stops:
        assert not (stop.filled & stop.visible).any()


def scheduled(bench, schedule):
    """Decoding by a rule's own schedule, without its exits."""
    engine = twin.Engine(
        bench.model, bench.prompts, bench.plan, lambda slots: schedule, mask_id=MASK, pad_id=PAD
    )
    return {one.sample: one for one in engine.run()}


def test_certificates_at_the_stop_are_those_of_the_whole_trace():
    """Window for window from the recorded trace, by the 50-digit twin.

    Every rule certifies some stops and not others.
    """
    prompts, plan, trace = prompts_of(14, seed=7), Plan(24, 8, 24), TraceRecorder()
    bench = TableBench(prompts, plan, Calm(), 8)
    bench.run("rad", STABLE, trace)
    seen = {bound: set() for bound in BOUNDS}
    for delta, omega, tau in ((0.01, 1, 0.2), (0.001, 2, 0.05)):
        for row in audited(bench, "rad", STABLE, FlipAudit(delta=delta, omega=omega), tau):
            t, *traced = traced_stop(trace, row)
            slack = oracles.certificate_slack(*traced, t, delta, omega, tau)
            for bound in BOUNDS:
                certified = slack[bound] is not None and slack[bound] > 0
                assert row[f"certified_{bound}"] == certified, (row, bound)
                seen[bound].add(certified)
    assert all(values == {True, False} for values in seen.values())


def traced_stop(trace, row):
    """Index of a stop among its sample's forwards, their similarities and what was visible."""
    steps, readouts = trace.steps[row["sample_id"]], trace.readouts[row["sample_id"]]
    similarity, visible = np.zeros((len(steps), 24)), np.zeros((len(steps), 24), dtype=bool)
    for n, one in enumerate(readouts):
        similarity[n, one["position"]], visible[n, one["position"]] = one["similarity"], True
    (t,) = [
        n
        for n, one in enumerate(steps)
        if (one["block"], one["block_step"]) == (row["block"], row["block_step"])
    ]
    return t, similarity, visible


class Calm(twin.Lookup):
    """A lookup table whose similarities move little, with one position that stands out in some
    texts.
    """

    def similarity(self, text):
        return [
            0.3 * (at == len(text) - 1 - text[0] - 8) + value / 4
            for at, value in enumerate(super().similarity(text))
        ]


def test_a_rule_that_reads_no_alignment_has_no_certificates():
    prompts, plan = prompts_of(6), Plan(24, 8, 24)
    bench = TableBench(prompts, plan, twin.Settling(components=5, modules=((0, "q"), (0, "k"))))
    rows = audited(bench, "rank_softmax", RULES["rank_softmax"], AUDIT, 1.0)
    assert rows and {row[f"certified_{bound}"] for row in rows for bound in BOUNDS} == {None}


def test_a_stop_that_leaves_nothing_out_is_no_exit():
    """With omega steps before the last one, rad stops there: nothing is saved, nothing can flip."""
    prompts, plan = prompts_of(4), Plan(8, 8, 4)
    rows = audited(TableBench(prompts, plan), "rad", {"delta": 1e9, "omega": 2}, AUDIT, 1.0)
    stops = decode(prompts, plan, "rad", delta=1e9, omega=2)
    assert {one.stopped_at for one in stops.values()} == {(4,)} and rows == []
