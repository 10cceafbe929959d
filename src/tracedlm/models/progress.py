"""Progress of a training with `transformers.Trainer`."""

import time
from typing import Any

from transformers import TrainerCallback

from tracedlm.progress import Progress


class TrainingProgress(TrainerCallback):
    """Loss, gradient norm, learning rate, throughput and time left, from the first process.

    Attributes:
        tokens: Tokens this process has put through the model, padding included; whoever trains adds
            to it.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.progress: Progress | None = None
        self.started = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.tokens, self.started = 0, time.monotonic()
        self.progress = (
            Progress("training", state.max_steps, "step", state.global_step)
            if state.is_world_process_zero
            else None
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Count the steps since the last log, and show what was logged."""
        if self.progress is None or "loss" not in logs:
            return
        # Trainer logs a gradient norm only where it has one.
        norm = {"gradient_norm": logs["grad_norm"]} if "grad_norm" in logs else {}
        facts = {"loss": logs["loss"], **norm, "lr": logs["learning_rate"]}
        speed = self.tokens * args.world_size / (time.monotonic() - self.started)
        self.progress.add(state.global_step - self.progress.done, **facts, tokens_per_second=speed)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Finish."""
        if self.progress is not None:
            self.progress.close()
            self.progress = None
