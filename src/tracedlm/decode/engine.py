"""The denoising loop.

One forward for every row that still needs one, whatever block or step it is in.
"""

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from tracedlm.decode.commit import most_confident, predict
from tracedlm.decode.forward import DenoiserCall, Forward, Observes, Reuses, guided
from tracedlm.decode.phases import phase
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import ExitRule
from tracedlm.decode.slot import Decoded, Slot, Start
from tracedlm.decode.step import Step


class _RowFacts(NamedTuple):
    """What the device must know of each row, int64 [r] each; on the host, of one row."""

    slot: torch.Tensor
    sample: torch.Tensor
    nfe: torch.Tensor
    block: torch.Tensor
    block_step: torch.Tensor
    quota: torch.Tensor
    polishing: torch.Tensor
    begin: torch.Tensor
    end: torch.Tensor


class Engine:
    """A decoding run: a fixed number of slots, each with one sample somewhere in its canvas.

    Where every row is, is known on the host; each step sends it to the device in one copy, and gets
    back in one copy which rows stop and how many masks they have left. A finished sample leaves its
    slot to a waiting one at once.

    Shape suffixes: s slots, r active rows, g canvas, k tokens in view, v vocabulary.
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
        temperature: float = 0.0,
        guidance: float = 0.0,
        seed: int = 0,
        samples: Sequence[int] | None = None,
        starts: Sequence[Start] | None = None,
        make_reuse: Callable[[int, int], Reuses] | None = None,
    ) -> None:
        """See `tracedlm.generate`.

        `make_rule` is called with the number of slots, `make_reuse` also with the tokens of a row;
        `samples` numbers the prompts (default: from 0); `starts` are canvases to go on from, one a
        prompt (default: all masks).
        """
        _check_arguments(prompts, batch_size, temperature, guidance)
        slots = min(batch_size, len(prompts))
        numbers = range(len(prompts)) if samples is None else samples
        masks = Start(torch.full((plan.gen_length,), mask_id))
        self.prompts = dict(zip(numbers, prompts, strict=True))
        self.starts = dict(zip(numbers, starts or [masks] * len(prompts), strict=True))
        self.seeds = dict(zip(numbers, _seeds(prompts, seed), strict=True))
        self.plan = plan
        self.mask_id = mask_id
        self.pad_id = pad_id
        self.record = record
        self.temperature = temperature
        self.device = torch.device(device)
        self.rule = make_rule(slots)
        polishes = [self.rule.polish(block) > 0 for block in range(plan.blocks)]
        _check_rule(
            self.rule,
            is_observed=observer is not None,
            polishes=any(polishes),
            guidance=guidance,
            reuses=make_reuse is not None,
        )
        if guidance:
            denoiser = guided(denoiser, plan.gen_length, mask_id, guidance)
        self.forward = Forward(denoiser, observer)
        self.forwards_per_step = 2 if guidance else 1
        # Prompts end where the canvas begins, so that every row's canvas lies in the same columns.
        self.width = max(map(len, prompts))
        length = self.width + plan.gen_length
        self.tokens_s = torch.full((slots, length), pad_id, device=self.device)
        self.attention_s = torch.zeros_like(self.tokens_s)
        self.reuse = make_reuse(slots, length) if make_reuse else None
        self.confidence_sg = self.tokens_s.new_zeros((slots, plan.gen_length), dtype=torch.float64)
        view = plan.gen_length if self.rule.scope == "canvas" else max(plan.lengths)
        self.view_k = torch.arange(view, device=self.device)
        self.polished_b = torch.tensor(polishes, device=self.device)
        self.waiting, self.active = deque(self.prompts), list[Slot]()
        self.free = list(range(slots))

    @torch.inference_mode()
    def run(self) -> Iterator[Decoded]:
        """Decode everything; samples are yielded as they finish."""
        while self.waiting or self.active:
            while self.free and self.waiting:
                self._admit(self.free.pop(0), self.waiting.popleft())
            with phase("host"):  # of which the others take their parts
                done = self._advance()
            yield from done

    def _admit(self, index: int, sample: int) -> None:
        prompt, start = self.prompts[sample], self.starts[sample]
        begin = self.width - len(prompt)
        tokens = [self.pad_id] * begin + list(prompt) + start.tokens.tolist()
        self.tokens_s[index] = torch.tensor(tokens, device=self.device)
        self.attention_s[index] = (torch.arange(len(tokens), device=self.device) >= begin).long()
        self.confidence_sg[index] = torch.nan
        slot = Slot(
            index, sample, len(prompt), torch.Generator(self.device).manual_seed(self.seeds[sample])
        )
        slot.stopped_at = [0] * start.block
        self.active.append(slot)
        self._open_block(slot, start.block, start.tokens, start.steps)

    def _open_block(
        self, slot: Slot, block: int, canvas_g: torch.Tensor | None, done: int = 0
    ) -> None:
        """Start on a block.

        Masks before the block count too: a model may predict one, and LLaDA's sampler revisits it.
        """
        counts = self.rule.counts(slot.sample, block).tolist()
        if self.rule.skips_noop:
            counts = [count for count in counts if count]
        # With reuse, earlier blocks are not computed, and their masks stay.
        before = []
        if canvas_g is not None and not self.reuse:
            before = canvas_g[: self.plan.begins[block]].tolist()
        behind = [position for position, token in enumerate(before) if token == self.mask_id]
        slot.open(block, counts[done:], behind)
        self.rule.open(slot.index, slot.sample, block)

    def _advance(self) -> list[Decoded]:
        """One forward over the active rows, commits, exits.

        The samples that are finished by them.
        """
        started = time.perf_counter()
        slots = tuple(self.active)
        step, polishing_r, computed = self._step(slots)
        with phase("rule"):
            commit_rk = self.rule.commits(step)
            stop_r = self.rule.stops(step) & ~polishing_r
        with phase("commit"):
            fill_r = stop_r & ~self.polished_b[step.block_r]
            write_rk = torch.where(fill_r[:, None], step.masked_rk, commit_rk)
            self._write(step, write_rk)
        if self.record is not None:
            self.record(replace(step, scheduled_rk=write_rk, stop_r=stop_r))
        # A model may predict the mask, which leaves the position to be filled.
        filled_rk = write_rk & (step.prediction_rk != self.mask_id)
        left_rk = step.eligible_rk & ~filled_rk
        left_here_rk = left_rk & step.in_block_rk
        # The step's one transfer to the host.
        facts = [stop_r.long(), left_rk.sum(1), left_here_rk.sum(1), _broken(step).long()]
        host_facts = torch.stack(facts).tolist()
        stops, left, left_here = host_facts[:3]
        broken = host_facts[3]
        if any(broken):
            slot = slots[broken.index(1)]
            raise ValueError(
                f"what the model computed for sample {slot.sample} in forward {slot.nfe + 1} is not"
                " finite (NaN or infinity): its weights or its adapter hold such numbers, as after"
                " a fine-tuning that diverged, or the precision overflows; try dtype float32"
            )
        seconds = (time.perf_counter() - started) / len(slots)
        done = []
        for slot, stop, masks, here, tokens in zip(
            slots, stops, left, left_here, computed, strict=True
        ):
            # Padding is computed with a batch, and is not the sample's.
            tokens = min(tokens, slot.prompt_length + self.plan.gen_length)
            slot.advance(seconds, self.forwards_per_step * tokens)
            polish = self.rule.polish(slot.block) if stop else 0
            if polish and masks:
                slot.polish(masks, polish)
            # A rule that commits on its own is done when its block is full; no block can take more
            # forwards than it has tokens.
            if self.rule.commits_itself and not slot.polishing:
                over = not here or slot.block_step >= self.plan.lengths[slot.block]
            else:
                over = slot.cursor >= len(slot.counts)
            if over or (stop and not slot.polishing):
                done += self._close_block(slot, bool(stop), masks)
        return done

    def _step(self, slots: Sequence[Slot]) -> tuple[Step, torch.Tensor, list[int]]:
        """Run the forward.

        Also says which rows are polishing, and how many tokens were computed for each.
        """
        plan = self.plan
        facts = [self._facts(slot) for slot in slots]
        # One copy to the device a step, whatever the number of rows and of facts.
        facts_r = torch.tensor(facts).to(self.device, non_blocking=True).T
        row_facts = _RowFacts(*facts_r)
        rows, begin = row_facts.slot, row_facts.begin
        # Columns that are padding in every row are left out.
        cut = self.width - max(slot.prompt_length for slot in slots)
        tokens = self.tokens_s[rows, cut:]
        attention = self.attention_s[rows, cut:]
        canvas_rg = tokens[:, -plan.gen_length :]
        position_rk = self._view(slots, begin)
        reached_rk = position_rk < row_facts.end[:, None]
        in_block_rk = reached_rk & (position_rk >= begin[:, None])
        # A short block's view may run past the canvas.
        position_rk = position_rk.clamp(max=plan.gen_length - 1)
        with phase("forward"):
            if self.reuse is None:
                logits, readings = self.forward(tokens, attention, position_rk + (self.width - cut))
                computed = [tokens.shape[1]] * len(slots)
            else:
                logits, readings, computed = self.reuse(
                    tokens=self.tokens_s[rows],
                    attention=self.attention_s[rows],
                    positions=position_rk + self.width,
                    slots=rows,
                    begin=begin + self.width,
                    fresh=[slot.block_step == 0 for slot in slots],
                )
        with phase("head_and_softmax"):
            generators = [slot.generator for slot in slots]
            prediction, log_confidence = predict(logits, self.temperature, generators)
        tokens_rk = canvas_rg.gather(1, position_rk)
        masked_rk = (tokens_rk == self.mask_id) & (reached_rk | (self.rule.scope == "canvas"))
        step = Step(
            slots=len(self.tokens_s),
            slot_r=rows,
            sample_r=row_facts.sample,
            nfe_r=row_facts.nfe,
            block_r=row_facts.block,
            block_step_r=row_facts.block_step,
            visible_rg=canvas_rg != self.mask_id,
            position_rk=position_rk,
            in_block_rk=in_block_rk,
            tokens_rk=tokens_rk,
            masked_rk=masked_rk,
            eligible_rk=masked_rk & reached_rk,
            logits_rkv=logits,
            prediction_rk=prediction,
            log_confidence_rk=log_confidence,
            scheduled_rk=most_confident(log_confidence, masked_rk & reached_rk, row_facts.quota),
            readings={key: value[:, -plan.gen_length :] for key, value in readings.items()},
        )
        return step, row_facts.polishing.bool(), computed

    def _facts(self, slot: Slot) -> tuple[int, ...]:
        """What the device must know of a row, in the order of `_RowFacts`."""
        begin = self.plan.begins[slot.block]
        return (
            slot.index,
            slot.sample,
            slot.nfe + 1,
            slot.block,
            slot.block_step + 1,
            slot.quota,
            slot.polishing,
            begin,
            begin + self.plan.lengths[slot.block],
        )

    def _view(self, slots: Sequence[Slot], begin_r: torch.Tensor) -> torch.Tensor:
        """Canvas positions that each row looks at, [r, k]; some may lie past the canvas."""
        if self.rule.scope == "canvas":
            return self.view_k.expand(len(slots), -1)
        position_rk = begin_r[:, None] + self.view_k
        # Masks left behind in earlier blocks compete again, as in LLaDA's sampler. Rows with fewer
        # look past the canvas, at nothing.
        most = max(len(slot.behind) for slot in slots)
        if not most:
            return position_rk
        nothing = self.plan.gen_length
        behind = [slot.behind + [nothing] * (most - len(slot.behind)) for slot in slots]
        behind_rk = torch.tensor(behind).to(self.device, non_blocking=True)
        return torch.cat([position_rk, behind_rk], 1)

    def _write(self, step: Step, write_rk: torch.Tensor) -> None:
        # Positions that are not written go to a column of their own: a short block's view may end
        # in repeated positions.
        at = torch.where(write_rk, step.position_rk, self.plan.gen_length)
        confidence_rk = step.log_confidence_rk.exp()
        for state, begin, values in (
            (self.tokens_s, self.width, step.prediction_rk),
            (self.confidence_sg, 0, confidence_rk),
        ):
            canvas = torch.nn.functional.pad(state[step.slot_r, begin:], (0, 1)).scatter_(
                1, at, values
            )
            state[step.slot_r, begin:] = canvas[:, :-1]

    def _close_block(self, slot: Slot, stop: bool, masks: int) -> list[Decoded]:
        """Go on to the next block; without one, leave the slot: the finished sample."""
        slot.stopped_at.append(slot.block_step)
        if stop and self.rule.scope == "canvas":
            slot.stopped_at += [0] * (self.plan.blocks - slot.block - 1)
        if len(slot.stopped_at) < self.plan.blocks:
            self._open_block(
                slot, slot.block + 1, self.tokens_s[slot.index, self.width :] if masks else None
            )
            return []
        self.active.remove(slot)
        self.free.append(slot.index)
        return [
            Decoded(
                sample=slot.sample,
                tokens=self.tokens_s[slot.index, self.width :].cpu().clone(),
                confidence=self.confidence_sg[slot.index].cpu().clone(),
                nfe=slot.nfe,
                token_forwards=slot.token_forwards,
                stopped_at=tuple(slot.stopped_at),
                seconds=slot.seconds,
            )
        ]


def _check_arguments(
    prompts: Sequence[Sequence[int]], batch_size: int, temperature: float, guidance: float
) -> None:
    """Raise a ValueError for what no decoding can start from."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not prompts or any(len(prompt) == 0 for prompt in prompts):
        raise ValueError("decoding needs at least one prompt, and no prompt may be empty")
    if temperature < 0 or guidance < 0:
        raise ValueError(
            f"temperature and guidance must not be negative, got {temperature} and {guidance}"
        )


