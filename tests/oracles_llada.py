"""LLaDA from its description, line by line: the obvious twin of the natively loaded model."""

import torch
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu


def rms_norm(x, weight, eps):
    x32 = x.float()
    return weight * (x32 * torch.rsqrt((x32 * x32).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotated(x, theta):
    """Half-split rotary embedding of [batch, heads, length, width] in float32, returned in the
    precision of x.
    """
    length, width = x.shape[-2:]
    frequency = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width))
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency[None, :]
    angle = torch.cat([angle, angle], dim=-1)
    x32 = x.float()
    left, right = x32.split(width // 2, dim=-1)
    return (x32 * angle.cos() + torch.cat([-right, left], dim=-1) * angle.sin()).to(x.dtype)


def attention(q, k, v, heads, kv_heads, theta):
    batch, length, d = q.shape
    q, k, v = (
        t.view(batch, length, n, d // heads).transpose(1, 2)
        for t, n in ((q, heads), (k, kv_heads), (v, kv_heads))
    )
    q, k = rotated(q, theta), rotated(k, theta)
    k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, d)


@torch.inference_mode()
def llada_logits(weights, config, tokens, dtype=torch.float32):
    """Logits [batch, length, embedding_size] of unpadded tokens, in `dtype`."""
    w = {
        name.removeprefix("model.transformer.").removesuffix(".weight"): value.to(dtype)
        for name, value in weights.items()
    }
    eps, theta = config["rms_norm_eps"], config["rope_theta"]
    x = embedding(tokens, w["wte"])
    for n in range(config["n_layers"]):
        block = {
            name: w[f"blocks.{n}.{name}"]
            for name in ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")
        }
        h = rms_norm(x, w[f"blocks.{n}.attn_norm"], eps)
        q, k, v = (linear(h, block[name]) for name in ("q_proj", "k_proj", "v_proj"))
        x = x + linear(
            attention(q, k, v, config["n_heads"], config["n_kv_heads"], theta), block["attn_out"]
        )
        h = rms_norm(x, w[f"blocks.{n}.ff_norm"], eps)
        x = x + linear(
            silu(linear(h, block["ff_proj"])) * linear(h, block["up_proj"]), block["ff_out"]
        )
    return linear(rms_norm(x, w["ln_f"], eps), w["wte"] if config["weight_tying"] else w["ff_out"])
