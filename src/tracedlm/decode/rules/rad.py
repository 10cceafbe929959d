"""`rad`: TRACE Algorithm 1 / EDIT Algorithm 1, stop when the alignment distribution has been stable for some steps."""

from typing import final

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.step import Step
from tracedlm.theory.stability import step_statistics


@final
class Rad(ExitRule):
    """Stops a block once the matched-support KL of the RAD was below `delta` for `omega` consecutive steps.

    The counter starts anew in each block. A step whose matched support has fewer than two tokens has no KL and breaks the run.
    """

    name = "rad"
    needs_map = True

    def __init__(self, plan: Plan, slots: int, delta: float = 0.05, omega: int = 6, tau: float = 1.0) -> None:
        """`delta`: KL threshold in nats; `omega`: consecutive steps; `tau`: readout temperature."""
        super().__init__(plan, slots)
        if not delta > 0 or omega < 1:
            raise ValueError(f"rad: needs delta > 0 and omega >= 1, got delta {delta} and omega {omega}")
        self.delta, self.omega, self.tau = delta, omega, tau
        self.run_s = torch.zeros(slots, dtype=torch.long)
        self.similarity_sg = torch.zeros(slots, plan.gen_length)
        self.visible_sg = torch.zeros(slots, plan.gen_length, dtype=torch.bool)

    def open(self, slot: int, sample: int, block: int) -> None:
        """Forget the run; the first step of a block has nothing to compare with."""
        self.run_s[slot] = 0
        self.visible_sg[slot] = False

    def stops(self, step: Step) -> torch.Tensor:
        """Rows whose run of stable steps has reached omega."""
        (similarity_rg,) = step.similarity_rg.values()
        if self.similarity_sg.device != similarity_rg.device:
            self.similarity_sg, self.visible_sg = self.similarity_sg.to(similarity_rg.device), self.visible_sg.to(similarity_rg.device)
            self.run_s = self.run_s.to(similarity_rg.device)
        slots = step.slot_r
        pair = torch.stack([self.similarity_sg[slots], similarity_rg], dim=1), torch.stack([self.visible_sg[slots], step.visible_rg], dim=1)
        stable_r = step_statistics(*pair, tau=self.tau).kl[:, 1] < self.delta
        self.run_s[slots] = torch.where(stable_r, self.run_s[slots] + 1, 0)
        self.similarity_sg[slots], self.visible_sg[slots] = similarity_rg.float(), step.visible_rg
        return self.run_s[slots] >= self.omega
