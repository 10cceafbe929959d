"""What one denoising step produced, as exit rules and recorders see it."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Step:
    """One forward over a batch of rows and what was committed after it.

    Shape suffixes: r rows, b tokens of a block, g tokens of the canvas.

    Attributes:
        slot_r: Row of the engine's state, for rules that keep state; `ExitRule.open` announces a slot's new sample.
        sample_r: Index of the sample.
        nfe_r: Forwards of the sample so far, this one included.
        block_r: Active block, from 0.
        block_step_r: Forwards in this block so far, this one included.
        visible_rg: Response positions that were unmasked before this forward (S_t).
        block_masked_rb: Positions of the active block that were masked before this forward.
        log_probs_rbv: Predictive log-probabilities in the active block, float64.
        prediction_rb: Most probable token there.
        confidence_rb: Its probability.
        commit_rb: Positions committed after this forward.
        similarity_rg: (layer, projection) -> cosine of activation and map at response positions; empty without an observer.
    """

    slot_r: torch.Tensor
    sample_r: torch.Tensor
    nfe_r: torch.Tensor
    block_r: torch.Tensor
    block_step_r: torch.Tensor
    visible_rg: torch.Tensor
    block_masked_rb: torch.Tensor
    log_probs_rbv: torch.Tensor
    prediction_rb: torch.Tensor
    confidence_rb: torch.Tensor
    commit_rb: torch.Tensor
    similarity_rg: dict[tuple[int, str], torch.Tensor]
