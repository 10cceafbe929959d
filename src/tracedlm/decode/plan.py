"""The canvas, its blocks and how many tokens each step commits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tracedlm.theory import schedule


@dataclass(frozen=True)
class Plan:
    """Semi-autoregressive block decoding of one canvas length.

    Attributes:
        gen_length: Tokens of the canvas, G.
        block_length: Tokens per block.
        steps: Total denoising steps T, shared equally by the blocks.
        schedule: How a block's commits are spread over its steps (method.md section 2).
    """

    gen_length: int
    block_length: int
    steps: int
    schedule: Literal["uniform", "gaussian"] = "uniform"

    def __post_init__(self) -> None:
        if self.gen_length < 1 or self.block_length < 1 or self.gen_length % self.block_length:
            raise ValueError(f"gen_length {self.gen_length} is not divisible into blocks of block_length {self.block_length}")
        if self.steps < self.blocks or self.steps % self.blocks:
            raise ValueError(f"steps {self.steps} do not divide over {self.blocks} blocks; use a multiple of {self.blocks}")
        if self.schedule not in ("uniform", "gaussian"):
            raise ValueError(f"unknown schedule {self.schedule!r}; known: uniform, gaussian")

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.gen_length // self.block_length

    @property
    def block_steps(self) -> int:
        """Denoising steps per block."""
        return self.steps // self.blocks

    def counts(self) -> np.ndarray:
        """Tokens committed in each step of a block; sums to the block length."""
        spread = schedule.uniform if self.schedule == "uniform" else schedule.gaussian
        return spread(self.block_length, self.block_steps)
