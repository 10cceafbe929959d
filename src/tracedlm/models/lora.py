"""LoRA on the query, key and value projections."""

from typing import Any

from peft import LoraConfig, get_peft_model

from tracedlm.models.layout import lora_targets


def attach_lora(model: Any, rank: int, alpha: int, dropout: float) -> Any:
    """The model with trainable LoRA pairs on q, k and v of every block (method.md section 1).

    Raises:
        ValueError: The model's class is not known, or has no LoRA pair per projection.
    """
    return get_peft_model(
        model,
        LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=lora_targets(model)
        ),
    )
