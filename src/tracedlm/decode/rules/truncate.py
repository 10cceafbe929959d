"""`truncate`: a fixed, smaller number of steps, spread evenly.

What any exit rule has to beat at equal forwards.
"""

from typing import final

import numpy as np

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import TruncateSettings
from tracedlm.theory import schedule


@final
class Truncate(ExitRule[TruncateSettings]):
    """Decodes with a set mean number of forwards.

    A fractional budget is met by giving some blocks one step more.
    """

    name = "truncate"

    def __init__(self, plan: Plan, slots: int, settings: TruncateSettings) -> None:
        """Budgets go from one step per block to the plan's; a step needs a token to commit."""
        super().__init__(plan, slots, settings)
        most = sum(
            min(plan.block_steps(block), length) for block, length in enumerate(plan.lengths)
        )
        if not plan.blocks <= settings.forwards <= most:
            raise ValueError(
                f"truncate: forwards {settings.forwards:g} is outside {plan.blocks}..{most} (one"
                " per block, and all of them)"
            )

    def counts(self, sample: int, block: int) -> np.ndarray:
        """An even split over this block's share of the budget.

        Shares follow the blocks' lengths and sum to the budget.
        """
        begin, length = self.plan.begins[block], self.plan.lengths[block]
        # Samples lie end to end, so that a fraction one leaves is spent by the next.
        first = sample + begin / self.plan.gen_length
        last = sample + (begin + length) / self.plan.gen_length
        # 1e-9: rounding must not push a whole number of forwards below itself.
        share = int(np.floor(last * self.settings.forwards + 1e-9)) - int(
            np.floor(first * self.settings.forwards + 1e-9)
        )
        return schedule.uniform(length, min(max(share, 1), length))
