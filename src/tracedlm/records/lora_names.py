"""Short names of LoRA matrices: `<layer>.<projection>.<matrix>`, e.g. `5.q.B`, whatever the model class calls them."""

import re

PARAMETER = re.compile(r"\.(\d+)\.(?:self_attn\.)?([qkv])_proj\.lora_([AB])(?:\.|$)")

MODULE = re.compile(r"\d+\.[qkv]\.[AB]")
"""A short name. Maps are kept in files that are called after it."""


def short_name(parameter: str) -> str | None:
    """Short name of a LoRA parameter, or None for other parameters.

    >>> short_name("base_model.model.model.layers.5.self_attn.q_proj.lora_B.default.weight")
    '5.q.B'
    >>> short_name("base_model.model.model.transformer.blocks.31.k_proj.lora_A.default.weight")
    '31.k.A'
    """
    match = PARAMETER.search(parameter)
    return "{}.{}.{}".format(*match.groups()) if match else None
