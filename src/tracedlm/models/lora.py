"""LoRA on the query, key and value projections, and the short names of its modules."""

import re
from typing import Any

from peft import LoraConfig, get_peft_model

PARAMETER = re.compile(r"\.(\d+)\.(?:self_attn\.)?([qkv])_proj\.lora_([AB])\.")


def attach_lora(model: Any, rank: int, alpha: int, dropout: float) -> Any:
    """The model with trainable LoRA pairs on q, k and v of every block (method.md section 1)."""
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=["q_proj", "k_proj", "v_proj"]))


def short_name(parameter: str) -> str | None:
    """Short name of a LoRA parameter, or None for other parameters.

    >>> short_name("base_model.model.model.layers.5.self_attn.q_proj.lora_B.default.weight")
    '5.q.B'
    """
    match = PARAMETER.search(parameter)
    return "{}.{}.{}".format(*match.groups()) if match else None
