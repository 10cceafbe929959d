"""How training shows what it does: a bar on a terminal, a line now and then where the output goes to a file."""

import sys
import time
from datetime import timedelta
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

BETWEEN_LINES = 15.0
"""Seconds between two lines of a log file; the first and the last step always get one."""


class Progress(TrainerCallback):
    """Loss, gradient norm, learning rate, throughput and time left, on standard error of the first process.

    Attributes:
        tokens: Tokens this process has put through the model, padding included; whoever trains adds to it.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.bar: Any = None
        self.started = self.shown = 0.0
        self.first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, and the bar where someone watches."""
        self.tokens, self.first, self.started, self.shown = 0, state.global_step, time.monotonic(), -BETWEEN_LINES
        if state.is_world_process_zero and sys.stderr.isatty():
            self.bar = tqdm(total=state.max_steps, initial=self.first, desc="training", unit="step", dynamic_ncols=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show what was logged."""
        if not state.is_world_process_zero or "loss" not in logs:
            return
        elapsed = time.monotonic() - self.started
        speed = f"{self.tokens * args.world_size / elapsed:,.0f} tokens/s"
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {logs['loss']:.4g}, {speed}")
        elif elapsed - self.shown >= BETWEEN_LINES or state.global_step == state.max_steps:
            self.shown = elapsed
            left = timedelta(seconds=round(elapsed / (state.global_step - self.first) * (state.max_steps - state.global_step)))
            facts = [f"step {state.global_step}/{state.max_steps}", f"loss {logs['loss']:.4g}"]
            if "grad_norm" in logs:
                facts.append(f"gradient norm {logs['grad_norm']:.3g}")
            print(", ".join([*facts, f"lr {logs['learning_rate']:.3g}", speed, f"{left} left"]), file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Finish the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
