"""An official LLaDA folder computes what the reference computes, bit for bit, and takes adapters
under official names.
"""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing

from oracles_llada import llada_logits
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.llada import COMPUTED, transformers_name
from tracedlm.models.lora import attach_lora
from tracedlm.models.prompt_tokens import user_turn
from tracedlm.records.lora_names import short_name
from tracedlm.rehearsal.checkpoint import official_checkpoint, official_config, official_weights
from tracedlm.stages.sft.examples import encode_response

TOKENS = torch.randint(2, 320, (3, 40), generator=torch.Generator().manual_seed(3))
REAL = torch.ones_like(TOKENS)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return official_checkpoint(tmp_path_factory.mktemp("official"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_logit_is_the_references_bit_for_bit(official, dtype):
    """In float32 up to the order of a sum: our products are oneDNN's, the reference's MKL's."""
    denoiser = load_denoiser(official, device="cpu", dtype=dtype)
    expected = llada_logits(official_weights(official_config()), official_config(), TOKENS, dtype)
    assert type(denoiser.model).__name__ == "LlamaForCausalLM" and denoiser.model.dtype == dtype
    if dtype == torch.float32:
        torch.testing.assert_close(denoiser(TOKENS, REAL), expected, rtol=1e-5, atol=1e-5)
    else:
        assert torch.equal(denoiser(TOKENS, REAL), expected.float())


def test_rotation_in_full_precision_is_what_makes_bfloat16_equal(official):
    """Without it `LlamaForCausalLM` rounds sines and cosines.

    0.03 RMS here, as much as bfloat16 itself costs.
    """
    denoiser = load_denoiser(official, device="cpu", dtype="bfloat16")
    expected = llada_logits(
        official_weights(official_config()), official_config(), TOKENS, torch.bfloat16
    ).float()
    for attention in ("sdpa", "eager"):
        denoiser.model.set_attn_implementation(attention)
        off = (denoiser(TOKENS, REAL) - expected).square().mean().sqrt()
        assert 5e-3 < off < 0.1


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_tying": True},
        {"n_kv_heads": 2},
        {"mlp_hidden_size": None, "mlp_ratio": 1},
        {"embedding_size": None, "vocab_size": 336},
        {"rope_theta": 10000.0, "rms_norm_eps": 1e-3},
    ],
)
def test_each_field_of_the_config_is_read(tmp_path, changes):
    config = official_config(**changes)
    expected = llada_logits(official_weights(config), config, TOKENS)
    found = load_denoiser(official_checkpoint(tmp_path / "model", **changes), device="cpu")(
        TOKENS, REAL
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_tokens_and_positions_are_those_of_the_config(official):
    denoiser = load_denoiser(official, device="cpu")
    config = denoiser.model.config
    assert (
        denoiser.mask_id == 1 and config.max_position_embeddings == 64 and config.vocab_size == 336
    )
    assert config.eos_token_id == config.pad_token_id == 0


@pytest.mark.parametrize("field", [*COMPUTED, "d_model", "weight_tying"])
def test_a_field_that_changes_the_computation_is_named(official, tmp_path, field):
    raw = official_config(**{field: "something else" if field in COMPUTED else None})
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(
        ValueError,
        match=(
            rf"no usable checkpoint: config.json: {field} is ('something else', supported"
            r" is|missing)"
        ),
    ):
        load_denoiser(tmp_path, device="cpu")


def test_a_saved_copy_is_a_checkpoint_of_transformers_own(official, tmp_path):
    before = load_denoiser(official, device="cpu")
    before.model.save_pretrained(tmp_path)
    before.tokenizer.save_pretrained(tmp_path)
    assert all(
        name.startswith(("model.layers.", "model.embed", "model.norm", "lm_head"))
        for name in load_file(tmp_path / "model.safetensors")
    )
    assert torch.equal(load_denoiser(tmp_path, device="cpu")(TOKENS, REAL), before(TOKENS, REAL))


def test_a_worked_example_has_one_assistant_header(official):
    """The template opens the assistant's turn even where that is not asked for.

    A turn of two messages would have one too many.
    """
    tokenizer = load_denoiser(official, device="cpu").tokenizer
    prompt, response = user_turn(tokenizer, "one and two"), encode_response(tokenizer, "three", 16)
    text = tokenizer.decode(prompt + response)
    assert text.count("<|assistant|>") == 1
    assert text.endswith(
        "<|assistant|>three"
        + "<|eot_id|>"
        + "<|endoftext|>" * (16 - response.index(tokenizer.pad_token_id))
    )
    both = [{"role": "user", "content": "one and two"}, {"role": "assistant", "content": "three"}]
    assert tokenizer.apply_chat_template(
        both, add_generation_prompt=False, tokenize=False
    ).endswith("<|assistant|>")


def test_a_response_carries_no_token_that_the_tokenizer_puts_before_every_text(official):
    """As Llama 3's does, and encoders' do: the response is the middle of a sequence."""
    tokenizer = load_denoiser(official, device="cpu").tokenizer
    plain = encode_response(tokenizer, "three", 16)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|startoftext|> $A", special_tokens=[("<|startoftext|>", 2)]
    )
    assert tokenizer("three")["input_ids"][0] == 2
    assert encode_response(tokenizer, "three", 16) == plain and 2 not in plain
    assert user_turn(tokenizer, "one").count(2) == 1


