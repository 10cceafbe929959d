"""The forward (masking) process of masked diffusion and its loss weights. Arrays in, arrays out."""

from typing import Any

Array = Any
"""Any array of the Python array API (NumPy, torch)."""


def mask_ratio(uniform: Array, eps: float = 1e-3) -> Array:
    """Masking probability t ~ U(eps, 1) per sample from uniform draws in [0, 1).

    Source: method.md section 1.

    >>> mask_ratio(0.0, eps=0.25), mask_ratio(1.0, eps=0.25)
    (0.25, 1.0)
    """
    return eps + (1 - eps) * uniform


def masked_positions(ratio: Array, uniform: Array, maskable: Array) -> Array:
    """Which positions are masked: each maskable one independently with probability `ratio`.

    Args:
        ratio: [n] masking probability t of each sample, in (0, 1].
        uniform: [n, length] uniform draws in [0, 1).
        maskable: bool [n, length]; the prompt and padding are never maskable.

    Returns:
        bool [n, length].
    """
    return maskable & (uniform < ratio[:, None])


def block_context(block: Array, position: Array, block_length: int) -> tuple[Array, Array]:
    """State of a canvas while semi-autoregressive decoding works on one block.

    Before it text, after it masks.

    Args:
        block: [n] index of the active block of each sample.
        position: [length] position in the response; negative in the prompt.
        block_length: Tokens per block.

    Returns:
        (active, future): bool [n, length], positions inside the active block, and after it.
    """
    index = (position // block_length)[None, :]
    return index == block[:, None], index > block[:, None]


def sft_weights(masked: Array, ratio: Array, response_tokens: Array) -> Array:
    """Weight of each masked position's cross-entropy.

    1 / (t * response tokens) (method.md section 1; LLaDA Eq. 5).

    Args:
        masked: bool [n, length].
        ratio: [n] masking probability t.
        response_tokens: [n] number of response tokens of each sample, at least 1.

    Returns:
        [n, length]; its sum over masked positions has expectation 1 per sample.
    """
    return masked / (ratio * response_tokens)[:, None]
