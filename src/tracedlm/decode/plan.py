"""The canvas, its blocks and how many tokens each step commits."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tracedlm.theory import schedule


@dataclass(frozen=True)
class Plan:
    """Semi-autoregressive block decoding of one canvas length.

    Attributes:
        gen_length: Tokens of the canvas, G.
        block_length: Tokens per block, or the length of each block.
        steps: Total denoising steps T, shared by the blocks in proportion to their lengths.
        schedule: How a block's commits are spread over its steps (method.md section 2).
    """

    gen_length: int
    block_length: int | tuple[int, ...]
    steps: int
    schedule: Literal["uniform", "gaussian"] = "uniform"

    def __post_init__(self) -> None:
        if isinstance(self.block_length, tuple):
            if min(self.block_length, default=0) < 1 or sum(self.block_length) != self.gen_length:
                raise ValueError(
                    f"block lengths {self.block_length} must be positive and sum to gen_length"
                    f" {self.gen_length}"
                )
        elif self.gen_length < 1 or self.block_length < 1 or self.gen_length % self.block_length:
            raise ValueError(
                f"gen_length {self.gen_length} is not divisible into blocks of block_length"
                f" {self.block_length}; use a multiple of it"
            )
        # A block's share of the steps follows its length (`block_steps`), and must be whole.
        if self.steps < self.blocks or any(
            self.steps * length % self.gen_length for length in self.lengths
        ):
            raise ValueError(
                f"steps {self.steps} do not divide over {self.blocks} blocks; use"
                f" {self._steps_unit()} or a multiple of it"
            )
        if self.schedule not in ("uniform", "gaussian"):
            raise ValueError(f"unknown schedule {self.schedule!r}; known: uniform, gaussian")

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each block."""
        if isinstance(self.block_length, tuple):
            return self.block_length
        return (self.block_length,) * (self.gen_length // self.block_length)

    @cached_property
    def begins(self) -> tuple[int, ...]:
        """Canvas position each block begins at."""
        return tuple(sum(self.lengths[:block]) for block in range(self.blocks))

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.lengths)

    def block_steps(self, block: int) -> int:
        """Denoising steps of a block."""
        return self.steps * self.lengths[block] // self.gen_length

    def counts(self, block: int) -> np.ndarray:
        """Tokens committed in each step of a block; sums to the block's length."""
        spread = schedule.uniform if self.schedule == "uniform" else schedule.gaussian
        return spread(self.lengths[block], self.block_steps(block))

    @property
    def effective_steps(self) -> int:
        """Steps that commit something: forwards of full decoding without no-ops."""
        return sum(schedule.effective_steps(self.counts(block)) for block in range(self.blocks))

    def _steps_unit(self) -> int:
        """Fewest steps that give every block a whole number of steps."""
        # steps * length / gen_length is whole for each length exactly for multiples of this.
        return self.gen_length // int(np.gcd.reduce(self.lengths))
