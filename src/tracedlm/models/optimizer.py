"""Muon for the hidden matrices and AdamW for everything else, as one torch optimiser."""

from typing import Any

import torch
from torch import nn


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon on two-dimensional weights inside the blocks, AdamW on embeddings and norms.

    Measured against AdamW alone on the base model's pretraining: see docs/log.md. Both parts read
    their learning rate from `param_groups`, so one scheduler drives both.
    """

    def __init__(self, model: nn.Module, learning_rate: float, weight_decay: float) -> None:
        # Muon orthogonalises the update of a matrix, which means nothing for a table of rows.
        hidden = {
            name
            for name, weight in model.named_parameters()
            if weight.ndim == 2 and "embed" not in name and "lm_head" not in name
        }
        matrices = [weight for name, weight in model.named_parameters() if name in hidden]
        embeddings_and_norms = [
            weight for name, weight in model.named_parameters() if name not in hidden
        ]
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices,
                lr=learning_rate,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(
                embeddings_and_norms, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0
            ),
        )
        super().__init__([*matrices, *embeddings_and_norms], {"lr": learning_rate})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Any = None) -> None:
        """One update of both parts."""
        for part in self.parts:
            part.step(closure)

    def state_dict(self) -> dict[str, Any]:
        """State of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
