"""`random`: stop at a random step. What a rule is worth if its signal says nothing."""

from typing import final

import numpy as np
import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import RandomSettings
from tracedlm.decode.step import Step
from tracedlm.theory.schedule import effective_steps


@final
class RandomExit(ExitRule[RandomSettings]):
    """Stops each block after a random number of forwards with a given mean.

    A function of (seed, sample, block) alone.
    """

    name = "random"

    def __init__(self, plan: Plan, slots: int, settings: RandomSettings) -> None:
        """The mean goes from one forward per block to all that commit something."""
        super().__init__(plan, slots, settings)
        self.longest = [effective_steps(plan.counts(block)) for block in range(plan.blocks)]
        self.share = (settings.forwards - plan.blocks) / max(1, sum(self.longest) - plan.blocks)
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"random: forwards {settings.forwards:g} is outside"
                f" {plan.blocks}..{sum(self.longest)} (one per block, and all of them)"
            )
        self.stop_at = torch.zeros(slots, dtype=torch.long)

    def open(self, slot: int, sample: int, block: int) -> None:
        """Draw this block's stop.

        Uniform on the widest interval around its mean inside 1..longest, rounded at random.

        Samples 2k and 2k + 1 mirror each other's draws, so that even a few samples make the mean
        forwards asked for.
        """
        draws = np.random.default_rng((self.settings.stop_seed, sample // 2, block)).uniform(size=2)
        place, rounding = 1 - draws if sample % 2 else draws
        mean = 1 + self.share * (self.longest[block] - 1)
        # mean - reach .. mean + reach is the widest interval inside 1 .. longest.
        reach = min(mean - 1, self.longest[block] - mean)
        self.stop_at[slot] = int(np.floor(mean + (2 * place - 1) * reach + rounding))

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose drawn step has come."""
        self.stop_at = self.stop_at.to(step.slot_r.device)
        return step.block_step_r >= self.stop_at[step.slot_r]
