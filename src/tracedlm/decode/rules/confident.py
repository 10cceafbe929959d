"""`threshold` and `factor`.

Commit all tokens that are confident enough, at least one (Fast-dLLM).
"""

from typing import final

import torch

from tracedlm.decode.commit import rank
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import FactorSettings, ThresholdSettings
from tracedlm.decode.step import Step


@final
class Threshold(ExitRule[ThresholdSettings]):
    """Commits every token whose probability reaches the threshold."""

    name = "threshold"
    commits_itself = True

    def commits(self, step: Step) -> torch.Tensor:
        """The confident tokens, and in any case the most confident one."""
        enough = step.log_confidence_rk.exp() >= self.settings.confidence
        return step.eligible_rk & (enough | (rank(step.log_confidence_rk, step.eligible_rk) == 0))


@final
class Factor(ExitRule[FactorSettings]):
    """Commits the n most confident tokens, n as large as their confidence allows.

    The condition is (n + 1) (1 - confidence of the n-th) < factor.
    """

    name = "factor"
    commits_itself = True

    def commits(self, step: Step) -> torch.Tensor:
        """Those tokens, and in any case the most confident one."""
        place = rank(step.log_confidence_rk, step.eligible_rk)
        # `place` counts from 0: the n-th token has place n - 1, so that n + 1 is place + 2.
        allowed = (place + 2) * -torch.expm1(step.log_confidence_rk) < self.settings.factor
        most_r = torch.where(allowed & step.eligible_rk, place + 1, 1).max(1).values
        return step.eligible_rk & (place < most_r[:, None])
