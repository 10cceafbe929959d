"""What decoding costs.

Against the published loop, with recording, with early exits, over batch sizes and lengths.

    python benchmarks/decoding.py --threads 1              # the shipped model, this machine
    # the same on a short canvas, for a busy machine
    python benchmarks/decoding.py --threads 1 --tokens 64

Both sides of a comparison run in turn, `--repeats` times, in one process; a row gives the median of
the ratios and their range, in wall time and in CPU time of the process, which other jobs on the
machine disturb less. benchmarks/gpu.py does it at LLaDA-8B's shape.
"""

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tracedlm.decode.engine import Engine
from tracedlm.decode.phases import Stopwatch, profiling
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.rules import make_rule
from tracedlm.decode.step import Step
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.observer import observing
from tracedlm.records import trace as tables
from tracedlm.records.parquet import write_table
from tracedlm.records.rrm import Rrm

EARLY = 0.44
"""Share of the forwards of full decoding that the early exits of `time_saved` take.

About what `rad` takes at EDIT's settings.
"""


class Seconds(NamedTuple):
    """Of one run."""

    wall: float
    cpu: float


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=128, help="canvas length, a multiple of 32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="*", help="names of measurements")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(
        load_denoiser("resources/base", device="cpu"), 40, options.tokens, options.repeats
    )
    print(
        f"shipped model, {options.threads} threads, canvas {options.tokens}, {options.repeats}"
        f" repeats\n\n{HEAD}"
    )
    for name, work in measurements(bench).items():
        if not options.only or name in options.only:
            work()


def measurements(bench: "Bench") -> dict[str, Callable[[], None]]:
    """By name, the most wanted first."""
    return {
        "reference_1": lambda: bench.against_reference(1),
        "reference_16": lambda: bench.against_reference(16),
        "time_saved": lambda: bench.time_saved(16),
        "recording": lambda: bench.recording(16),
        "phases": lambda: bench.phases(16),
        "roofline": lambda: bench.roofline(16),
        "trace_size": lambda: bench.trace_size(4),
        **{
            f"batch_{batch}": lambda batch=batch: bench.scaling(batch, bench.length)
            for batch in (1, 4, 16)
        },
        **{
            f"length_{times * bench.length}": lambda times=times: bench.scaling(
                4, times * bench.length
            )
            for times in (1, 2, 4)
        },
    }


class InTurn:
    """Records every other step of a run.

    A busy machine is hardly busier for a step than for the next, as it is for whole runs.
    """

    def __init__(self) -> None:
        self.recorder, self.marks = TraceRecorder(), list[Seconds]()

    def __call__(self, step: Step) -> None:
        """Record this step, or only note when it ended."""
        if len(self.marks) % 2:
            self.recorder(step)
        _synchronise()
        self.marks.append(Seconds(time.perf_counter(), time.process_time()))

    def ratio(self) -> Seconds:
        """Median step that was recorded over median step that was not."""
        steps = np.diff(self.marks, axis=0)
        return Seconds(*np.median(steps[::2], axis=0) / np.median(steps[1::2], axis=0))


