"""`sched`: commit everything once the mean margin exceeds a threshold that falls with progress."""

import math
from typing import final

import torch

from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import SchedSettings
from tracedlm.decode.step import Step


@final
class Sched(ExitRule[SchedSettings]):
    """Mean top-two logit margin over masked positions against lo + (hi - lo) s(progress).

    A stop fills the whole canvas.
    """

    name = "sched"
    scope = "canvas"

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose margin has reached the threshold of their progress."""
        settings = self.settings
        # `nfe_r` counts from 1: the first forward is at progress 0, the last at 1.
        progress = (step.nfe_r - 1) / max(1, self.plan.steps - 1)
        fall = {
            "linear": 1 - progress,
            "cosine": (1 + torch.cos(math.pi * progress)) / 2,
            "exponential": torch.exp(-settings.rate * progress),
        }[settings.shape]
        margin_r = (step.margin_rk * step.masked_rk).sum(1) / step.masked_rk.sum(1)
        return margin_r >= settings.low + (settings.high - settings.low) * fall
