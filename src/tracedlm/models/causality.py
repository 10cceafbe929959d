"""The self-test before any analysis: on which side of a token does a model look?"""

from typing import Any

import torch

ROUNDING = 1e-5
"""Share of the largest logit below which a change is rounding."""


@torch.no_grad()
def influence(model: Any, tokens: torch.Tensor, replacement: int) -> torch.Tensor:
    """How much each token of a sentence matters to each output.

    Args:
        model: Called as `model(input_ids=...).logits`; in evaluation mode.
        tokens: int64 [length], none of them `replacement`.
        replacement: Token put in the place of each in turn.

    Returns:
        [length, length]: entry (j, i) is the largest change of a logit at i when token j is
            replaced, as a share of the largest logit.
    """
    # rows: [length + 1, length], one for each replaced token, and the sentence itself last.
    rows = tokens.repeat(len(tokens) + 1, 1)
    rows[torch.arange(len(tokens)), torch.arange(len(tokens))] = replacement
    logits = model(input_ids=rows).logits.double()
    return (logits[:-1] - logits[-1]).abs().amax(-1) / logits[-1].abs().max()


def check_sight(model: Any, tokens: torch.Tensor, replacement: int, causal: bool) -> None:
    """Refuse a model whose outputs depend on the wrong tokens.

    A causal one must see earlier tokens and no later ones, a bidirectional one both sides.

    Args:
        model: See `influence`.
        tokens: int64 [length], at least 3.
        replacement: See `influence`.
        causal: What the model should be.

    Raises:
        ValueError: The model looks where it must not, or does not look where it should; the message
            says how much it depends.
    """
    changed = influence(model, tokens, replacement)
    past, future = float(changed.triu(1).max()), float(changed.tril(-1).max())
    dependence = (
        f"replacing a token changes earlier outputs by {future:.2g} and later ones by {past:.2g} of"
        " the largest logit"
    )
    if causal and future > ROUNDING:
        raise ValueError(
            f"not a causal model: {dependence}; correct its attention mask before analysing it"
        )
    if past <= ROUNDING:
        raise ValueError(
            f"the model does not see the past: {dependence}; its attention mask is inverted or"
            " blocks everything"
        )
    if not causal and future <= ROUNDING:
        raise ValueError(
            f"not a bidirectional model: {dependence}; set is_causal: false in its config"
        )
