"""Rule `flip_audit`: each exit undone.

Which tokens and answers it changed, and whether a certificate had anything to say of it.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from tracedlm.config import FlipAudit
from tracedlm.decode.engine import Engine
from tracedlm.decode.rules import make_rule
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import NoSettings, settings_of
from tracedlm.decode.slot import Decoded, Start
from tracedlm.decode.step import Step
from tracedlm.progress import counted
from tracedlm.records.flip_audit import FLIPS
from tracedlm.records.manifest import code_digest
from tracedlm.records.parquet import write_table
from tracedlm.stages.exits.decoding import Bench, Setup
from tracedlm.theory.certificate import BOUNDS, certificates


@dataclass(frozen=True)
class Stop:
    """Where a rule stopped a sample.

    Attributes:
        sample, block: Which sample, in which block.
        steps: Forwards of the block before the one after which it stopped.
        visible: bool [gen_length]: unmasked before that forward.
        filled: bool [gen_length]: the masks that the stop had to fill.
        window_similarity: [forwards, gen_length], the latest last; at most omega + 1. None where
            the rule reads no alignment.
        window_visible: bool, same shape.
    """

    sample: int
    block: int
    steps: int
    visible: np.ndarray
    filled: np.ndarray
    window_similarity: np.ndarray | None
    window_visible: np.ndarray


class StopRecorder:
    """Notes every stop, with the state it left, and the last omega + 1 readings of its sample."""

    def __init__(self, omega: int) -> None:
        self.stops: list[Stop] = []
        self._windows: dict[int, deque[tuple[np.ndarray | None, np.ndarray]]] = defaultdict(
            lambda: deque(maxlen=omega + 1)
        )

    def __call__(self, step: Step) -> None:
        """Record one forward of every active row."""
        assert step.stop_r is not None
        visible, similarity = step.visible_rg.cpu().numpy(), _similarity(step)
        masked, position = step.masked_rk.cpu().numpy(), step.position_rk.cpu().numpy()
        facts = torch.stack(
            [step.sample_r, step.block_r, step.block_step_r, step.stop_r.long()], dim=1
        ).tolist()
        for row, (sample, block, block_step, stopped) in enumerate(facts):
            window = self._windows[sample]
            window.append((None if similarity is None else similarity[row], visible[row]))
            if stopped:
                filled = np.zeros_like(visible[row])
                filled[position[row][masked[row]]] = True
                read, seen = zip(*window, strict=True)
                known = None if similarity is None else np.stack(read)
                self.stops.append(
                    Stop(
                        sample,
                        block,
                        steps=block_step - 1,
                        visible=visible[row],
                        filled=filled,
                        window_similarity=known,
                        window_visible=np.stack(seen),
                    )
                )


@final
class Schedule(ExitRule[NoSettings]):
    """The schedule of a rule without its exits."""

    name = "schedule"

    def __init__(self, rule: ExitRule[Any]) -> None:
        super().__init__(rule.plan, rule.slots, NoSettings())
        self.rule = rule

    def counts(self, sample: int, block: int) -> np.ndarray:
        """The rule's, without steps that commit nothing."""
        counts = self.rule.counts(sample, block)
        return counts[counts > 0]


def audit_flips(setup: Setup, audit: FlipAudit, tau: float, threads: int, out: Path) -> None:
    """Decode with each rule of the audit, undo each of its exits, and write a row for each."""
    torch.set_num_threads(threads)
    setup = setup.of_set(rules=("full", *audit.rules))
    # What is stale in a cache would be a second cause of flips.
    decode = setup.decode.model_copy(update={"reuse": "none"})
    bench = Bench(replace(setup, decode=decode), "test", audit.samples)
    rows = [
        row
        for name in audit.rules
        for row in audited(bench, name, setup.exits.settings(name), audit, tau)
    ]
    facts = {
        "samples": str(len(bench.prompts)),
        "delta": repr(audit.delta),
        "omega": str(audit.omega),
        "tau": repr(tau),
    }
    write_table(out, rows, FLIPS, {**facts, "code": code_digest("exits.flip_audit")})


