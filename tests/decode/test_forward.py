"""Forwards in pieces when memory does not suffice, and classifier-free guidance."""

import warnings

import pytest
import torch

import oracles_rules as twin
from oracles_decode import (
    MASK,
    PAD,
    VOCABULARY,
    Lookup,
    Settling,
    commit,
    confidences,
    decode,
    prompts_of,
)
from tracedlm.decode.forward import Forward, guided
from tracedlm.decode.plan import Plan


class Small(Settling):
    """A device with room for so many rows in a forward."""

    def __init__(self, room, **more):
        super().__init__(**more)
        self.room, self.tried = room, []

    def __call__(self, tokens, attention, positions):
        self.tried.append(len(tokens))
        if len(tokens) > self.room:
            raise torch.OutOfMemoryError(f"{len(tokens)} rows")
        return super().__call__(tokens, attention, positions)


@pytest.mark.parametrize(
    ("room", "warned"),
    [(7, []), (4, [(7, 4)]), (3, [(7, 4), (4, 2)]), (1, [(7, 4), (4, 2), (2, 1)])],
)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("rad", {"delta": 0.002, "omega": 1}),
        (
            "rank_softmax",
            {"blocks": [{"threshold": 0.1, "stability_span": 3, "required_stable": 3}]},
        ),
    ],
)
def test_out_of_memory_costs_time_and_nothing_else(name, settings, room, warned):
    """Ten samples in seven slots.

    Each size that does not fit is warned of once, and no sample is lost or decoded otherwise.
    """
    prompts, plan, like = prompts_of(10), Plan(16, 8, 16), twin.model_for(name)
    small = Small(room, modules=like.modules, components=like.components, scale=like.scale)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = decode(prompts, plan, name, 7, small, **settings)
    assert [str(one.message) for one in caught] == [
        f"out of memory with {rows} rows in a forward: going on with {fewer} at a time"
        for rows, fewer in warned
    ]
    enough = decode(prompts, plan, name, 7, like, **settings)
    for n in range(10):
        assert torch.equal(done[n].tokens, enough[n].tokens) and torch.equal(
            done[n].confidence, enough[n].confidence
        )
        assert (done[n].nfe, done[n].stopped_at, done[n].token_forwards) == (
            enough[n].nfe,
            enough[n].stopped_at,
            enough[n].token_forwards,
        )
    assert sum(rows > room for rows in small.tried) == len(warned)
    assert small.rows >= sum(one.nfe for one in done.values())


def test_readings_of_the_pieces_are_those_of_the_rows():
    inputs = (
        torch.randint(0, MASK, (5, 12)),
        torch.ones(5, 12, dtype=torch.long),
        torch.arange(4, 12).expand(5, -1),
    )
    whole, small = Settling(components=3), Small(2, components=3)
    logits, readings = Forward(whole, whole)(*inputs)
    with pytest.warns(UserWarning, match="out of memory"):
        in_pieces = Forward(small, small)(*inputs)
    assert torch.equal(in_pieces[0], logits) and in_pieces[1].keys() == readings.keys()
    assert all(torch.equal(in_pieces[1][key], value) for key, value in readings.items())
    assert next(iter(readings.values())).shape == (5, 12, 3)


def test_one_row_that_does_not_fit_is_an_error():
    with (
        pytest.raises(torch.OutOfMemoryError, match="1 rows"),
        pytest.warns(UserWarning, match="with 2 rows"),
    ):
        decode(prompts_of(2), Plan(8, 8, 4), "full", 2, Small(0))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def broken(tokens, attention, positions):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        Forward(broken, None)(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 1))


class Counting:
    """Logits that count a row's tokens: of token v, how often v occurs among what is attended.

    Its observer sees the mask's count.
    """

    def __init__(self):
        self.seen, self.latest = [], {}

    def __call__(self, tokens, attention, positions):
        self.seen.append(tokens.tolist())
        counts = torch.stack(
            [((tokens == token) & (attention > 0)).sum(1) for token in range(VOCABULARY)], 1
        ).float()
        self.latest = {(0, "q"): counts[:, MASK:].expand(-1, tokens.shape[1])}
        return counts[:, None].expand(-1, positions.shape[1], -1)