RANK, ALPHA = 4, 8


def official_adapter(folder, modules, middle, seed=5):
    """A LoRA adapter as the official modules name it, with `.default` or without.

    And its weights by module.
    """
    config, generator = official_config(), torch.Generator().manual_seed(seed)
    shapes = {
        name.removesuffix(".weight"): weight.shape
        for name, weight in official_weights(config).items()
    }
    pairs = {
        name: (
            torch.randn(RANK, shape[1], generator=generator) * 0.1,
            torch.randn(shape[0], RANK, generator=generator) * 0.1,
        )
        for name, shape in shapes.items()
        if name.rsplit(".", 1)[-1] in modules and "blocks" in name
    }
    tensors = {
        f"base_model.model.{name}.lora_{m}{middle}.weight": pair[m == "B"]
        for name, pair in pairs.items()
        for m in "AB"
    }
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    described = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": sorted(modules),
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter_config.json").write_text(
        json.dumps({**described, "base_model_name_or_path": "GSAI-ML/LLaDA-8B-Instruct"})
    )
    return folder, pairs


EVERY = {"q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out"}


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("middle", ["", ".default"])
@pytest.mark.parametrize("modules", [{"q_proj", "k_proj", "v_proj"}, EVERY])
def test_an_adapter_under_official_names_is_w_plus_scaled_b_times_a(
    official, tmp_path, modules, middle, merge
):
    folder, pairs = official_adapter(tmp_path / "adapter", modules, middle)
    weights = official_weights(official_config())
    plain = llada_logits(weights, official_config(), TOKENS)
    for name, (a, b) in pairs.items():
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + ALPHA / RANK * b @ a
    expected = llada_logits(weights, official_config(), TOKENS)
    found = load_denoiser(official, folder, device="cpu", merge=merge)(TOKENS, REAL)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(found, plain, atol=0.05)


def test_an_official_adapter_with_settings_per_module_is_refused_by_name(official, tmp_path):
    folder, _ = official_adapter(tmp_path / "adapter", {"q_proj"}, "")
    described = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps({**described, "alpha_pattern": {"blocks.0.q_proj": 16}})
    )
    with pytest.raises(
        ValueError,
        match=(
            r"does not fit this model \(alpha_pattern under official LLaDA names is not supported"
        ),
    ):
        load_denoiser(official, folder, device="cpu")


def test_an_official_adapter_of_a_deeper_model_is_refused(official, tmp_path):
    folder, _ = official_adapter(tmp_path / "adapter", {"q_proj"}, "")
    tensors = load_file(folder / "adapter_model.safetensors")
    deeper = {name.replace("blocks.1", "blocks.7"): value for name, value in tensors.items()}
    save_file(deeper, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"adapter: does not fit this model .*LLaDA-8B-Instruct"):
        load_denoiser(official, folder, device="cpu")


def test_names_are_renamed_one_to_one_and_keep_their_short_name(official):
    model = load_denoiser(official, device="cpu").model
    ours = {transformers_name(name) for name in official_weights(official_config())}
    assert ours == set(model.state_dict())
    for layer in (0, 31):
        for letter in "qkv":
            for end in (".default.weight", ".default", ".weight"):
                name = (
                    f"base_model.model.model.transformer.blocks.{layer}.{letter}_proj.lora_B{end}"
                )
                assert (
                    short_name(name) == short_name(transformers_name(name)) == f"{layer}.{letter}.B"
                )
    assert (
        transformers_name("model.layers.0.mlp.up_proj.weight")
        == "model.layers.0.mlp.up_proj.weight"
    )


def test_lora_of_our_own_attaches_to_q_k_and_v(official):
    adapted = attach_lora(load_denoiser(official, device="cpu").model, rank=2, alpha=4, dropout=0.0)
    trained = {
        short_name(name)
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad
    }
    assert trained == {
        f"{layer}.{letter}.{matrix}" for layer in range(2) for letter in "qkv" for matrix in "AB"
    }
