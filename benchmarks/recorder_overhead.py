"""What MomentRecorder costs a training step, and what SFT itself takes at a given shape.

Prints a row of a Markdown table.

    python benchmarks/recorder_overhead.py                       # the shipped base model's shape
    # random weights on an accelerator of 40 GB or more
    python benchmarks/recorder_overhead.py --shape llada-8b

Two measurements. *Share*: seconds in the recorder over seconds of the same step, with the device
idle at both ends of each. *Slowdown*: the same number of steps with and without it, in turns, and
the ratio of each pair less one: it also sees what the recorder does to others, but carries the
machine's noise twice. On a CPU seconds are those of this process on its cores, so that other jobs
on the machine count as little as possible; on an accelerator they are wall time.
"""

import argparse
import platform
import resource
import time
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from tracedlm.models.moment_recorder import MomentRecorder

HEAD = (
    "| device | shape | examples x tokens | step, ms | recorder, ms | share, % | slowdown, % |"
    " tokens/s | peak memory, GB |"
)


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of the batch it is trained on."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    vocabulary: int
    rank: int
    examples: int
    tokens: int
    precision: torch.dtype


SHAPES = {
    "base": Shape(192, 416, 6, 4, 320, 8, 16, 176, torch.float32),
    "llada-8b": Shape(4096, 12288, 32, 32, 126464, 128, 1, 4096, torch.bfloat16),
}


class Training:
    """LoRA training on random tokens.

    Autocast and checkpointed activations in bfloat16, as SFT runs it.
    """

    def __init__(self, shape: Shape, device: torch.device, fused: bool):
        self.shape, self.device = shape, device
        config = LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.tokens,
            is_causal=False,  # pyright: ignore[reportCallIssue]
        )
        torch.manual_seed(0)
        torch.set_default_dtype(shape.precision)
        with device:
            model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
        lora = LoraConfig(
            r=shape.rank,
            lora_alpha=2 * shape.rank,
            lora_dropout=0.05,
            target_modules=["q_proj", "k_proj", "v_proj"],
        )
        self.model = get_peft_model(model, lora).train()
        if shape.precision is torch.bfloat16:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-5, weight_decay=0.1, fused=fused)
        self.tokens = torch.randint(shape.vocabulary, (shape.examples, shape.tokens), device=device)
        self.state = SimpleNamespace(global_step=0, is_world_process_zero=True)
        self.recorder = MomentRecorder()
        self.recorder.on_train_begin(None, self.state, None, model=self.model)

    def step(self, recorded: bool, timed: bool = False) -> tuple[float, float]:
        """One optimiser step.

        Seconds of all of it and of the recorder, if it is `timed`; else zeros, and nothing waits.
        """
        begin, inside = self._now(timed), 0.0
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.shape.precision is torch.bfloat16
        ):
            logits = self.model(input_ids=self.tokens, use_cache=False).logits
        functional.cross_entropy(logits.flatten(0, 1).float(), self.tokens.flatten()).backward()
        del logits
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        if recorded:
            before = self._now(timed)
            self.recorder.on_pre_optimizer_step(None, self.state, None)
            inside += self._now(timed) - before
        self.optimizer.step()
        if recorded:
            before = self._now(timed)
            self.recorder.on_optimizer_step(None, self.state, None, optimizer=self.optimizer)
            inside += self._now(timed) - before
        self.optimizer.zero_grad()
        self.state.global_step += 1
        return self._now(timed) - begin, inside

    def seconds(self, steps: int, recorded: bool) -> float:
        """Seconds of some steps, waiting for the device before the first and after the last."""
        begin = self._now()
        for _ in range(steps):
            self.step(recorded)
        return self._now() - begin

    def _now(self, timed: bool = True) -> float:
        if timed and self.device.type != "cpu":
            torch.accelerator.synchronize()
        return (
            (time.process_time if self.device.type == "cpu" else time.perf_counter)()
            if timed
            else 0.0
        )

    def peak_gigabytes(self) -> float:
        """Most memory held at once: by torch on an accelerator, by the process on a CPU."""
        if self.device.type == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return torch.accelerator.max_memory_allocated() / 2**30


def spread(values: list[float], digits: int) -> str:
    """Median with quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument(
        "--pairs", type=int, default=12, help="pairs of runs with and without the recorder"
    )
    parser.add_argument("--steps", type=int, default=5, help="optimiser steps of each run")
    parser.add_argument("--fused", action="store_true", help="adamw_torch_fused")
    for size in ("layers", "tokens", "examples"):
        parser.add_argument(f"--{size}", type=int, help=f"other number of {size} than the shape's")
    options = parser.parse_args()
    changes = {
        size: getattr(options, size)
        for size in ("layers", "tokens", "examples")
        if getattr(options, size)
    }
    shape = Shape(**{**vars(SHAPES[options.shape]), **changes})
    device = (
        torch.accelerator.current_accelerator() or torch.device("cpu")
        if torch.accelerator.is_available()
        else torch.device("cpu")
    )
    training = Training(shape, device, options.fused)
    training.seconds(3, recorded=True)  # warm up
    timed = [training.step(recorded=True, timed=True) for _ in range(options.pairs * options.steps)]
    ratios, without = [], []
    for pair in range(options.pairs):
        order = (True, False) if pair % 2 else (False, True)
        took = {recorded: training.seconds(options.steps, recorded) for recorded in order}
        ratios.append(100 * (took[True] / took[False] - 1))
        without.append(took[False] / options.steps)
    assert torch.isfinite(torch.tensor([rms for _, _, rms in training.recorder.gradients])).all()
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{platform.machine()} {device.type}, {torch.get_num_threads()} threads"
    )
    row = [
        name,
        options.shape + "".join(f", {value} {size}" for size, value in changes.items()),
        f"{shape.examples} x {shape.tokens}",
        spread([1e3 * step for step in without], 1),
        spread([1e3 * inside for _, inside in timed], 2),
        spread([100 * inside / (step - inside) for step, inside in timed], 2),
        spread(ratios, 1),
        f"{shape.examples * shape.tokens / np.median(without):,.0f}",
        f"{training.peak_gigabytes():.1f}",
    ]
    print(HEAD, "|" + " --- |" * len(row), f"| {' | '.join(row)} |", sep="\n")


if __name__ == "__main__":
    main()
