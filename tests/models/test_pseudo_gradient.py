"""Pseudo-gradients of many pairs at once are those of each pair alone, by autograd on the weight
itself.
"""

import numpy as np
import pytest
import torch

from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.pseudo_gradient import pseudo_gradients


@pytest.fixture(scope="module")
def adapted(checkpoint, adapter):
    return load_denoiser(checkpoint, adapter, device="cpu")


def canvases(denoiser):
    """Three pairs of canvases of 8 tokens behind prompts of 5, 3 and 4.

    The second canvas of a pair has more tokens than the first.
    """
    generator = torch.Generator().manual_seed(0)
    after = torch.randint(10, 200, (3, 13), generator=generator)
    after[:, 5 + 6 :] = denoiser.mask_id
    before = after.clone()
    before[:, 5 + 3 :] = denoiser.mask_id
    before[1, 5] = denoiser.mask_id
    attention = torch.ones_like(after)
    attention[1, :2], attention[2, :1] = 0, 0
    positions = torch.arange(5, 13).expand(3, -1)
    return before, after, attention, positions, after[:, 5:] != denoiser.mask_id


def one_by_one(denoiser, layer, projection, before, after, attention, positions, visible):
    """EDIT Eq. 32 as it stands: one pair, one loss, the gradient of the parameter."""
    weight = (
        getattr(denoiser.causal_lm.model.layers[layer].self_attn, f"{projection}_proj")
        .lora_B["default"]
        .weight
    )
    weight.requires_grad_(True)
    found = []
    for row in range(len(before)):
        logs = []
        for tokens in (before, after):
            real = attention[row].bool()
            logits = denoiser.causal_lm(input_ids=tokens[row : row + 1, real]).logits[0].double()
            logs.append(logits.log_softmax(-1)[positions[row] - int((~real).sum())])
        loss = (logs[0].exp() * (logs[0] - logs[1])).sum(-1)[visible[row]].sum()
        (gradient,) = torch.autograd.grad(loss, weight)
        found.append((float(loss), float(gradient.double().square().mean().sqrt())))
    weight.requires_grad_(False)
    return np.array(found).T


@pytest.mark.parametrize("layer", [0, 1])
def test_pairs_together_are_pairs_alone(adapted, layer):
    arrays = canvases(adapted)
    divergence, rms = pseudo_gradients(adapted, layer, "qkv", *arrays)
    assert rms.keys() == set("qkv") and float(divergence.min()) > 0
    for projection, found in rms.items():
        losses, expected = one_by_one(adapted, layer, projection, *arrays)
        np.testing.assert_allclose(divergence.numpy(), losses, rtol=1e-4)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)
        assert expected.min() > 0


def test_a_pair_that_changes_nothing_pulls_at_nothing(adapted):
    before, _, *others = canvases(adapted)
    divergence, rms = pseudo_gradients(adapted, 1, "q", before, before, *others)
    assert divergence.abs().max() < 1e-12 and rms["q"].max() < 1e-9


def test_nothing_is_left_behind(adapted):
    arrays = canvases(adapted)
    logits = adapted(arrays[0], arrays[2])
    pseudo_gradients(adapted, 1, "q", *arrays)
    assert torch.equal(adapted(arrays[0], arrays[2]), logits)
    assert not any(
        weight.requires_grad or weight.grad is not None for weight in adapted.model.parameters()
    )
    assert not any(module._forward_hooks for module in adapted.model.modules())


def test_without_lora_there_is_nothing_to_differentiate_by(checkpoint, adapter):
    merged = load_denoiser(checkpoint, adapter, device="cpu", merge=True)
    with pytest.raises(ValueError, match=r"layer 1, q: no LoRA to differentiate by; .*merge=False"):
        pseudo_gradients(merged, 1, "q", *canvases(merged))
