"""What one denoising step produced, as exit rules and recorders see it."""

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Step:
    """One forward over a batch of rows, before anything is committed.

    Shape suffixes: r rows, g tokens of the canvas, k tokens in view (the active block, or the whole
    canvas for rules whose `scope` is the canvas), v vocabulary.

    Attributes:
        slots: Rows of the engine's state.
        slot_r: This row's place among them, for rules that keep state; `ExitRule.open` announces a
            slot's new block.
        sample_r: Index of the sample.
        nfe_r: Forwards of the sample so far, this one included.
        block_r: Active block, from 0.
        block_step_r: Forwards in this block so far, this one included.
        visible_rg: Response positions that were unmasked before this forward (S_t).
        position_rk: Canvas position of each token in view. A block's view goes on with the masks
            that earlier blocks have left.
        in_block_rk: Which of them are the active block's: the view of a short block runs on past
            its end.
        tokens_rk: The tokens in view, masks included.
        masked_rk: Which of them are masked.
        eligible_rk: Which of the masked ones may be committed: those of the active block and of the
            blocks before it.
        logits_rkv: Predictions, float32.
        prediction_rk: The token each would become: the most probable one, or a drawn one at a
            temperature above 0.
        log_confidence_rk: Log-probability of that token at temperature 1, float64.
        scheduled_rk: Positions the schedule commits after this forward: the most confident ones.
        readings: (layer, projection) -> what the rule's map reads at response positions, [r, g] or
            [r, g, n]; empty without a map.
        stop_r: Which rows stop after this forward; None until the rule has answered, so only
            recorders see it.
    """

    slots: int
    slot_r: torch.Tensor
    sample_r: torch.Tensor
    nfe_r: torch.Tensor
    block_r: torch.Tensor
    block_step_r: torch.Tensor
    visible_rg: torch.Tensor
    position_rk: torch.Tensor
    in_block_rk: torch.Tensor
    tokens_rk: torch.Tensor
    masked_rk: torch.Tensor
    eligible_rk: torch.Tensor
    logits_rkv: torch.Tensor
    prediction_rk: torch.Tensor
    log_confidence_rk: torch.Tensor
    scheduled_rk: torch.Tensor
    readings: dict[tuple[int, str], torch.Tensor]
    stop_r: torch.Tensor | None = None

    @cached_property
    def log_probs_rkv(self) -> torch.Tensor:
        """Predictive log-probabilities, float64, made when a rule or recorder asks."""
        return self.logits_rkv.double().log_softmax(-1)

    @cached_property
    def entropy_rk(self) -> torch.Tensor:
        """Predictive entropy, nats."""
        # exp(-1000) is 0, so that 0 log 0 is; the logarithm of each probability is there already.
        return 0.0 - torch.linalg.vecdot(
            self.log_probs_rkv.exp(), self.log_probs_rkv.clamp(min=-1e3)
        )

    @cached_property
    def margin_rk(self) -> torch.Tensor:
        """Gap between the two largest logits."""
        # Two of many thousands: a sort of the vocabulary would cost more.
        top = self.logits_rkv.topk(2, dim=-1).values
        return top[..., 0] - top[..., 1]