class Bench:
    """Timings of one model whose prompts are random tokens; T = G / 2, blocks of 32 tokens."""

    def __init__(self, denoiser: Denoiser, prompt_tokens: int, length: int, repeats: int) -> None:
        self.denoiser, self.prompt_tokens, self.length, self.repeats = (
            denoiser,
            prompt_tokens,
            length,
            repeats,
        )
        usable = [
            token
            for token in range(10, min(denoiser.causal_lm.config.vocab_size, 10_000))
            if token != denoiser.mask_id
        ]
        rng = random.Random(0)
        self.prompts = [rng.choices(usable, k=prompt_tokens) for _ in range(64)]
        heads = denoiser.causal_lm.config
        width, last = heads.hidden_size, heads.num_hidden_layers - 1
        u = np.random.default_rng(0).normal(size=width).astype(np.float32)
        self.map = Rrm(
            u / np.linalg.norm(u),
            np.eye(width, 2, dtype=np.float32),
            last,
            "q",
            "B",
            "moments",
            "raw",
        )

    def run(
        self,
        batch: int,
        rule: str = "full",
        record: Callable[[Step], None] | None = None,
        samples: int | None = None,
        length: int = 0,
        **settings: float,
    ) -> float:
        """Mean forwards of a decoding run.

        With a recorder, or a rule that reads a map, the last layer's q is observed.
        """
        length = length or self.length
        plan, device = Plan(length, 32, length // 2), self.denoiser.device
        make = partial(make_rule, rule, plan, **settings)
        with ExitStack() as stack:
            observed = record is not None or rule == "rad"
            observer = (
                stack.enter_context(observing(self.denoiser, [self.map])) if observed else None
            )
            ids = {
                "mask_id": self.denoiser.mask_id,
                "pad_id": self.denoiser.causal_lm.config.pad_token_id,
            }
            prompts = self.prompts[: samples or batch]
            engine = Engine(
                self.denoiser,
                prompts,
                plan,
                make,
                **ids,
                batch_size=batch,
                device=device,
                observer=observer,
                record=record,
            )
            done = list(engine.run())
        return sum(one.nfe for one in done) / len(done)

    @torch.no_grad()
    def reference(self, batch: int) -> None:
        """LLaDA's published loop on one prompt after another.

        Logits of the whole text, float64 softmax over all of them.
        """
        for prompt in self.prompts[:batch]:
            _llada(
                self.denoiser.causal_lm,
                self.denoiser.mask_id,
                prompt,
                self.length,
                32,
                self.length // 2,
            )

    def against_reference(self, batch: int) -> None:
        """Reference loop over ours, per sample."""
        ratios = self._pairs(lambda: self.reference(batch), lambda: self.run(batch))
        _row(
            f"published loop / ours, full, batch {batch}", ratios, ">= 1" if batch == 1 else ">= 3"
        )

    def recording(self, batch: int) -> None:
        """With a map observed and a trace recorded, over without."""
        ratios = self._pairs(
            lambda: self.run(batch, record=TraceRecorder()), lambda: self.run(batch)
        )
        _row(f"recording and observing on / off, batch {batch}", ratios, "< 1.1, at 8B < 1.02")
        turns = [InTurn() for _ in range(self.repeats)]
        for turn in turns:
            self.run(batch, record=turn)
        _row(
            f"a recorded step / one that is not, both observed, batch {batch}",
            [turn.ratio() for turn in turns],
            "< 1.1, at 8B < 1.02",
        )

    def time_saved(self, batch: int) -> None:
        """Share of time saved over share of forwards saved; samples stop at different steps."""
        early = {"rule": "random", "forwards": EARLY * self.length / 2}
        forwards = self.run(batch, samples=2 * batch, **early)
        pairs = self._pairs(
            lambda: self.run(batch, samples=2 * batch, **early),
            lambda: self.run(batch, samples=2 * batch),
        )
        kept = [
            Seconds(*((1 - ratio) / (1 - 2 * forwards / self.length) for ratio in pair))
            for pair in pairs
        ]
        _row(
            f"time saved / forwards saved, random at {forwards:.1f} of {self.length // 2}, batch"
            f" {batch}",
            kept,
            ">= 0.95",
        )

    def phases(self, batch: int) -> None:
        """Shares of a step of `rad`, and whether they sum to the step."""
        watch, recorded = Stopwatch(steps=10**9), []
        with profiling(watch):
            recorded.append(_timed(lambda: self.run(batch, "rad", delta=1e-12, omega=3)))
        total = sum(watch.seconds.values())
        for name, seconds in watch.seconds.items():
            _row(
                f"share of a step, rad, batch {batch}: {name}",
                [Seconds(seconds / total, float("nan"))],
                "",
            )
        _row("sum of phases / run", [Seconds(total / recorded[0].wall, float("nan"))], "0.95-1")

    def roofline(self, batch: int) -> None:
        """Time of the products that full decoding cannot do without, over its time.

        At the rate of the model's largest layer alone.
        """
        layer = max(
            (
                one
                for one in self.denoiser.causal_lm.model.modules()
                if isinstance(one, torch.nn.Linear)
            ),
            key=lambda one: one.weight.numel(),
        )
        tokens = batch * (self.prompt_tokens + self.length)
        x = torch.randn(
            tokens, layer.in_features, device=self.denoiser.device, dtype=layer.weight.dtype
        )
        body = sum(
            weight.numel()
            for name, weight in self.denoiser.causal_lm.model.named_parameters()
            if "embed" not in name
        )

        @torch.inference_mode()
        def alone() -> None:
            for _ in range(20):
                layer(x)

        ratios, rates = [], []
        for _ in range(self.repeats):
            peak, whole = _timed(alone), _timed(lambda: self.run(batch))
            least = body / (20 * layer.weight.numel()) * self.length / 2
            ratios.append(Seconds(peak.wall * least / whole.wall, peak.cpu * least / whole.cpu))
            work = 2 * body * tokens * self.length / 2 / 1e12
            rates.append(Seconds(work / whole.wall, work / whole.cpu))
        _row(f"least time / time, full, batch {batch}", ratios, "at 8B >= 0.67")
        _row(f"TFLOP/s, 2 x parameters x tokens, full, batch {batch}", rates, "")

    def trace_size(self, batch: int) -> None:
        """Bytes of a trace as Parquet over those as JSON lines."""
        recorder = TraceRecorder()
        self.run(batch, record=recorder)
        rows = [row for sample in range(batch) for row in recorder.take(sample)[1]]
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / "readouts.parquet", rows, tables.READOUTS)
            size = (Path(folder) / "readouts.parquet").stat().st_size
        lines = sum(len(json.dumps(row, default=np.ndarray.tolist)) + 1 for row in rows)
        _row(
            f"bytes of readouts, Parquet / JSON lines ({size} bytes)",
            [Seconds(size / lines, float("nan"))],
            "",
        )

    def scaling(self, batch: int, length: int) -> None:
        """Seconds per sample."""
        times = [_timed(lambda: self.run(batch, length=length)) for _ in range(self.repeats)]
        _row(
            f"seconds per sample, full, batch {batch}, canvas {length}",
            [Seconds(one.wall / batch, one.cpu / batch) for one in times],
            "",
        )

    def _pairs(self, one: Callable[[], object], other: Callable[[], object]) -> list[Seconds]:
        """Ratios of one to the other, after a first run of each."""
        one()
        other()
        ratios = []
        for turn in range(self.repeats):
            found = {work: _timed(work) for work in ((one, other) if turn % 2 else (other, one))}
            ratios.append(
                Seconds(found[one].wall / found[other].wall, found[one].cpu / found[other].cpu)
            )
        return ratios


