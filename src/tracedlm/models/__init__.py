"""The only package that imports transformers, tokenizers and peft: loading, LoRA, hooks, training."""
