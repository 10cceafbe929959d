"""`klass`: commit the tokens whose prediction has stopped moving and is confident."""

from typing import final

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import KlassSettings
from tracedlm.decode.step import Step
from tracedlm.theory.divergence import kl_from_log


@final
class Klass(ExitRule[KlassSettings]):
    """Commits every masked token with KL(p_t || p_t-1) small for some steps and a high probability.

    Else what the schedule says.
    """

    name = "klass"
    commits_itself = True

    def __init__(self, plan: Plan, slots: int, settings: KlassSettings) -> None:
        """A block must have more steps than `history`.

        Its first step has nothing to compare with.
        """
        super().__init__(plan, slots, settings)
        self.must_fit(f"history {settings.history}", [settings.history + 1] * plan.blocks)

    def commits(self, step: Step) -> torch.Tensor:
        """The stable and confident tokens, or the schedule's."""
        settings = self.settings
        divergence = kl_from_log(
            step.log_probs_rkv, self.swap("log_probs", step, step.log_probs_rkv)
        )
        # A block's first step has no step before it to compare with.
        stable_rk = (divergence < settings.kl) & (step.block_step_r > 1)[:, None]
        still_rk = self.run_length("run", step, stable_rk) >= settings.history
        ready_rk = (
            step.eligible_rk & still_rk & (step.log_confidence_rk.exp() > settings.confidence)
        )
        return torch.where(ready_rk.any(1, keepdim=True), ready_rk, step.scheduled_rk)