def _llada(
    model: torch.nn.Module, mask_id: int, prompt: list[int], length: int, block: int, steps: int
) -> torch.Tensor:
    device = next(model.parameters()).device
    tokens = torch.tensor([prompt + [mask_id] * length], device=device)
    for first in range(len(prompt), len(prompt) + length, block):
        for count in [length // steps] * (steps * block // length):
            logits = model(input_ids=tokens).logits
            best = logits.argmax(-1)
            confidence = logits.double().softmax(-1).gather(-1, best[..., None])[..., 0]
            confidence[:, first + block :] = -torch.inf
            confidence = confidence.masked_fill(tokens != mask_id, -torch.inf)
            chosen = confidence[0].topk(count).indices
            tokens[0, chosen] = best[0, chosen]
    return tokens


def _synchronise() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _timed(work: Callable[[], object]) -> Seconds:
    _synchronise()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    _synchronise()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


HEAD = "| measured | wall | CPU | target |\n| --- | --- | --- | --- |"


def _row(name: str, values: list[Seconds], target: str) -> None:
    sides = zip(*values, strict=True)
    cells = (
        (
            ""
            if math.isnan(side[0])
            else f"{statistics.median(side):.4g} ({min(side):.3g}-{max(side):.3g})"
        )
        for side in sides
    )
    print(f"| {name} | {' | '.join(cells)} | {target} |", flush=True)


if __name__ == "__main__":
    main()
