"""Three kinds of tiny random models, and labelled sentences for them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tracedlm.dynamics import Labels, causal_batches, masked_batches
from tracedlm.models.lora import attach_lora

VOCABULARY, MASK, LENGTH = 40, 39, 7


def llama(is_causal, seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        tie_word_embeddings=True,
        is_causal=is_causal,
        initializer_range=0.2,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=16, initializer_range=0.2
    )
    return GPT2LMHeadModel(config)  # its dropout is 0.1


@pytest.fixture
def models():
    """Name -> (model, batches of the same sentences for it)."""
    text = sentences(12)
    causal = causal_batches(text.input_ids, text.attention_mask, size=5)
    masked = masked_batches(text.input_ids, text.attention_mask, MASK, seed=0, size=5)
    adapted = attach_lora(llama(is_causal=False), rank=2, alpha=4, dropout=0.1)
    return {
        "gpt2": (gpt2(), causal),
        "llama": (llama(True), causal),
        "llada": (llama(False), masked),
        "lora": (adapted, masked),
    }


def sentences(n, seed=0):
    """Padded sentences with a label for every token but the first: its id modulo 3."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, LENGTH + 1, size=n)
    attention = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)
    ids = np.where(attention == 1, rng.integers(2, MASK, size=(n, LENGTH)), 0)
    ids[:, 0] = 1
    kind = np.where(attention == 1, ids % 3, -1)
    kind[:, 0] = -1
    return SimpleNamespace(
        input_ids=ids, attention_mask=attention, word=ids, labels=Labels(kind, ("a", "b", "c"))
    )
