"""How a model reads tokens and which of them it predicts.

Causal and masked models behind one kind of batch.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from tracedlm.theory import masking

UNSCORED = -1
"""Label of a token that is not scored."""


class Batch(NamedTuple):
    """Some sentences as a model sees them, padded on the right.

    Attributes:
        input_ids: int64 [n, length], what the model reads.
        attention_mask: int64 [n, length], 1 for real tokens.
        tokens: int64 [n, length], the truth.
        weights: float32 [n, length], weight of each token's cross-entropy in the loss; 0: the token
            is not predicted.
        shift: The logits at position i score the token at i + shift: 1 for causal models, 0 for
            masked ones.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    tokens: torch.Tensor
    weights: torch.Tensor
    shift: int


class Labels(NamedTuple):
    """A label for every token.

    Attributes:
        ids: int [n, length], index into `names`; -1 = not scored.
        names: Of the labels.
    """

    ids: np.ndarray
    names: tuple[str, ...]


def causal_batches(input_ids: Any, attention_mask: Any, size: int = 256) -> list[Batch]:
    """Batches of a causal model: every real token but the first is predicted from those before it.

    Args:
        input_ids: int64 [n, length], array or tensor.
        attention_mask: [n, length], 1 for real tokens.
        size: Sentences a batch.

    Returns:
        Batches whose losses add up to the mean cross-entropy of all predicted tokens, in nats.

    Raises:
        ValueError: The shapes differ.
    """
    tokens, attention = _tensors(input_ids, attention_mask)
    # A token is scored where the one before it is real too: what follows padding has no context.
    scored = attention.clone()
    scored[:, 1:] *= attention[:, :-1]
    scored[:, 0] = 0
    return _batched(
        Batch(tokens, attention, tokens, scored / scored.sum().clamp(min=1), shift=1), size
    )


def masked_batches(
    input_ids: Any,
    attention_mask: Any,
    mask_id: int,
    seed: int,
    ratio: float | None = None,
    size: int = 256,
    maskable: Any = None,
    shift: int = 0,
) -> list[Batch]:
    """Batches of a masked diffusion model under noise that depends on the seed only.

    The same at every checkpoint.

    Args:
        input_ids: int64 [n, length], array or tensor.
        attention_mask: [n, length], 1 for real tokens.
        mask_id: Token id of a masked position.
        seed: Of the noise.
        ratio: Probability in (0, 1] that a token is masked; None draws t ~ U(1e-3, 1) for each
            sentence, as training does.
        size: Sentences a batch.
        maskable: bool [n, length]; None: all real tokens. A prompt is not maskable.
        shift: 1 for masked models whose logits score the token to their right (Dream).

    Returns:
        Batches whose losses add up to the diffusion loss in nats per token: cross-entropy / (t *
            maskable tokens), mean over sentences.

    Raises:
        ValueError: The shapes differ, or the ratio is out of range.
    """
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(
            f"a mask ratio lies in (0, 1], got {ratio}; the tokens of ratio 0 are read, not"
            " predicted"
        )
    tokens, attention = _tensors(input_ids, attention_mask)
    allowed = (
        attention.bool()
        if maskable is None
        else torch.as_tensor(maskable).bool() & attention.bool()
    )
    # A generator of its own, drawn from in one order: the noise is the same at every checkpoint.
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(len(tokens), generator=generator)
    t = masking.mask_ratio(uniform) if ratio is None else torch.full_like(uniform, ratio)
    masked = masking.masked_positions(t, torch.rand(tokens.shape, generator=generator), allowed)
    weights = masking.sft_weights(masked, t, allowed.sum(1).clamp(min=1)) / len(tokens)
    return _batched(
        Batch(torch.where(masked, mask_id, tokens), attention, tokens, weights, shift), size
    )


def _tensors(input_ids: Any, attention_mask: Any) -> tuple[torch.Tensor, torch.Tensor]:
    tokens, attention = torch.as_tensor(input_ids).long(), torch.as_tensor(attention_mask).long()
    if tokens.shape != attention.shape or tokens.ndim != 2:
        raise ValueError(
            f"input_ids and attention_mask are [n, length] alike, got {list(tokens.shape)} and"
            f" {list(attention.shape)}"
        )
    return tokens, attention


def _batched(batch: Batch, size: int) -> list[Batch]:
    parts = [field.split(size) for field in batch[:-1]]
    return [Batch(*fields, shift=batch.shift) for fields in zip(*parts, strict=True)]
