"""A fine-tuning that diverged ends, and says so."""

import math
from typing import Any

from transformers import TrainerCallback

LOWER = (
    "nothing is published; lower sft.learning_rate, or look for examples that a loss cannot be"
    " computed of"
)


class StopsWhereItDiverges(TrainerCallback):
    """Ends a training at the first step whose loss is not finite.

    All that follows, and all that was trained, would be NaN.
    """

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise ValueError(
                f"fine-tuning diverged: the loss is {loss} at step {state.global_step}; {LOWER}"
            )
