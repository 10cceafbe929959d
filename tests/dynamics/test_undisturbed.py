"""Observing changes nothing.

Weights, gradients, modes, flags, attention and random states have the same bits afterwards.
"""

import random

import numpy as np
import pytest
import torch

from tracedlm.dynamics import (
    Budget,
    curvature_measures,
    dimension_measures,
    hidden_states,
    loss_gradients,
    output_measures,
    probe_measures,
)
from tracedlm.dynamics.undisturbed import bare, undisturbed

from .conftest import sentences


def snapshot(model):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    grads = {
        name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()
    }
    modes = {name: module.training for name, module in model.named_modules()}
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    return state, grads, (modes, flags, bare(model).config._attn_implementation)


def random_states():
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), (name, keys.tolist(), *rest), random.getstate()


def observe(model, batches):
    text = sentences(12)
    states = hidden_states(model, batches)
    probe_measures(states, {"kind": text.labels}, text.word, seeds=(0,))
    dimension_measures(states, text.attention_mask, seed=0, resamples=3)
    output_measures(model, batches, {"kind": text.labels}, floor=1.0)
    for scope in ("all", "lora") if hasattr(model, "peft_config") else ("all",):
        loss_gradients(model, batches, scope)
        curvature_measures(
            model, {"train": batches[:1]}, scope, Budget(probes=2, continued=1, steps=2)
        )


@pytest.mark.parametrize("name", ["gpt2", "llama", "llada", "lora"])
def test_every_bit_is_as_before(models, name):
    model, batches = models[name]
    model.train()
    next(model.children()).eval()  # a mixture of modes
    first = batches[0]
    model(
        input_ids=first.input_ids, attention_mask=first.attention_mask, labels=first.tokens
    ).loss.backward()  # gradients in waiting
    (state, grads, rest), randomness = snapshot(model), random_states()
    assert any(gradient is not None for gradient in grads.values())
    observe(model, batches)
    after, grads_after, rest_after = snapshot(model)
    assert rest_after == rest
    assert random_states() == randomness
    assert all(torch.equal(value, after[key]) for key, value in state.items())
    for key, gradient in grads.items():
        assert (gradient is None) == (grads_after[key] is None)
        assert gradient is None or torch.equal(gradient, grads_after[key])


def test_what_is_seen_does_not_depend_on_the_mode_or_the_random_state(models):
    model, batches = models["gpt2"]
    model.train()
    seen = hidden_states(model, batches)
    torch.manual_seed(99)
    np.testing.assert_array_equal(hidden_states(model.eval(), batches), seen)


def test_a_failure_leaves_the_model_as_it_was(models):
    model, _ = models["gpt2"]
    model.train()
    with pytest.raises(RuntimeError, match="broken"), undisturbed(model):
        raise RuntimeError("broken")
    assert all(module.training for module in model.modules())
