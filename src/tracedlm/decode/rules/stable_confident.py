"""`stable_confident`.

Stop when the most likely text stands still and is certain (the criterion of transformers'
DiffusionGemma).
"""

from typing import final

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import StableConfidentSettings
from tracedlm.decode.step import Step


@final
class StableConfident(ExitRule[StableConfidentSettings]):
    """Stops a block when its most likely text stands still and is certain.

    Certain: the mean entropy of its masks is small.
    """

    name = "stable_confident"

    def __init__(self, plan: Plan, slots: int, settings: StableConfidentSettings) -> None:
        """A block's first step has nothing to compare with, so its steps must outnumber `steps`."""
        super().__init__(plan, slots, settings)
        self.must_fit(f"steps {settings.steps}", [settings.steps + 1] * plan.blocks)

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose text stands still and is certain."""
        # Where a token is committed the text is the canvas, elsewhere the model's best guess.
        text_rk = torch.where(step.eligible_rk, step.logits_rkv.argmax(-1), step.tokens_rk)
        same_rk = (self.swap("text", step, text_rk) == text_rk) | ~step.in_block_rk
        same_r = same_rk.all(1) & (step.block_step_r > 1)
        still_r = self.run_length("run", step, same_r) >= self.settings.steps
        entropy_r = (step.entropy_rk * step.eligible_rk).sum(1) / step.eligible_rk.sum(1)
        return still_r & (entropy_r < self.settings.entropy)
