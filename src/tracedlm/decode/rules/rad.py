"""`rad`, `subspace`, `subspace_norm`.

Stop when the alignment distribution has been stable for some steps (TRACE and EDIT, Algorithm 1).
"""

from typing import TypeVar, final

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import RadSettings, SubspaceNormSettings, SubspaceSettings
from tracedlm.decode.step import Step
from tracedlm.theory.stability import step_statistics

S = TypeVar("S", bound=RadSettings)


class AlignmentRule(ExitRule[S]):
    """Stops a block once the RAD has stood still for `omega` consecutive steps.

    It stands still where its matched-support KL is below `delta`.

    The counter starts anew in each block. A step whose matched support has fewer than two tokens
    has no KL and breaks the run.
    """

    def __init__(self, plan: Plan, slots: int, settings: S) -> None:
        """Some block must have more steps than its `omega`.

        A block's first step has nothing to compare with.
        """
        super().__init__(plan, slots, settings)
        # One value a block: the first has settings of its own.
        later_delta = settings.later_delta or settings.delta
        later_omega = settings.later_omega or settings.omega
        self.delta_b = torch.tensor(
            [settings.delta] + [later_delta] * (plan.blocks - 1), dtype=torch.float64
        )
        self.omega_b = torch.tensor([settings.omega] + [later_omega] * (plan.blocks - 1))
        self.must_fit(f"omega {settings.omega}", [omega + 1 for omega in self.omega_b.tolist()])

    def similarity(self, step: Step) -> torch.Tensor:
        """What the RAD is made of: [r, g]."""
        (reading_rg,) = step.readings.values()
        return reading_rg

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose run of stable steps has reached omega."""
        similarity_rg = self.similarity(step)
        # similarities, visible: [rows, 2 steps, positions], the step before and this one.
        similarities = torch.stack(
            [self.swap("similarity", step, similarity_rg), similarity_rg], dim=1
        )
        visible = torch.stack([self.swap("visible", step, step.visible_rg), step.visible_rg], dim=1)
        kl_r = step_statistics(similarities, visible, tau=self.settings.tau).kl[:, 1]
        self.delta_b, self.omega_b = self.delta_b.to(kl_r.device), self.omega_b.to(kl_r.device)
        return (
            self.run_length("run", step, kl_r < self.delta_b[step.block_r])
            >= self.omega_b[step.block_r]
        )


@final
class Rad(AlignmentRule[RadSettings]):
    """The RAD of the cosine with the map (TRACE Eq. 6)."""

    name = "rad"


@final
class Subspace(AlignmentRule[SubspaceSettings]):
    """The RAD of the cosine with the map's subspace (EDIT Eq. 31)."""

    name = "subspace"


@final
class SubspaceNorm(AlignmentRule[SubspaceNormSettings]):
    """The RAD of the length of the projection on the map's subspace (EDIT Eq. 31)."""

    name = "subspace_norm"
