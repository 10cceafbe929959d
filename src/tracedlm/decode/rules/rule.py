"""The interface of exit rules."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.step import Step


class ExitRule(ABC):
    """Decides, after each forward, which rows stop working on their block; the rest of the block is then filled at once.

    A rule is made for one decoding run. State is kept per *slot*, a row of the engine's batch: `open` says that a slot
    has a new sample in a new block, so whatever was remembered there is void.

    Attributes:
        name: Name in configs, files and tables.
        needs_map: Whether the rule reads `Step.similarity_rg`.
        skips_noop: Whether forwards that cannot change the output are left out.
    """

    name: ClassVar[str]
    needs_map: ClassVar[bool] = False
    skips_noop: ClassVar[bool] = True

    def __init__(self, plan: Plan, slots: int) -> None:
        self.plan, self.slots = plan, slots

    def counts(self, sample: int, block: int) -> np.ndarray:
        """Tokens to commit in each step of this block; the plan's own unless the rule has a schedule of its own."""
        return self.plan.counts()

    def open(self, slot: int, sample: int, block: int) -> None:  # noqa: B027  (most rules remember nothing)
        """A slot starts on a block."""

    @abstractmethod
    def stops(self, step: Step) -> torch.Tensor:
        """Which rows stop now: bool [rows]."""
