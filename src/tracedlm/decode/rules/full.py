"""`full`: every scheduled step. The baseline all others are compared with."""

from typing import final

import torch

from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.step import Step


@final
class Full(ExitRule):
    """Never stops; forwards that commit nothing are made all the same, as LLaDA's sampler does."""

    name = "full"
    skips_noop = False

    def stops(self, step: Step) -> torch.Tensor:
        """No row."""
        return torch.zeros_like(step.block_r, dtype=torch.bool)
