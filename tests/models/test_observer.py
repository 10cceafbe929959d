import numpy as np
import pytest
import torch

from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.observer import observing
from tracedlm.records.rrm import Rrm


def map_of(layer, projection, width=32, seed=0):
    u = np.random.default_rng(seed).normal(size=width)
    return Rrm(
        (u / np.linalg.norm(u)).astype(np.float32),
        np.eye(width, 2, dtype=np.float32),
        layer,
        projection,
        "B",
        "test",
        "raw",
    )


def tokens_and_attention():
    tokens = torch.tensor([[0, 0, 2, 3, 40, 5], [2, 3, 50, 51, 1, 1]])
    return tokens, (tokens != 0).long()


def hooks(denoiser):
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for module in denoiser.model.modules()
    )


def captured(denoiser, module):
    found = {}
    handle = module.register_forward_hook(
        lambda _, inputs, output: found.update(input=inputs[0], output=output)
    )
    denoiser(*tokens_and_attention())
    handle.remove()
    return found


def cosine(activation, u):
    f, u = activation.double().numpy(), u.astype(float)
    return (f * u).sum(-1) / (np.sqrt((f * f).sum(-1)) * np.sqrt((u * u).sum()))


@pytest.mark.parametrize("projection", ["q", "k", "v"])
@pytest.mark.parametrize("layer", [0, 1])
def test_similarity_is_the_cosine_with_the_projections_output(
    checkpoint, adapter, layer, projection
):
    denoiser, rrm = load_denoiser(checkpoint, adapter, device="cpu"), map_of(layer, projection)
    with observing(denoiser, [rrm]) as observer:
        denoiser(*tokens_and_attention())
    module = getattr(denoiser.causal_lm.model.layers[layer].self_attn, f"{projection}_proj")
    found = captured(denoiser, module)
    real = tokens_and_attention()[1].bool()
    np.testing.assert_allclose(
        observer.latest[layer, projection][real].numpy(),
        cosine(found["output"][real], rrm.u),
        rtol=1e-4,
        atol=1e-6,
    )
    by_hand = found["input"] @ module.base_layer.weight.T
    assert not torch.allclose(found["output"], by_hand, atol=1e-3), (
        "the projection observed leaves out LoRA"
    )


def test_lora_delta_is_the_cosine_with_the_adapters_output(checkpoint, adapter):
    denoiser, rrm = load_denoiser(checkpoint, adapter, device="cpu"), map_of(1, "v")
    with observing(denoiser, [rrm], "lora_delta") as observer:
        denoiser(*tokens_and_attention())
    module = denoiser.causal_lm.model.layers[1].self_attn.v_proj
    found = captured(denoiser, module)
    delta = found["input"] @ module.lora_A["default"].weight.T @ module.lora_B["default"].weight.T
    real = tokens_and_attention()[1].bool()
    np.testing.assert_allclose(
        observer.latest[1, "v"][real].numpy(), cosine(delta[real], rrm.u), rtol=1e-3, atol=1e-5
    )


def test_one_forward_observes_every_map_and_changes_nothing(denoiser):
    plain = denoiser(*tokens_and_attention())
    with observing(denoiser, [map_of(1, projection) for projection in "qkv"]) as observer:
        assert torch.equal(denoiser(*tokens_and_attention()), plain)
    assert set(observer.latest) == {(1, "q"), (1, "k"), (1, "v")}
    assert all(value.shape == (2, 6) for value in observer.latest.values())


def test_hooks_are_removed_also_when_something_fails(denoiser):
    with observing(denoiser, [map_of(0, "q"), map_of(1, "k")]):
        assert hooks(denoiser) == 2
    assert hooks(denoiser) == 0
    with pytest.raises(RuntimeError), observing(denoiser, [map_of(0, "q")]):
        raise RuntimeError
    with (
        pytest.raises(ValueError, match="width"),
        observing(denoiser, [map_of(0, "q"), map_of(1, "k", width=16)]),
    ):
        pass
    assert hooks(denoiser) == 0


@pytest.mark.parametrize("merge", [True, None])
def test_lora_delta_needs_an_adapter_that_is_not_merged(checkpoint, adapter, merge):
    denoiser = load_denoiser(
        checkpoint, adapter if merge else None, device="cpu", merge=bool(merge)
    )
    with (
        pytest.raises(ValueError, match="lora_delta needs an unmerged LoRA adapter"),
        observing(denoiser, [map_of(0, "q")], "lora_delta"),
    ):
        pass


@pytest.mark.parametrize(
    ("rrm", "message"),
    [
        (map_of(0, "q", width=16), "the map of q has width 16, the model's projection has 32"),
        (map_of(2, "q"), r"the map belongs to layer 2, the model has layers 0\.\.1"),
        (map_of(-1, "q"), r"the map belongs to layer -1, the model has layers 0\.\.1"),
    ],
)
def test_a_map_of_another_model_is_refused(denoiser, rrm, message):
    with pytest.raises(ValueError, match=message), observing(denoiser, [rrm]):
        pass


def test_an_unknown_activation_is_refused(denoiser):
    with (
        pytest.raises(ValueError, match="unknown activation 'output'"),
        observing(denoiser, [map_of(0, "q")], "output"),
    ):
        pass
