"""A small LLaDA-architecture model with random weights."""

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

LONGEST = 1024
"""Positions the rotary embedding is declared for: prompt and canvas together."""

ATTENTION = "eager"
"""Attention to train with.

Compiled, eager attention is 2.3 times faster on a CPU than SDPA, whose backward is slow for small
heads.
"""


def new_model(
    tokenizer: Any, hidden: int, feed_forward: int, layers: int, heads: int, causal: bool = False
) -> LlamaForCausalLM:
    """A Llama with tied embeddings for a tokenizer's vocabulary, bidirectional unless `causal`.

    Its config says what a trainer needs to know: the mask token, or that logits predict the token
    to their right.
    """
    sight = (
        {"is_causal": True, "logit_shift": 1}
        if causal
        else {"is_causal": False, "mask_token_id": tokenizer.mask_token_id}
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        **sight,  # pyright: ignore[reportArgumentType]  (LLaDA's own keys)
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation=ATTENTION)


@torch.no_grad()
def retokenized(model: Any, old: Any, new: Any) -> Any:
    """The model with another tokenizer.

    A token's embedding starts as the mean of the old embeddings of its pieces.

    Args:
        model: A causal language model with tied embeddings; changed in place.
        old: Its tokenizer.
        new: The tokenizer it shall have. Its special tokens, and those that both know, keep their
            embeddings.
    """
    old_ids = old.get_vocab()
    pieces = [
        (
            [old_ids[name]]
            if name in old_ids
            else old(new.decode([token]), add_special_tokens=False)["input_ids"]
        )
        for token, name in enumerate(new.convert_ids_to_tokens(range(len(new))))
    ]
    # A copy, for the weights are overwritten below.
    before = model.get_input_embeddings().weight.clone()
    model.resize_token_embeddings(len(new), mean_resizing=False)
    model.get_input_embeddings().weight.copy_(torch.stack([before[ids].mean(0) for ids in pieces]))
    model.config.update(
        {
            f"{kind}_token_id": getattr(new, f"{kind}_token_id")
            for kind in ("mask", "bos", "eos", "pad")
        }
    )
    return model
