"""Short names of LoRA matrices.

`<layer>.<projection>.<matrix>`, e.g. `5.q.B`, whatever the model class calls them.
"""

import re
from collections.abc import Iterable

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
    # LoRA's bias (`lora_bias`) is no matrix.
    match = None if parameter.endswith(".bias") else PARAMETER.search(parameter)
    return "{}.{}.{}".format(*match.groups()) if match else None


def modules_of(parameters: Iterable[str], source: str) -> dict[str, str]:
    """Short name -> full name of the LoRA matrices among parameters.

    A short name must mean one matrix. A vision tower has layers of the same numbers as the language
    model, and a second adapter has matrices in the same places: a map of either would pass for the
    other's.

    Args:
        parameters: Full names.
        source: Where they stand, for the message.

    Raises:
        ValueError: Two have the same short name; the message has both names.
    """
    modules: dict[str, str] = {}
    for full_name in parameters:
        module = short_name(full_name)
        if module is None:
            continue
        if module in modules:
            raise ValueError(
                f"{source}: {modules[module]} and {full_name} are both matrix {module}; a map is of"
                " one model and one adapter, so keep or train the language model's matrices alone"
            )
        modules[module] = full_name
    return modules
