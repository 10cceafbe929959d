"""The denoising loop and the exit rules.

Needs a callable `tokens, mask, positions -> logits`, not a model class.
"""
