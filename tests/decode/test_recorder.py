import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import oracles_decode as twin
from oracles_decode import decode, prompts_of
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.refine import refine

PLAN = Plan(16, 8, 8)


@pytest.fixture(scope="module", params=["full", "rad"])
def recorded(request):
    settings = {"delta": 0.02, "omega": 1} if request.param == "rad" else {}
    recorder = TraceRecorder()
    done = decode(prompts_of(7), PLAN, request.param, batch_size=3, record=recorder, **settings)
    return done, {sample: recorder.take(sample) for sample in done}


def test_committed_positions_partition_the_canvas_with_the_final_tokens(recorded):
    done, rows = recorded
    for sample, (steps, _) in rows.items():
        written = [
            (int(at), int(token))
            for step in steps
            for at, token in zip(step["committed_position"], step["committed_token"], strict=True)
        ]
        assert sorted(at for at, _ in written) == list(range(16))
        assert [token for _, token in sorted(written)] == done[sample].tokens.tolist()


def test_visible_sets_are_what_was_committed_before(recorded):
    for steps, readouts in recorded[1].values():
        seen = set()
        for step, readout in zip(steps, readouts, strict=True):
            assert step["step"] == readout["step"] and set(readout["position"].tolist()) == seen
            assert step["masked"] == 16 - len(seen)
            seen |= set(np.asarray(step["committed_position"]).tolist())


def test_masked_counts_decrease_and_steps_are_numbered(recorded):
    done, rows = recorded
    for sample, (steps, _) in rows.items():
        masked = [step["masked"] for step in steps]
        assert masked == sorted(masked, reverse=True) and masked[0] == 16
        assert [step["step"] for step in steps] == list(range(1, done[sample].nfe + 1))
        assert [step["block_step"] for step in steps] == [
            n + 1 for used in done[sample].stopped_at for n in range(used)
        ]
        assert {step["phase"] for step in steps} == {"denoise"}


def test_similarities_are_the_observers_at_the_visible_positions(recorded):
    _, rows = recorded
    prompts, model = prompts_of(7), twin.Lookup()
    for sample, (steps, readouts) in rows.items():
        text = [*prompts[sample], *[twin.MASK] * 16]
        for step, readout in zip(steps, readouts, strict=True):
            assert len(readout["similarity"]) == len(readout["position"])
            expected = torch.tensor(model.similarity(text))[len(prompts[sample]) :][
                torch.tensor(readout["position"])
            ]
            np.testing.assert_array_equal(readout["similarity"], expected.numpy())
            for at, token in zip(step["committed_position"], step["committed_token"], strict=True):
                text[len(prompts[sample]) + at] = int(token)


def test_confidence_entropy_and_drift_are_those_of_the_masked_block(recorded):
    """A model that never predicts the mask has a probability of 0 somewhere.

    0 log 0 is 0, not NaN.
    """
    _, rows = recorded
    prompts, model = prompts_of(7), twin.Lookup()
    steps, _ = rows[0]
    table = [
        [math.exp(value) for value in row] for row in model.logits([*prompts[0], *[twin.MASK] * 16])
    ][len(prompts[0]) :][:8]
    p = [[value / sum(row) for value in row] for row in table]
    assert steps[0]["mean_confidence"] == pytest.approx(np.mean([max(row) for row in p]), rel=1e-5)
    assert steps[0]["mean_entropy"] == pytest.approx(
        np.mean([-sum(x * math.log(x) for x in row if x) for row in p]), rel=1e-5
    )
    for step in steps:
        assert (step["predictive_kl"] is None) == (step["block_step"] == 1)
        assert step["predictive_kl"] is None or step["predictive_kl"] >= 0


