"""LLaDA's official checkpoints as `LlamaForCausalLM`.

Its config, its tensor names, and its rotary embedding in full precision.
"""

import re
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IN_A_BLOCK = {
    "attn_norm": "input_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_norm": "post_attention_layernorm",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
OUTSIDE = {"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"}

KEY_MAPPING = {
    **{
        rf"model\.transformer\.blocks\.(\d+)\.{official}(?!\w)": rf"model.layers.\1.{name}"
        for official, name in IN_A_BLOCK.items()
    },
    **{rf"model\.transformer\.{official}(?!\w)": name for official, name in OUTSIDE.items()},
}
"""Official names to those of `LlamaForCausalLM`, as regular expressions.

One per tensor, so that no two are merged or split.
"""

COMPUTED: dict[str, tuple[Any, ...]] = {
    "architectures": (["LLaDAModelLM"], None),
    "block_type": ("llama",),
    "activation_type": ("silu",),
    "layer_norm_type": ("rms",),
    "rope": (True,),
    "rope_full_precision": (True, None),
    "layer_norm_with_affine": (True, None),
    "block_group_size": (1, None),
    "alibi": (False, None),
    "attention_layer_norm": (False, None),
    "bias_for_layer_norm": (False, None),
    "include_bias": (False, None),
    "include_qkv_bias": (False, None),
    "input_emb_norm": (False, None),
    "scale_logits": (False, None),
    "multi_query_attention": (False, None),
    "embedding_dropout": (0.0, None),
    "residual_dropout": (0.0, None),
}
"""Fields of LLaDA's config that change what is computed -> accepted values.

`LlamaForCausalLM` computes these. None stands for an absent field.
"""

ROTATED_IN_FP32 = "sdpa_rotated_in_fp32"
"""Name of our attention in transformers' registry."""


def transformers_name(name: str) -> str:
    """Name in `LlamaForCausalLM` of a tensor or module of an official LLaDA.

    Any other name is returned as it is.

    >>> transformers_name(
    ...     "base_model.model.model.transformer.blocks.5.ff_out.lora_B.default.weight"
    ... )
    'base_model.model.model.layers.5.mlp.down_proj.lora_B.default.weight'
    >>> transformers_name("model.transformer.ff_out.weight")
    'lm_head.weight'
    """
    for official, ours in KEY_MAPPING.items():
        name, count = re.subn(official, ours, name)
        if count:
            break
    return name


def llada_config(raw: dict[str, Any]) -> LlamaConfig:
    """The config of `LlamaForCausalLM` for an official `config.json`.

    Its fields are as in `COMPUTED`.

    Raises:
        ValueError: A field is missing.
    """
    needed = (
        "d_model",
        "n_heads",
        "n_layers",
        "vocab_size",
        "rope_theta",
        "rms_norm_eps",
        "max_sequence_length",
        "weight_tying",
    )
    # A default of transformers in the place of a missing field would change what is computed.
    if missing := [field for field in needed if raw.get(field) is None]:
        raise ValueError(f"{missing[0]} is missing")
    return LlamaConfig(
        vocab_size=raw.get("embedding_size") or raw["vocab_size"],
        hidden_size=raw["d_model"],
        intermediate_size=raw.get("mlp_hidden_size") or raw["mlp_ratio"] * raw["d_model"],
        num_hidden_layers=raw["n_layers"],
        num_attention_heads=raw["n_heads"],
        num_key_value_heads=raw.get("n_kv_heads") or raw["n_heads"],
        max_position_embeddings=raw["max_sequence_length"],
        rms_norm_eps=raw["rms_norm_eps"],
        rope_parameters={"rope_type": "default", "rope_theta": raw["rope_theta"]},
        attention_dropout=raw.get("attention_dropout") or 0.0,
        tie_word_embeddings=raw["weight_tying"],
        bos_token_id=raw.get("bos_token_id"),
        eos_token_id=raw.get("eos_token_id"),
        pad_token_id=raw.get("pad_token_id"),
        mask_token_id=raw.get("mask_token_id"),  # pyright: ignore[reportCallIssue]  (LLaDA's own key)
    )


def rotate_in_fp32(model: Any) -> None:
    """Let a model rotate queries and keys in float32, as LLaDA does in any precision.

    It must have been loaded with the attention `ROTATED_IN_FP32`.

    `LlamaForCausalLM` alone rounds sines and cosines to the precision of the weights; so does any
    other attention chosen later.
    """

    def in_fp32(
        _: nn.Module, inputs: tuple[torch.Tensor, ...], more: dict[str, Any]
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
        # Any other attention does not round the rotated queries and keys back.
        if model.config._attn_implementation != ROTATED_IN_FP32:
            return inputs, more
        hidden, *rest = inputs
        return (hidden[:0].float(), *rest), more  # read for its device and precision only

    model.model.rotary_emb.register_forward_pre_hook(in_fp32, with_kwargs=True)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *more: Any,
    **settings: Any,
) -> Any:
    """SDPA of rotated queries and keys, rounded back to the precision of the values."""
    return sdpa_attention_forward(
        module, query.to(value.dtype), key.to(value.dtype), value, *more, **settings
    )


AttentionInterface.register(ROTATED_IN_FP32, _attention)
AttentionMaskInterface.register(ROTATED_IN_FP32, sdpa_mask)