def _check_rule(
    rule: ExitRule, *, is_observed: bool, polishes: bool, guidance: float, reuses: bool
) -> None:
    """Raise a ValueError where a rule cannot do with what the decoding offers."""
    if rule.settings.reading and not is_observed:
        raise ValueError(f"exit rule {rule.name!r} needs a map: pass rrm=...")
    if polishes and rule.commits_itself:
        raise ValueError(
            f"exit rule {rule.name!r} commits tokens without a schedule, so none is left"
            " to polish by: set polish to 0"
        )
    if reuses and (guidance or rule.scope == "canvas"):
        obstacle = (
            "guidance, which needs two forwards"
            if guidance
            else f"{rule.name}, which reads the whole canvas"
        )
        raise ValueError(f"reuse: keys and values cannot be reused with {obstacle}; set it to none")


def _broken(step: Step) -> torch.Tensor:
    """Rows whose scores, or what a map reads of their visible tokens, are not finite: bool [r].

    A confidence is NaN exactly where a score is NaN or infinite, or all are minus infinity; single
    ones may be, which suppresses a token.
    """
    broken_r = step.log_confidence_rk.isnan().any(1)
    for reading in step.readings.values():
        finite_rg = reading.isfinite().flatten(2).all(2) if reading.ndim > 2 else reading.isfinite()
        broken_r = broken_r | (~finite_rg & step.visible_rg).any(1)
    return broken_r


def _seeds(prompts: Sequence[Sequence[int]], seed: int) -> list[int]:
    """A seed per sample that depends on its prompt, not on its place.

    Equal prompts are told apart by their number.
    """
    seen: Counter[tuple[int, ...]] = Counter()
    seeds = []
    for prompt in map(tuple, prompts):
        digest = hashlib.blake2b(
            repr((seed, prompt, seen[prompt])).encode(), digest_size=8
        ).digest()
        seen[prompt] += 1
        seeds.append(int.from_bytes(digest) >> 1)
    return seeds