def audited(
    bench: Bench, name: str, settings: dict[str, Any], audit: FlipAudit, tau: float
) -> list[dict[str, Any]]:
    """A row for each early exit of a rule."""
    recorder, schedule = (
        StopRecorder(audit.omega),
        Schedule(make_rule(name, bench.plan, 1, **settings)),
    )
    final = bench.run(name, settings, recorder)
    early = [
        stop
        for stop in recorder.stops
        if stop.filled.sum() > schedule.counts(stop.sample, stop.block)[stop.steps]
    ]
    stops = sorted(early, key=lambda stop: (stop.sample, stop.block))
    without = undone(bench, schedule, stops, final)
    # Undoing the next exit of a sample keeps this one and takes none after it; the last one is
    # followed by none in any case.
    last = [stop.sample != later.sample for stop, later in pairwise(stops)] + [True]
    with_exit = [final[stop.sample] if last[n] else without[n + 1] for n, stop in enumerate(stops)]
    flips = [
        one != other
        for one, other in zip(bench.answers(with_exit), bench.answers(without), strict=True)
    ]
    certified = _certified(stops, audit, tau)
    return [
        {
            "rule": name,
            "label": settings_of(name, **settings).label(name),
            "sample_id": stop.sample,
            "block": stop.block,
            "block_step": stop.steps + 1,
            "scheduled": len(schedule.counts(stop.sample, stop.block)),
            "filled": int(stop.filled.sum()),
            "token_flips": int(
                (final[stop.sample].tokens != without[n].tokens).numpy()[stop.filled].sum()
            ),
            "answer_flip": flips[n],
            **{
                f"certified_{bound}": None if flags is None else bool(flags[n])
                for bound, flags in certified.items()
            },
        }
        for n, stop in enumerate(stops)
    ]


def undone(
    bench: Bench, schedule: Schedule, stops: Sequence[Stop], final: Sequence[Decoded]
) -> list[Decoded]:
    """Each sample as it would have ended had it not stopped there, nor after it.

    Decoded on from the very state it stopped in.

    The state is that before the stop's forward, which is made again. It is known from the finished
    text: a token that is written is never changed.
    """
    if not stops:
        return []
    denoiser, mask = bench.denoiser, bench.denoiser.mask_id
    engine = Engine(
        denoiser,
        [bench.prompts[stop.sample] for stop in stops],
        bench.plan,
        lambda slots: schedule,
        mask_id=mask,
        pad_id=denoiser.tokenizer.pad_token_id,
        batch_size=bench.how["batch_size"],
        device=denoiser.device,
        starts=[
            Start(
                torch.where(torch.from_numpy(stop.visible), final[stop.sample].tokens, mask),
                stop.block,
                stop.steps,
            )
            for stop in stops
        ],
    )
    done = sorted(
        counted(engine.run(), "exits undone", "exit", len(stops)), key=lambda one: one.sample
    )
    return [replace(one, sample=stop.sample) for one, stop in zip(done, stops, strict=True)]


def _certified(stops: Sequence[Stop], audit: FlipAudit, tau: float) -> dict[str, np.ndarray | None]:
    """Which stops each bound certifies, from the readings up to the stop.

    None where the rule reads no alignment.
    """
    read = [stop.window_similarity for stop in stops if stop.window_similarity is not None]
    if len(read) < len(stops) or not stops:
        return dict.fromkeys(BOUNDS)
    similarity, visible = (
        _stacked(windows, audit.omega + 1)
        for windows in (read, [stop.window_visible for stop in stops])
    )
    flags = certificates(similarity, visible, audit.delta, audit.omega, tau)
    return {bound: getattr(flags, bound)[:, -1] for bound in BOUNDS}


def _stacked(windows: Sequence[np.ndarray], length: int) -> np.ndarray:
    """[stops, length, gen_length].

    Before the first forward of a sample that has had too few, steps that see nothing.
    """
    return np.stack([np.pad(window, ((length - len(window), 0), (0, 0))) for window in windows])


def _similarity(step: Step) -> np.ndarray | None:
    """What the RAD is made of: [rows, gen_length]; None where the rule reads something else."""
    if len(step.readings) != 1:
        return None
    (reading,) = step.readings.values()
    return (reading[..., 0] if reading.ndim == 3 else reading).double().cpu().numpy()
