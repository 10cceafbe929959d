"""`prophet`: commit everything once the two best tokens are far enough apart.

The gap that is asked for falls with progress.
"""

from typing import final

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import ProphetSettings
from tracedlm.decode.step import Step


@final
class Prophet(ExitRule[ProphetSettings]):
    """Mean top-two logit gap over the answer's positions against three thresholds.

    A stop fills the whole canvas.
    """

    name = "prophet"
    scope = "canvas"

    def __init__(self, plan: Plan, slots: int, settings: ProphetSettings) -> None:
        """An answer outside the canvas would have no gap, and the rule would never stop."""
        super().__init__(plan, slots, settings)
        if settings.answer_start is not None and settings.answer_start >= plan.gen_length:
            raise ValueError(
                f"prophet: answer_start {settings.answer_start} is outside"
                f" 0..{plan.gen_length - 1}, the positions of the canvas"
            )

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose gap suffices for the third of the plan they are in."""
        gaps = torch.tensor(self.settings.gaps, device=step.logits_rkv.device)
        # `nfe_r` counts from 1: the first forward is at progress 0.
        third = ((step.nfe_r - 1) * 3 // self.plan.steps).clamp(max=2)
        answer_rk = (
            step.masked_rk
            if self.settings.answer_start is None
            else step.position_rk >= self.settings.answer_start
        )
        gap_r = (step.margin_rk * answer_rk).sum(1) / answer_rk.sum(1)
        return gap_r >= gaps[third]
