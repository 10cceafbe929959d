"""A random LLaDA of a few thousand weights in the layout of the official checkpoints.

Names, config fields, shards, chat template and the position of the mask are LLaDA-8B's, so that
the code which loads the real model loads this one.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from tracedlm.models.tokenizer import train_tokenizer

ALWAYS_OPENS_A_TURN = (
    "{% for message in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
    "<|{{ message['role'] }}|>{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{{ '<|assistant|>' }}"
)
"""Like the official template: it ends in a header for the assistant, asked or not."""


TWO_LINES = ("one and two are three", "<reasoning>a solution</reasoning>")
"""What the tokenizer is trained on where nothing else is given."""


def official_config(**changes: Any) -> dict[str, Any]:
    """The fields of LLaDA-8B's config.json with the sizes of a toy, and with `changes`."""
    return {
        "activation_type": "silu",
        "alibi": False,
        "alibi_bias_max": 8.0,
        "architectures": ["LLaDAModelLM"],
        "attention_dropout": 0.0,
        "attention_layer_norm": False,
        "attention_layer_norm_with_affine": True,
        "auto_map": {
            "AutoConfig": "configuration_llada.LLaDAConfig",
            "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
        },
        "bias_for_layer_norm": False,
        "block_group_size": 1,
        "block_type": "llama",
        "d_model": 48,
        "embedding_dropout": 0.0,
        "embedding_size": 336,
        "eos_token_id": 0,
        "flash_attention": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "input_emb_norm": False,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "mask_token_id": 1,
        "max_sequence_length": 64,
        "mlp_hidden_size": 80,
        "mlp_ratio": 4,
        "model_type": "llada",
        "multi_query_attention": None,
        "n_heads": 4,
        "n_kv_heads": 4,
        "n_layers": 2,
        "pad_token_id": 0,
        "residual_dropout": 0.0,
        "rms_norm_eps": 1e-05,
        "rope": True,
        "rope_full_precision": True,
        "rope_theta": 500000.0,
        "scale_logits": False,
        "use_cache": False,
        "vocab_size": 320,
        "weight_tying": False,
        **changes,
    }


def official_weights(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors under the official names. Norms are away from 1, predictions from uniform."""
    generator = torch.Generator().manual_seed(seed)
    width = config["d_model"]
    feed_forward = config["mlp_hidden_size"] or config["mlp_ratio"] * width
    key_value = width // config["n_heads"] * config["n_kv_heads"]
    vocabulary = config["embedding_size"] or config["vocab_size"]

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * 1.5 / math.sqrt(columns)

    def norm() -> torch.Tensor:
        return 1 + 0.3 * torch.randn(width, generator=generator)

    weights = {"wte": torch.randn(vocabulary, width, generator=generator), "ln_f": norm()}
    if not config["weight_tying"]:
        weights["ff_out"] = matrix(vocabulary, width)
    for layer in range(config["n_layers"]):
        block = {
            "attn_norm": norm(),
            "ff_norm": norm(),
            "q_proj": matrix(width, width),
            "k_proj": matrix(key_value, width),
            "v_proj": matrix(key_value, width),
            "attn_out": matrix(width, width),
            "ff_proj": matrix(feed_forward, width),
            "up_proj": matrix(feed_forward, width),
            "ff_out": matrix(width, feed_forward),
        }
        for name, value in block.items():
            weights[f"blocks.{layer}.{name}"] = value
    return {f"model.transformer.{name}.weight": value for name, value in weights.items()}


def official_checkpoint(
    folder: Path,
    dtype: torch.dtype = torch.float32,
    shards: int = 2,
    corpus: Sequence[str] = TWO_LINES,
    **changes: Any,
) -> Path:
    """Write a LLaDA folder as published: config, tokenizer, sharded weights with their index.

    Args:
        folder: Where; made if it is not there.
        dtype: Of the weights.
        shards: Files that the weights are dealt out over.
        corpus: Texts whose words become single tokens, as far as `vocab_size` allows.
        changes: Fields of the config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = official_config(**changes)
    (folder / "config.json").write_text(json.dumps(config))
    weights = {name: value.to(dtype) for name, value in official_weights(config).items()}
    write_sharded(folder, weights, shards)
    tokenizer = small_tokenizer(corpus, config["vocab_size"])
    tokenizer.chat_template = ALWAYS_OPENS_A_TURN
    tokenizer.save_pretrained(folder)
    return folder


def small_tokenizer(
    corpus: Sequence[str] = TWO_LINES, vocab_size: int = 320
) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocab_size` tokens: 0 pads, 1 masks, 2 begins."""
    return train_tokenizer(corpus, vocab_size)


def write_sharded(folder: Path, weights: dict[str, torch.Tensor], shards: int) -> None:
    """Deal tensors out over files, and write the index that says where each is.

    The projections of one block so lie in different files.
    """
    weight_map = {}
    for number, name in enumerate(sorted(weights)):
        weight_map[name] = f"model-{number % shards + 1:05}-of-{shards:05}.safetensors"
    for file in sorted(set(weight_map.values())):
        part = {name: weights[name].contiguous() for name in weights if weight_map[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    total_size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
