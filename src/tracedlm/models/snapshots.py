"""Checkpoints of a model or an adapter while it trains.

When they are kept, and reading one back for analysis.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, TrainerCallback

from tracedlm.models.architecture import ATTENTION
from tracedlm.models.checkpoint import UNREADABLE, short
from tracedlm.models.moment_recorder import MomentRecorder
from tracedlm.models.training import NoisyBatches, lora_state
from tracedlm.records.atomic import replacing_folder
from tracedlm.records.moments import MOMENTS_FILE


class CausalBatches(NoisyBatches):
    """Sentences as they are: nothing is masked, and each token is predicted from those before it.

    The mean is over tokens.
    """

    def _noise(
        self, step: int, lengths: torch.Tensor, written: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        predicted = real & (torch.arange(real.shape[1]) > 0)
        return torch.zeros_like(real), predicted * (len(lengths) / predicted.sum())


class MaskedBatches(NoisyBatches):
    """Sentences under masked diffusion's noise, which spares the first and the last token.

    They say where the sentence stands.
    """

    def _noise(
        self, step: int, lengths: torch.Tensor, written: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # The noise is drawn without the first and the last token, which then get none.
        masked, weights = super()._noise(step, lengths - 2, written - 2)
        return functional.pad(masked, (1, 1)), functional.pad(weights, (1, 1))


class SnapshotSaver(TrainerCallback):
    """Saves weights and config of the model at given steps, each in a folder that appears whole.

    Training does not notice.

    Args:
        folder: Snapshots go to `<folder>/<step>`.
        steps: Optimiser steps after which to save; 0 is before the first.
    """

    def __init__(self, folder: Path, steps: Collection[int]) -> None:
        self.folder, self.steps = folder, frozenset(steps)

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Save the model as initialised."""
        if state.global_step == 0:
            self._save(model, state)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Save after this step, if it is one of ours."""
        self._save(model, state)

    def _save(self, model: Any, state: Any) -> None:
        if state.global_step in self.steps:
            with replacing_folder(self.folder / str(state.global_step)) as folder:
                model.save_pretrained(folder)


class AdapterSaver(SnapshotSaver):
    """Saves the adapter, and beside it `moments.safetensors`: the mean updates so far.

    To stand behind the recorder among the callbacks.

    Args:
        folder: As in `SnapshotSaver`.
        steps: Likewise; after step 0 there are no moments yet.
        recorder: Of the same training.
    """

    def __init__(self, folder: Path, steps: Collection[int], recorder: MomentRecorder) -> None:
        super().__init__(folder, steps)
        self.recorder = recorder

    def _save(self, model: Any, state: Any) -> None:
        if state.global_step not in self.steps:
            return
        # Both are gathered from every process, so that every process must get here.
        weights = lora_state(model)
        moments = self.recorder.moments() if self.recorder.steps else None
        if state.is_world_process_zero:
            with replacing_folder(self.folder / str(state.global_step)) as folder:
                model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
                if moments is not None:
                    moments.write(folder / MOMENTS_FILE)


def read_snapshot(folder: str | Path) -> Any:
    """A snapshot's model in evaluation mode, with attention that can be differentiated twice.

    Raises:
        ValueError: One line: the folder is missing or half-written, or a weight is.
    """
    try:
        if not Path(folder).is_dir():
            raise ValueError("no such folder")
        read: Any = AutoModelForCausalLM.from_pretrained
        # float32 and eager attention: what is measured is differentiated twice.
        model, report = read(
            folder,
            attn_implementation=ATTENTION,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        if lacking := sorted({*report["missing_keys"], *report["mismatched_keys"]}, key=str):
            raise ValueError(f"lacks weight {lacking[0]}")
    except UNREADABLE as error:
        raise ValueError(f"{folder}: no usable checkpoint: {short(error)}") from None
    return model.eval()
