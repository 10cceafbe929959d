"""`MomentRecorder`: running means of AdamW's updates during training, for any `transformers.Trainer`."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from tracedlm.models.lora import short_name
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.tensors import read_arrays, write_arrays
from tracedlm.theory.moments import update

STATE_FILE = "moment_recorder.safetensors"


class MomentRecorder(TrainerCallback):
    """Keeps the mean of U_k over optimiser steps for every LoRA matrix (TRACE Eq. 3), in four variants, in fp32.

    It reads the optimiser's state after each step and never changes it; nothing is dumped per step. Its state is saved
    in every Trainer checkpoint and restored on resumption, so that a resumed run gives the same means bit for bit.

    Attributes:
        gradients: One row per step and module: step, module, rms of the gradient before clipping is undone.
    """

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0
        self.gradients: list[tuple[int, str, float]] = []
        self.eps, self.betas = math.nan, (math.nan, math.nan)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start afresh, or restore from the checkpoint that training resumes from."""
        self.__init__()
        if state.global_step:
            self._restore(Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE, state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Log the RMS of each module's gradient, as the optimiser will see it."""
        for name, parameter in _lora_parameters(model):
            if parameter.grad is not None:
                self.gradients.append((state.global_step + 1, name, parameter.grad.float().square().mean().sqrt().item()))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, optimizer: Any, **_: Any) -> None:
        """Add this step's updates."""
        self.steps += 1
        inner = getattr(optimizer, "optimizer", optimizer)
        groups = {id(parameter): group for group in inner.param_groups for parameter in group["params"]}
        for name, parameter in _lora_parameters(model):
            moments = inner.state.get(parameter, {})
            if "exp_avg" not in moments or "exp_avg_sq" not in moments:
                raise ValueError(
                    f"{type(inner).__name__} keeps no exp_avg and exp_avg_sq for {name}; "
                    "moment logging needs AdamW in full precision (optim='adamw_torch')"
                )
            group = groups[id(parameter)]
            self.eps, self.betas = group["eps"], tuple(group["betas"])
            first, second = moments["exp_avg"].float(), moments["exp_avg_sq"].float()
            for variant in VARIANTS:
                placement, correction = variant.split("_")
                corrected = {"step": self.steps, "betas": self.betas} if correction == "corrected" else {}
                change = update(first, second, eps=self.eps, placement=placement, **corrected)
                key = f"{name}/{variant}"
                if key in self.sums:
                    self.sums[key] += change
                else:
                    self.sums[key] = change.clone()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save with the Trainer's checkpoint."""
        arrays = {f"sum/{name}": value.cpu().numpy() for name, value in self.sums.items()}
        names = sorted({name for _, name, _ in self.gradients})
        index = {name: number for number, name in enumerate(names)}
        arrays["gradients"] = np.array([(step, index[name], rms) for step, name, rms in self.gradients], dtype=np.float64).reshape(-1, 3)
        metadata = {"steps": str(self.steps), "eps": repr(self.eps), "betas": repr(self.betas), "modules": ",".join(names)}
        write_arrays(Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE, arrays, metadata)

    def moments(self) -> Moments:
        """The means so far.

        Raises:
            ValueError: No optimiser step has been recorded.
        """
        if not self.steps:
            raise ValueError("no optimiser step was recorded: the model has no LoRA matrices on q, k or v, or training did not run")
        means = {name: (value / self.steps).cpu().numpy() for name, value in self.sums.items()}
        return Moments(means, self.steps, self.eps, (float(self.betas[0]), float(self.betas[1])))

    def _restore(self, path: Path, step: int) -> None:
        arrays, metadata = read_arrays(path, "moment recorder state")
        if int(metadata["steps"]) != step:
            raise ValueError(
                f"{path}: holds {metadata['steps']} steps, the checkpoint is at step {step}; "
                "delete the checkpoint to start from an earlier one"
            )
        self.steps, self.eps = step, float(metadata["eps"])
        self.sums = {name.removeprefix("sum/"): torch.from_numpy(array) for name, array in arrays.items() if name.startswith("sum/")}
        modules = metadata["modules"].split(",")
        self.gradients = [(int(k), modules[int(index)], float(rms)) for k, index, rms in arrays["gradients"]]


def _lora_parameters(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    named = ((short_name(name), parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
    return [(name, parameter) for name, parameter in named if name is not None]
