"""`entropy_bound`: commit low-entropy tokens while a bound on their joint entropy holds.

Source: EB-Sampler.
"""

from typing import final

import torch

from tracedlm.decode.commit import rank
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import EntropyBoundSettings
from tracedlm.decode.step import Step


@final
class EntropyBound(ExitRule[EntropyBoundSettings]):
    """Commits tokens of low entropy, as many as the bound allows and at least one.

    Their entropies, without the largest, sum to at most gamma.
    """

    name = "entropy_bound"
    commits_itself = True

    def commits(self, step: Step) -> torch.Tensor:
        """Those tokens."""
        entropy = step.entropy_rk.masked_fill(~step.eligible_rk, torch.inf)
        place = rank(-step.entropy_rk, step.eligible_rk)
        ordered = torch.empty_like(entropy).scatter_(1, place, entropy)
        # In ascending order the largest entropy of the first n is the n-th: the sum without it is
        # the sum before it.
        sum_before = torch.nn.functional.pad(ordered.cumsum(1)[:, :-1], (1, 0))
        return step.eligible_rk & (sum_before <= self.settings.gamma).gather(1, place)
