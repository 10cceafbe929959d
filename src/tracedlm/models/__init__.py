"""The only package that imports transformers, tokenizers and peft.

Loading, LoRA, hooks, training.
"""
