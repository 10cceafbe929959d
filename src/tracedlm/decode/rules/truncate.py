"""`truncate`: a fixed, smaller number of steps, spread evenly. What any exit rule has to beat at equal forwards."""

from typing import final

import numpy as np
import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.step import Step
from tracedlm.theory import schedule


@final
class Truncate(ExitRule):
    """Decodes with `steps` forwards per sample on average; a fractional budget is met by giving some blocks one step more."""

    name = "truncate"

    def __init__(self, plan: Plan, slots: int, steps: float) -> None:
        """`steps`: mean forwards per sample, from one per block to the plan's; a step needs a token to commit."""
        super().__init__(plan, slots)
        most = plan.blocks * min(plan.block_steps, plan.block_length)
        if not plan.blocks <= steps <= most:
            raise ValueError(f"truncate: steps {steps:g} is outside {plan.blocks}..{most} (one per block, and all of them)")
        self.per_block = steps / plan.blocks

    def counts(self, sample: int, block: int) -> np.ndarray:
        """An even split over this block's share of the budget; shares differ by at most one and sum to the budget."""
        index = sample * self.plan.blocks + block
        share = int(np.floor((index + 1) * self.per_block + 1e-9)) - int(np.floor(index * self.per_block + 1e-9))
        return schedule.uniform(self.plan.block_length, share)

    def stops(self, step: Step) -> torch.Tensor:
        """No row: the shorter schedule ends by itself."""
        return torch.zeros_like(step.block_r, dtype=torch.bool)
