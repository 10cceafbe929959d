"""Hidden states of every layer, from any model of transformers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from tracedlm.dynamics.batches import Batch
from tracedlm.dynamics.undisturbed import undisturbed


def hidden_states(model: Any, *views: Iterable[Batch]) -> np.ndarray:
    """Hidden states of every token, layer by layer.

    Averaged over views of the same sentences.

    A causal model has one view. A masked model sees a sentence at any mask ratio: give it one view
    a ratio.

    Args:
        model: A model of transformers, with or without an adapter; it is left as it was.
        views: Batches of the same sentences in the same order.

    Returns:
        float32 [layers + 1, n, length, d]; 0 is the embeddings, and the last has the final norm
            where the model's class applies it
        there. What stands at padding means nothing.

    Raises:
        ValueError: There is no view, or two differ in their sentences.
    """
    if not views:
        raise ValueError(
            "hidden_states needs at least one view: causal_batches(...), or one masked_batches(...)"
            " a mask ratio"
        )
    # Views are added one by one, so that memory does not grow with their number.
    total: np.ndarray | None = None
    with undisturbed(model), torch.no_grad():
        for view in views:
            states = _states(model, view)
            if total is not None and states.shape != total.shape:
                raise ValueError(
                    f"views are of the same sentences; the states of one are {total.shape}, of"
                    f" another {states.shape}"
                )
            total = states if total is None else total + states
    assert total is not None
    return total / np.float32(len(views))


def _states(model: Any, view: Iterable[Batch]) -> np.ndarray:
    device, rows = next(model.parameters()).device, []
    for batch in view:
        output = model(
            input_ids=batch.input_ids.to(device),
            attention_mask=batch.attention_mask.to(device),
            output_hidden_states=True,
        )
        # [layers + 1, rows, length, d]
        rows.append(torch.stack(output.hidden_states).float().cpu().numpy())
    return np.concatenate(rows, axis=1)
