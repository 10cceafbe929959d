"""What the engine keeps of each sample in flight, on the host."""

from dataclasses import dataclass, field

import torch

from tracedlm.theory import schedule


@dataclass(frozen=True)
class Decoded:
    """One finished sample.

    Attributes:
        sample: Index of its prompt.
        tokens: int64 [gen_length], on the CPU.
        confidence: float64 [gen_length]: probability of each token in the forward it was committed
            after; NaN where a start held it.
        nfe: Forwards it took part in.
        token_forwards: Query tokens summed over them; padding excluded.
        stopped_at: Forwards spent in each block; 0 where an exit filled the block before it began.
        seconds: Its share of the wall time of its forwards.
    """

    sample: int
    tokens: torch.Tensor
    confidence: torch.Tensor
    nfe: int
    token_forwards: int
    stopped_at: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Start:
    """A canvas to go on from.

    Attributes:
        tokens: int64 [gen_length]: text in all blocks before `block`, masks in all after it.
        block: Block to go on with.
        steps: Steps of that block's schedule that are done; without no-ops where the rule leaves
            them out.
    """

    tokens: torch.Tensor
    block: int = 0
    steps: int = 0


@dataclass
class Slot:
    """A row of the engine's state: one sample, somewhere in one of its blocks.

    Attributes:
        index: Row of the device arrays.
        sample, prompt_length: Which prompt, and its tokens.
        generator: Source of its draws.
        block, block_step, nfe: Where it is.
        counts, cursor: Tokens to commit in each step of the block, and the next of them.
        behind: Canvas positions of earlier blocks that are masked still, because the model
            predicted the mask there.
        polishing: Whether the block was stopped and is being filled by further forwards.
        stopped_at, seconds, token_forwards: What it cost so far.
    """

    index: int
    sample: int
    prompt_length: int
    generator: torch.Generator
    block: int = 0
    block_step: int = 0
    nfe: int = 0
    counts: list[int] = field(default_factory=list)
    cursor: int = 0
    behind: list[int] = field(default_factory=list)
    polishing: bool = False
    stopped_at: list[int] = field(default_factory=list)
    seconds: float = 0.0
    token_forwards: int = 0

    @property
    def quota(self) -> int:
        """Tokens the schedule commits in the coming step.

        A rule that commits on its own may outlast the schedule.
        """
        # Past the schedule's end a step commits one token, so that the block still fills up.
        return self.counts[self.cursor] if self.cursor < len(self.counts) else 1

    def open(self, block: int, counts: list[int], behind: list[int]) -> None:
        """Start on a block."""
        self.block, self.block_step = block, 0
        self.counts, self.cursor = counts, 0
        self.behind = behind
        self.polishing = False

    def advance(self, seconds: float, tokens: int) -> None:
        """Count a forward."""
        self.nfe += 1
        self.block_step += 1
        self.cursor += 1
        self.seconds += seconds
        self.token_forwards += tokens

    def polish(self, masks: int, forwards: int) -> None:
        """Fill the rest of the block in at most so many further forwards.

        Its masks are split evenly over them.
        """
        # No more forwards than masks, and no more than the schedule had left.
        left = min(forwards, masks, len(self.counts) - self.cursor)
        self.counts = schedule.uniform(masks, left).tolist() if left else []
        self.cursor = 0
        self.polishing = True