@pytest.mark.parametrize(
    ("rule", "modules"), [("token_freeze", ((0, "q"),)), ("rank_softmax", ((0, "q"), (1, "v")))]
)
def test_several_numbers_read_of_a_token_are_as_many_series(rule, modules):
    model, recorder, prompts = (
        twin.Settling(modules=modules, components=3),
        TraceRecorder(),
        prompts_of(5),
    )
    plan = Plan(16, 16, 16)
    done = decode(prompts, plan, rule, model=model, record=recorder)
    assert [done[n].tokens.tolist() for n in range(5)] == [
        one.tokens.tolist() for _, one in sorted(decode(prompts, plan, rule, model=model).items())
    ]
    for sample in done:
        steps, readouts = recorder.take(sample)
        text = [*prompts[sample], *[twin.MASK] * 16]
        for number, step in enumerate(steps, start=1):
            rows = {
                (row["layer"], row["projection"]): row for row in readouts if row["step"] == number
            }
            assert set(rows) == {
                (layer, f"{name}[{n}]") for layer, name in modules for n in range(3)
            }
            for layer, name in modules:
                read = np.array(model.reading(text, (layer, name)))[len(prompts[sample]) :]
                for n in range(3):
                    row = rows[layer, f"{name}[{n}]"]
                    np.testing.assert_array_equal(
                        row["similarity"], read[row["position"], n].astype(np.float32)
                    )
            for at, token in zip(step["committed_position"], step["committed_token"], strict=True):
                text[len(prompts[sample]) + at] = int(token)


def run_refine(policy, steps=5, remask_tokens=3):
    recorder, model, prompts = TraceRecorder(), twin.Lookup(), prompts_of(6)
    done = decode(prompts, PLAN, model=model, batch_size=6)
    finished = [done[n] for n in sorted(done)]
    before = [(one.tokens.clone(), one.confidence.clone()) for one in finished]
    more = {
        "policy": policy,
        "steps": steps,
        "remask_tokens": remask_tokens,
        "mask_id": twin.MASK,
        "pad_id": twin.PAD,
        "seed": 0,
    }
    refine(model, prompts, finished, recorder, observer=model, **more)
    for one, (text, confidence) in zip(finished, before, strict=True):
        assert torch.equal(one.tokens, text) and torch.equal(one.confidence, confidence)
    return finished, {one.sample: recorder.take(one.sample) for one in finished}


@pytest.mark.parametrize("policy", ["remask", "masked_variants"])
def test_refining_never_changes_the_decoded_text_and_continues_the_numbering(policy):
    finished, rows = run_refine(policy)
    for one in finished:
        steps, readouts = rows[one.sample]
        assert (
            [step["step"] for step in steps]
            == [readout["step"] for readout in readouts]
            == [one.nfe + n for n in range(1, 6)]
        )
        assert {(step["phase"], step["block"]) for step in steps} == {("refine", -1)}
        assert all(
            len(readout["position"]) == len(readout["similarity"]) == 16 - step["masked"]
            for step, readout in zip(steps, readouts, strict=True)
        )


def test_masked_variants_are_nested_and_write_nothing():
    _, rows = run_refine("masked_variants")
    for steps, readouts in rows.values():
        hidden = [set(range(16)) - set(readout["position"].tolist()) for readout in readouts]
        assert (
            all(later < earlier for earlier, later in pairwise(hidden))
            and len(hidden[0]) == 8
            and hidden[-1]
        )
        assert all(len(step["committed_position"]) == 0 for step in steps)
    assert len({frozenset(readouts[0]["position"].tolist()) for _, readouts in rows.values()}) > 1


def test_remask_hides_the_least_confident_and_predicts_them_anew():
    finished, rows = run_refine("remask")
    for one in finished:
        steps, readouts = rows[one.sample]
        assert steps[0]["committed_position"].tolist() == sorted(
            one.confidence.argsort(stable=True)[:3].tolist()
        )
        for step, readout in zip(steps, readouts, strict=True):
            assert len(step["committed_token"]) == 3
            assert set(step["committed_position"].tolist()) | set(
                readout["position"].tolist()
            ) == set(range(16))


@pytest.mark.parametrize("policy", ["remask", "masked_variants"])
def test_refining_does_not_depend_on_the_batch(policy):
    recorder, model, prompts = TraceRecorder(), twin.Lookup(), prompts_of(6)
    done = decode(prompts, PLAN, model=model, batch_size=6)
    more = {
        "policy": policy,
        "steps": 5,
        "remask_tokens": 3,
        "mask_id": twin.MASK,
        "pad_id": twin.PAD,
        "seed": 0,
    }
    for one in done.values():
        refine(model, prompts, [one], recorder, observer=model, **more)
    _, together = run_refine(policy)
    for sample in done:
        alone = recorder.take(sample)
        assert [row["position"].tolist() for row in alone[1]] == [
            row["position"].tolist() for row in together[sample][1]
        ]
        assert [np.asarray(row["committed_token"]).tolist() for row in alone[0]] == [
            np.asarray(row["committed_token"]).tolist() for row in together[sample][0]
        ]
