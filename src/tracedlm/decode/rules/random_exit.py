"""`random`: stop at a random step. What a rule is worth if its signal says nothing."""

from typing import final

import numpy as np
import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.step import Step
from tracedlm.theory.schedule import effective_steps


@final
class RandomExit(ExitRule):
    """Stops each block after a random number of forwards with a given mean; a function of (seed, sample, block) alone."""

    name = "random"

    def __init__(self, plan: Plan, slots: int, steps: float, seed: int = 0) -> None:
        """`steps`: mean forwards per sample, from one per block to all that commit something."""
        super().__init__(plan, slots)
        self.longest = effective_steps(plan.counts())
        if not plan.blocks <= steps <= plan.blocks * self.longest:
            raise ValueError(
                f"random: steps {steps:g} is outside {plan.blocks}..{plan.blocks * self.longest} (one per block, and all of them)"
            )
        self.mean, self.seed = steps / plan.blocks, seed
        self.stop_at = torch.zeros(slots, dtype=torch.long)

    def open(self, slot: int, sample: int, block: int) -> None:
        """Draw this block's stop: uniform on the widest interval around the mean inside 1..longest, rounded at random."""
        rng = np.random.default_rng((self.seed, sample, block))
        reach = min(self.mean - 1, self.longest - self.mean)
        self.stop_at[slot] = int(np.floor(rng.uniform(self.mean - reach, self.mean + reach) + rng.uniform()))

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose drawn step has come."""
        return step.block_step_r >= self.stop_at.to(step.block_r.device)[step.slot_r]
