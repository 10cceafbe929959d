"""`skip_noop`: the full schedule without the forwards that cannot change the output."""

from typing import final

import torch

from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.step import Step


@final
class SkipNoop(ExitRule):
    """Never stops; the engine leaves out steps that commit nothing. Same tokens as `full`, fewer forwards where the schedule has gaps."""

    name = "skip_noop"

    def stops(self, step: Step) -> torch.Tensor:
        """No row."""
        return torch.zeros_like(step.block_r, dtype=torch.bool)
