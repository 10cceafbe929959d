"""Our rule inside DiffusionGemma's own generate.

It observes without steering, and stops where the naive statistic says.
"""

import runpy
import sys

import numpy as np
import pytest
import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

from oracles import cosine, step_statistics
from tracedlm.models.diffusion_gemma import stopping
from tracedlm.models.lora import attach_lora
from tracedlm.records.rrm import Rrm

CANVAS, STEPS = 8, 14
PROMPTS = torch.randint(5, 64, (2, 6), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    text = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_global_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 16,
        "num_experts": 2,
        "top_k_experts": 1,
        "moe_intermediate_size": 16,
        "sliding_window": 32,
        "layer_types": ["sliding_attention", "full_attention"],
        "max_position_embeddings": 128,
    }
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "position_embedding_size": 32,
    }
    return DiffusionGemmaForBlockDiffusion(
        DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=CANVAS)
    ).eval()


def map_of(layer, projection, width):
    u = np.random.default_rng(0).normal(size=width)
    return Rrm(
        (u / np.linalg.norm(u)).astype(np.float32),
        np.eye(width, 2, dtype=np.float32),
        layer,
        projection,
        "B",
        "test",
        "raw",
    )


def generate(model, new_tokens=CANVAS, streamer=None):
    torch.manual_seed(1)
    return model.generate(
        PROMPTS,
        max_new_tokens=new_tokens,
        max_denoising_steps=STEPS,
        eos_token_id=64,
        confidence_threshold=1e-12,
        streamer=streamer,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=20.0),
    )


def forwards(output, new_tokens=CANVAS):
    return (new_tokens / output.tokens_per_forward).round().long().tolist()


class Accepted:
    """A streamer that keeps what the sampler had accepted after each step."""

    def __init__(self, rule):
        self.rule, self.after = rule, []

    def put(self, value):
        pass

    def put_draft(self, value):
        self.after.append(self.rule.sampler.accepted_token_mask.clone())

    def end(self):
        pass


def watched(model):
    """Naive KL of each step and row of an unstopped run.

    Activations by a hook of our own, statistics by the twin.
    """
    rrm, activations = map_of(1, "q", 32), []
    handle = model.model.decoder.layers[1].self_attn.q_proj.register_forward_hook(
        lambda _, inputs, output: activations.append(output.clone())
    )
    with stopping(model, rrm, delta=1e-300, omega=1) as rule:
        streamer = Accepted(rule)
        output = generate(model, streamer=streamer)
    handle.remove()
    assert forwards(output) == [STEPS, STEPS] and len(activations) == STEPS
    visible = [torch.zeros(2, CANVAS, dtype=torch.bool), *streamer.after[:-1]]
    rows = []
    for row in range(2):
        similarity = [
            [cosine(activation[row, s].tolist(), rrm.u) for s in range(CANVAS)]
            for activation in activations
        ]
        rows.append(
            [
                step["kl"]
                for step in step_statistics(similarity, [seen[row].tolist() for seen in visible])
            ]
        )
    return rows


@pytest.mark.parametrize("omega", [1, 2])
def test_a_canvas_stops_after_omega_steps_below_delta(model, omega):
    rows = watched(model)
    known = sorted(kl for row in rows for kl in row if kl is not None)
    assert len(known) > STEPS
    delta = float((known[len(known) // 2] + known[len(known) // 2 - 1]) / 2)

    def first_stop(row):
        stable = [kl is not None and kl < delta for kl in row]
        return next(
            (t + 1 for t in range(omega - 1, STEPS) if all(stable[t - omega + 1 : t + 1])), STEPS
        )

    with stopping(model, map_of(1, "q", 32), delta=delta, omega=omega):
        found = forwards(generate(model))
    assert found == [first_stop(row) for row in rows] and min(found) < STEPS


def test_observing_without_stopping_changes_no_token_and_nothing_is_left_behind(model):
    hooks = [len(module._forward_hooks) for module in model.modules()]
    plain = generate(model, 2 * CANVAS)
    with stopping(model, map_of(0, "v", 16), delta=1e-300, omega=3):
        watched_output = generate(model, 2 * CANVAS)
    assert (
        torch.equal(plain.sequences, watched_output.sequences)
        and forwards(plain, 2 * CANVAS) == [2 * STEPS] * 2
    )
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert not {"_prepare_sampler", "_prepare_diffusion_stopping_criteria"} & set(vars(model))


def test_every_canvas_starts_anew(model):
    """With no threshold at all a canvas stops at its earliest.

    Two steps with something accepted before each, omega of them in a row.
    """
    with stopping(model, map_of(1, "q", 32), delta=1e300, omega=2) as rule:
        one, two = forwards(generate(model)), forwards(generate(model, 2 * CANVAS), 2 * CANVAS)
    assert all(
        4 <= first < STEPS and second >= first + 4 for first, second in zip(one, two, strict=True)
    )
    rule.reset()
    assert rule.accepted is None and not rule.seen


@pytest.mark.parametrize(
    ("rrm", "settings", "message"),
    [
        (
            map_of(1, "v", 16),
            {},
            (
                "layer 1 of DiffusionGemmaForBlockDiffusion has no projection v: its values are its"
                " keys"
            ),
        ),
        (map_of(2, "q", 32), {}, r"the map belongs to layer 2, the model has layers 0\.\.1"),
        (map_of(1, "q", 16), {}, "the map of q has width 16, the model's projection has 32"),
        (
            map_of(1, "q", 32),
            {"omega": 0},
            "needs delta > 0 and omega >= 1, got delta 0.1 and omega 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model, rrm, settings, message):
    with (
        pytest.raises(ValueError, match=message),
        stopping(model, rrm, **{"delta": 0.1, "omega": 1, **settings}),
    ):
        pass
    assert "_prepare_sampler" not in vars(model)


def test_a_transformers_without_it_is_named(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "transformers.models.diffusion_gemma.generation_diffusion_gemma", None
    )
    monkeypatch.delitem(sys.modules, "tracedlm.models.diffusion_gemma")
    with pytest.raises(ImportError, match=r"DiffusionGemma is not part of transformers \d"):
        runpy.run_module("tracedlm.models.diffusion_gemma")


def test_lora_is_refused_by_name(model):
    with pytest.raises(
        ValueError,
        match="LoRA on q, k and v of DiffusionGemmaForBlockDiffusion is not supported: its encoder",
    ):
        attach_lora(model, rank=2, alpha=4, dropout=0.0)