def test_guidance_by_hand():
    """Prompt 1 1 2 after one pad, canvas 3 MASK, scale 2.

    Logits are blind + 3 (sighted - blind), where the blind prompt is all mask.
    """
    model = Counting()
    tokens, attention = torch.tensor([[PAD, 1, 1, 2, 3, MASK]]), torch.tensor([[0, 1, 1, 1, 1, 1]])
    logits = guided(model, 2, MASK, 2.0)(tokens, attention, torch.tensor([[5]]))
    assert model.seen == [[[PAD, MASK, MASK, MASK, 3, MASK]], tokens.tolist()]
    # token 1: 0 + 3 (2 - 0); token 2: 0 + 3 (1 - 0); token 3: 1 + 3 (1 - 1); mask: 4 + 3 (1 - 4)
    assert logits[0, 0].tolist() == [0, 6, 3, 1, 0, 0, 0, 0, -5]
    assert model.latest[(0, "q")][0, 0] == 1, "an observer sees the forward with the prompt"


def test_guided_decoding_is_guided_and_costs_two_forwards():
    """Against a naive twin; the confidence that orders the commits is the guided one."""
    prompts, plan, model = prompts_of(5), Plan(12, 6, 6), Settling()
    done = decode(prompts, plan, "full", 2, model, sampling={"guidance": 1.5})
    plain = decode(prompts, plan, "full", 2, model)
    for n, prompt in enumerate(prompts):
        text = [*prompt] + [MASK] * 12
        for step in range(6):
            sighted, blind = (
                model.logits([*begin, *text[len(prompt) :]])
                for begin in (prompt, [MASK] * len(prompt))
            )
            mixed = [
                [b + 2.5 * (s - b) for s, b in zip(*rows, strict=True)]
                for rows in zip(sighted, blind, strict=True)
            ]
            first = len(prompt) + 6 * (step // 3)
            commit(text, confidences(mixed), first, first + 6, 2)
        assert done[n].tokens.tolist() == text[len(prompt) :]
        assert done[n].nfe == plain[n].nfe and done[n].token_forwards == 2 * plain[n].token_forwards
    assert any(not torch.equal(done[n].tokens, plain[n].tokens) for n in range(5))


def test_without_guidance_there_is_one_forward_a_step():
    model = Lookup()
    decode([[1, 2]], Plan(8, 8, 4), "full", 1, model, sampling={"guidance": 0.0})
    assert model.forwards == 4
    guided_model = Settling()
    decode([[1, 2]], Plan(8, 8, 4), "full", 1, guided_model, sampling={"guidance": 0.5})
    assert guided_model.forwards == 8


def test_a_map_reads_the_forward_with_the_prompt_whatever_the_guidance():
    """With delta too large to fail, what differs is only the readings.

    They must be those of the unguided run's text.
    """
    prompts, plan, seen = prompts_of(3), Plan(8, 8, 8), []
    model = Settling()
    decode(
        prompts,
        plan,
        "rad",
        1,
        model,
        record=seen.append,
        sampling={"guidance": 1.0},
        delta=1e-12,
        omega=1,
    )
    for step in seen:
        prompt = prompts[int(step.sample_r[0])]
        text = [
            *prompt,
            *torch.full((8,), MASK).scatter(0, step.position_rk[0], step.tokens_rk[0]).tolist(),
        ]
        expected = torch.tensor(model.reading(text, (0, "q"))[len(prompt) :])
        assert torch.equal(step.readings[(0, "q")][0], expected)


@pytest.mark.parametrize("sampling", [{"guidance": -1.0}, {"temperature": -0.1}])
def test_negative_temperature_and_guidance_are_refused(sampling):
    with pytest.raises(ValueError, match="must not be negative"):
        decode([[1]], Plan(8, 8, 4), sampling=sampling)
