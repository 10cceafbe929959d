"""LLaDA from its description, line by line: the obvious twin of the natively loaded model, and checkpoints as it publishes them."""

import json
import math

import torch
from safetensors.torch import save_file
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from tracedlm.models.tokenizer import train_tokenizer

ALWAYS_OPENS_A_TURN = (
    "{% for message in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}<|{{ message['role'] }}|>"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}{{ '<|assistant|>' }}"
)
"""Like the official one: a header for the assistant at the end, whatever `add_generation_prompt` says."""


def official_config(**changes):
    """The fields of LLaDA-8B's config.json, with the sizes of a toy."""
    return {
        "activation_type": "silu",
        "alibi": False,
        "alibi_bias_max": 8.0,
        "architectures": ["LLaDAModelLM"],
        "attention_dropout": 0.0,
        "attention_layer_norm": False,
        "attention_layer_norm_with_affine": True,
        "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig", "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM"},
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


def official_weights(config, seed=0):
    """Random tensors under the official names; norms away from 1, predictions away from uniform."""
    generator = torch.Generator().manual_seed(seed)
    d, ff = config["d_model"], config["mlp_hidden_size"] or config["mlp_ratio"] * config["d_model"]
    kv = d // config["n_heads"] * config["n_kv_heads"]

    def matrix(rows, columns):
        return torch.randn(rows, columns, generator=generator) * 1.5 / math.sqrt(columns)

    def norm():
        return 1 + 0.3 * torch.randn(d, generator=generator)

    vocabulary = config["embedding_size"] or config["vocab_size"]
    weights = {"wte": torch.randn(vocabulary, d, generator=generator), "ln_f": norm()}
    if not config["weight_tying"]:
        weights["ff_out"] = matrix(vocabulary, d)
    for n in range(config["n_layers"]):
        block = {
            "attn_norm": norm(), "ff_norm": norm(), "q_proj": matrix(d, d), "k_proj": matrix(kv, d), "v_proj": matrix(kv, d),
            "attn_out": matrix(d, d), "ff_proj": matrix(ff, d), "up_proj": matrix(ff, d), "ff_out": matrix(d, ff),
        }  # fmt: skip
        weights.update({f"blocks.{n}.{name}": value for name, value in block.items()})
    return {f"model.transformer.{name}.weight": value for name, value in weights.items()}


def official_checkpoint(folder, dtype=torch.float32, shards=2, **changes):
    """A LLaDA folder as published: config, a tokenizer whose template always opens a turn, sharded weights with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    config = official_config(**changes)
    (folder / "config.json").write_text(json.dumps(config))
    write_sharded(folder, {name: value.to(dtype) for name, value in official_weights(config).items()}, shards)
    tokenizer = small_tokenizer()
    tokenizer.chat_template = ALWAYS_OPENS_A_TURN
    tokenizer.save_pretrained(folder)
    return folder


def small_tokenizer():
    """At most 320 tokens: 0 pads, 1 masks, 2 begins."""
    return train_tokenizer(["one and two are three", "<reasoning>a solution</reasoning>"], 320)


def write_sharded(folder, weights, shards):
    """Tensors dealt out over files, so that a block's projections lie in different ones, and the index that says where."""
    names = sorted(weights)
    files = {name: f"model-{n % shards + 1:05}-of-{shards:05}.safetensors" for n, name in enumerate(names)}
    for file in sorted(set(files.values())):
        save_file({name: weights[name].contiguous() for name in names if files[name] == file}, folder / file, {"format": "pt"})
    total = sum(weight.numel() * weight.element_size() for weight in weights.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": files}))


def rms_norm(x, weight, eps):
    x32 = x.float()
    return weight * (x32 * torch.rsqrt((x32 * x32).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotated(x, theta):
    """Half-split rotary embedding of [batch, heads, length, width] in float32, returned in the precision of x."""
    length, width = x.shape[-2:]
    frequency = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width))
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency[None, :]
    angle = torch.cat([angle, angle], dim=-1)
    x32 = x.float()
    left, right = x32.split(width // 2, dim=-1)
    return (x32 * angle.cos() + torch.cat([-right, left], dim=-1) * angle.sin()).to(x.dtype)


def attention(q, k, v, heads, kv_heads, theta):
    batch, length, d = q.shape
    q, k, v = (t.view(batch, length, n, d // heads).transpose(1, 2) for t, n in ((q, heads), (k, kv_heads), (v, kv_heads)))
    q, k = rotated(q, theta), rotated(k, theta)
    k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, d)


@torch.inference_mode()
def llada_logits(weights, config, tokens, dtype=torch.float32):
    """Logits [batch, length, embedding_size] of unpadded tokens, in `dtype`."""
    w = {name.removeprefix("model.transformer.").removesuffix(".weight"): value.to(dtype) for name, value in weights.items()}
    eps, theta = config["rms_norm_eps"], config["rope_theta"]
    x = embedding(tokens, w["wte"])
    for n in range(config["n_layers"]):
        block = {name: w[f"blocks.{n}.{name}"] for name in ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")}
        h = rms_norm(x, w[f"blocks.{n}.attn_norm"], eps)
        q, k, v = (linear(h, block[name]) for name in ("q_proj", "k_proj", "v_proj"))
        x = x + linear(attention(q, k, v, config["n_heads"], config["n_kv_heads"], theta), block["attn_out"])
        h = rms_norm(x, w[f"blocks.{n}.ff_norm"], eps)
        x = x + linear(silu(linear(h, block["ff_proj"])) * linear(h, block["up_proj"]), block["ff_out"])
    return linear(rms_norm(x, w["ln_f"], eps), w["wte"] if config["weight_tying"] else w["ff_out"])
