"""The denoising loop: one forward for every row that still needs one, whatever block or step it is in."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import ExitRule
from tracedlm.decode.step import Step

DenoiserCall = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""`tokens [rows, length], attention mask, positions [rows, k] -> logits [rows, k, vocabulary]`."""


class Observes(Protocol):
    """Something that holds the similarities of the last forward; see `models.observer`."""

    latest: dict[tuple[int, str], torch.Tensor]


@dataclass(frozen=True)
class Decoded:
    """One finished sample.

    Attributes:
        sample: Index of its prompt.
        tokens: int64 [gen_length], on the CPU.
        confidence: float64 [gen_length]: probability of each token in the forward it was committed after.
        nfe: Forwards it took part in.
        token_forwards: Query tokens summed over them; padding excluded.
        stopped_at: Forwards spent in each block.
        seconds: Its share of the wall time of its forwards.
    """

    sample: int
    tokens: torch.Tensor
    confidence: torch.Tensor
    nfe: int
    token_forwards: int
    stopped_at: tuple[int, ...]
    seconds: float


class Engine:
    """State of a decoding run: a fixed number of slots, each with one sample somewhere in its canvas.

    Shape suffixes: s slots, r active rows, w prompt width, g canvas, b block.
    """

    def __init__(
        self,
        denoiser: DenoiserCall,
        prompts: Sequence[Sequence[int]],
        plan: Plan,
        make_rule: Callable[[int], ExitRule],
        *,
        mask_id: int,
        pad_id: int,
        batch_size: int = 16,
        device: torch.device | str = "cpu",
        observer: Observes | None = None,
        record: Callable[[Step], None] | None = None,
    ) -> None:
        """See `tracedlm.generate`; `make_rule` is called with the number of slots."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not prompts or any(len(prompt) == 0 for prompt in prompts):
            raise ValueError("decoding needs at least one prompt, and no prompt may be empty")
        self.denoiser, self.prompts, self.plan, self.mask_id, self.pad_id = denoiser, prompts, plan, mask_id, pad_id
        self.observer, self.record = observer, record
        slots = min(batch_size, len(prompts))
        self.rule = make_rule(slots)
        if self.rule.needs_map and observer is None:
            raise ValueError(f"exit rule {self.rule.name!r} needs a map: pass rrm=...")
        self.width = max(map(len, prompts))
        length = self.width + plan.gen_length
        self.tokens_s = torch.full((slots, length), pad_id, device=device)
        self.attention_s = torch.zeros_like(self.tokens_s)
        self.confidence_sg = torch.zeros(slots, plan.gen_length, dtype=torch.float64, device=device)
        self.sample_s = torch.zeros(slots, dtype=torch.long, device=device)
        self.block_s, self.step_s, self.nfe_s = (torch.zeros_like(self.sample_s) for _ in range(3))
        self.counts: list[list[int]] = [[] for _ in range(slots)]
        self.cursor = [0] * slots
        self.seconds, self.token_forwards = [0.0] * slots, [0] * slots
        self.stopped_at: list[list[int]] = [[] for _ in range(slots)]
        self.waiting = deque(range(len(prompts)))
        self.active: list[int] = []
        self.offsets_b = torch.arange(plan.block_length, device=device)
        self.free = list(range(slots))

    def run(self) -> Iterator[Decoded]:
        """Decode everything; samples are yielded as they finish."""
        while self.waiting or self.active:
            while self.free and self.waiting:
                self._admit(self.free.pop(0), self.waiting.popleft())
            yield from self._advance()

    def _admit(self, slot: int, sample: int) -> None:
        prompt = self.prompts[sample]
        begin = self.width - len(prompt)
        self.tokens_s[slot] = self.pad_id
        self.tokens_s[slot, begin : self.width] = torch.tensor(list(prompt), device=self.tokens_s.device)
        self.tokens_s[slot, self.width :] = self.mask_id
        self.attention_s[slot] = 0
        self.attention_s[slot, begin:] = 1
        self.sample_s[slot], self.nfe_s[slot] = sample, 0
        self.seconds[slot], self.token_forwards[slot], self.stopped_at[slot] = 0.0, 0, []
        self._open_block(slot, sample, 0)
        self.active.append(slot)

    def _open_block(self, slot: int, sample: int, block: int) -> None:
        counts = self.rule.counts(sample, block).tolist()
        self.counts[slot] = [count for count in counts if count] if self.rule.skips_noop else counts
        self.cursor[slot], self.block_s[slot], self.step_s[slot] = 0, block, 0
        self.rule.open(slot, sample, block)

    @torch.inference_mode()
    def _advance(self) -> Iterator[Decoded]:
        """One forward over the active rows, commits, exits, and the samples that are finished by them."""
        started = time.perf_counter()
        rows = torch.tensor(self.active, device=self.tokens_s.device)
        tokens_r, attention_r = self.tokens_s[rows], self.attention_s[rows]
        position_rb = self.width + self.block_s[rows, None] * self.plan.block_length + self.offsets_b
        # float64 before the softmax: saturated float32 confidences tie, and ties would order the commits.
        log_probs_rbv = self.denoiser(tokens_r, attention_r, position_rb).double().log_softmax(-1)
        log_confidence_rb, prediction_rb = log_probs_rbv.max(-1)
        visible_rg = tokens_r[:, self.width :] != self.mask_id
        masked_rb = tokens_r.gather(1, position_rb) == self.mask_id
        quota_r = torch.tensor([self.counts[slot][self.cursor[slot]] for slot in self.active], device=rows.device)
        commit_rb = most_confident(log_confidence_rb, masked_rb, quota_r)
        self.nfe_s[rows] += 1
        self.step_s[rows] += 1
        similarity = {key: value[:, self.width :] for key, value in self.observer.latest.items()} if self.observer else {}
        step = Step(
            rows, self.sample_s[rows], self.nfe_s[rows], self.block_s[rows], self.step_s[rows], visible_rg, masked_rb,
            log_probs_rbv, prediction_rb, log_confidence_rb.exp(), commit_rb, similarity,
        )  # fmt: skip
        stop_r = self.rule.stops(step)
        write_rb = torch.where(stop_r[:, None], masked_rb, commit_rb)
        self._write(rows, position_rb, write_rb, step)
        if self.record is not None:
            self.record(step if not bool(stop_r.any()) else _with_commits(step, write_rb))
        stops = stop_r.tolist()
        share = (time.perf_counter() - started) / len(self.active)
        for row, slot in enumerate(tuple(self.active)):
            self.seconds[slot] += share
            self.token_forwards[slot] += len(self.prompts[int(self.sample_s[slot])]) + self.plan.gen_length
            self.cursor[slot] += 1
            if stops[row] or self.cursor[slot] == len(self.counts[slot]):
                yield from self._close_block(slot)

    def _write(self, rows: torch.Tensor, position_rb: torch.Tensor, write_rb: torch.Tensor, step: Step) -> None:
        tokens_r, confidence_r = self.tokens_s[rows], self.confidence_sg[rows]
        tokens_r.scatter_(1, position_rb, torch.where(write_rb, step.prediction_rb, tokens_r.gather(1, position_rb)))
        canvas_rb = position_rb - self.width
        confidence_r.scatter_(1, canvas_rb, torch.where(write_rb, step.confidence_rb, confidence_r.gather(1, canvas_rb)))
        self.tokens_s[rows], self.confidence_sg[rows] = tokens_r, confidence_r

    def _close_block(self, slot: int) -> Iterator[Decoded]:
        sample, block = int(self.sample_s[slot]), int(self.block_s[slot])
        self.stopped_at[slot].append(int(self.step_s[slot]))
        if block + 1 < self.plan.blocks:
            self._open_block(slot, sample, block + 1)
            return
        self.active.remove(slot)
        self.free.append(slot)
        yield Decoded(
            sample,
            self.tokens_s[slot, self.width :].cpu().clone(),
            self.confidence_sg[slot].cpu().clone(),
            int(self.nfe_s[slot]),
            self.token_forwards[slot],
            tuple(self.stopped_at[slot]),
            self.seconds[slot],
        )


def most_confident(log_confidence: torch.Tensor, eligible: torch.Tensor, quota: torch.Tensor) -> torch.Tensor:
    """The `quota` most confident eligible positions of each row; ties go to the earlier position.

    Args:
        log_confidence: [rows, positions].
        eligible: bool [rows, positions].
        quota: int [rows].

    Returns:
        bool [rows, positions].
    """
    order = log_confidence.masked_fill(~eligible, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return eligible & (rank < quota[:, None])


def _with_commits(step: Step, commit_rb: torch.Tensor) -> Step:
    """The step with what an exit filled counted among its commits."""
    return Step(**{**vars(step), "commit_rb": commit_rb})
