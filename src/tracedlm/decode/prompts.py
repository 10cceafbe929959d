"""Prompts of unequal length as one batch.

Padded on the left, so that every response begins in the same column.
"""

from collections.abc import Sequence

import torch


def left_padded(
    prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and attention mask of prompts that all end in the last column.

    Args:
        prompts: Token ids of each.
        pad_id: Token left of the short ones.
        device: Where the tensors go.

    Returns:
        Both int64 [n, longest prompt]; the mask is 1 for tokens of a prompt.

    >>> [array.tolist() for array in left_padded([[5, 6], [7]], 0)]
    [[[5, 6], [0, 7]], [[1, 1], [0, 1]]]
    """
    width = max(map(len, prompts))
    padding = [[pad_id] * (width - len(prompt)) for prompt in prompts]
    tokens = torch.tensor(
        [[*pad, *prompt] for pad, prompt in zip(padding, prompts, strict=True)], dtype=torch.long
    )
    # begins: [n, 1], the column of each prompt's first token.
    begins = torch.tensor([[len(pad)] for pad in padding])
    return tokens.to(device), (torch.arange(width) >= begins).long().to(device)
