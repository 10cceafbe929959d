"""The interface of exit rules."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch

from tracedlm.decode.memory import Memory, swap
from tracedlm.decode.plan import Plan
from tracedlm.decode.settings import RuleSettings, StopSettings
from tracedlm.decode.step import Step
from tracedlm.theory.schedule import effective_steps

S = TypeVar("S", bound=RuleSettings)


class ExitRule(ABC, Generic[S]):
    """Decides, after each forward, what is committed and which rows stop working on their block.

    A rule is made for one decoding run. State is kept per *slot*, a row of the engine's batch:
    `open` says that a slot starts on a block, so whatever was remembered there is void.

    Attributes:
        name: Name in configs, files and tables; its settings are `decode.settings.SETTINGS[name]`.
        scope: What a stop fills and what the rule sees: the active block, or the whole canvas.
        skips_noop: Whether forwards that cannot change the output are left out.
        commits_itself: Whether `commits` departs from the schedule; the block then ends when it is
            full.
    """

    name: ClassVar[str]
    scope: ClassVar[Literal["block", "canvas"]] = "block"
    skips_noop: ClassVar[bool] = True
    commits_itself: ClassVar[bool] = False

    def __init__(self, plan: Plan, slots: int, settings: S) -> None:
        self.plan, self.slots, self.settings = plan, slots, settings
        self.memory: Memory = {}

    def counts(self, sample: int, block: int) -> np.ndarray:
        """Tokens to commit in each step of this block.

        The plan's own unless the rule has a schedule of its own.
        """
        return self.plan.counts(block)

    def must_fit(self, setting: str, needed: Sequence[int]) -> None:
        """Refuse a setting with which the rule cannot fire.

        Args:
            setting: Name and value, for the message.
            needed: Forwards of each block after which the rule can fire for the first time.

        Raises:
            ValueError: No block has so many forwards that commit something.
        """
        # Sample 0 stands for all: no rule that asks this has counts that depend on the sample.
        most = [effective_steps(self.counts(0, block)) for block in range(self.plan.blocks)]
        if all(least > steps for least, steps in zip(needed, most, strict=True)):
            raise ValueError(
                f"{self.name}: {setting} can never fire in blocks of {most[0]} steps; it takes"
                f" {needed[0]} of them"
            )

    def polish(self, block: int) -> int:
        """Further forwards that fill this block after a stop; 0 fills it at once."""
        return self.settings.polish if isinstance(self.settings, StopSettings) else 0

    def open(self, slot: int, sample: int, block: int) -> None:
        """A slot starts on a block: what was remembered there becomes zero."""
        for value in self.memory.values():
            value[slot] = 0

    def commits(self, step: Step) -> torch.Tensor:
        """Positions to commit now, among `step.eligible_rk`: bool [r, k]."""
        return step.scheduled_rk

    def stops(self, step: Step) -> torch.Tensor:
        """Which rows stop now: bool [r]."""
        return torch.zeros_like(step.slot_r, dtype=torch.bool)

    def swap(self, name: str, step: Step, value: torch.Tensor) -> torch.Tensor:
        """Remember a value [r, ...] for the next step and return the last one.

        Zero at a block's first step.
        """
        return swap(self.memory, name, step, value)

    def run_length(self, name: str, step: Step, holds: torch.Tensor) -> torch.Tensor:
        """For how many consecutive steps, this one included, a condition [r, ...] has held."""
        # The length so far is read with a placeholder, which the new length then replaces.
        held = self.swap(name, step, torch.zeros_like(holds, dtype=torch.long))
        run = torch.where(holds, held + 1, 0)
        self.swap(name, step, run)
        return run
