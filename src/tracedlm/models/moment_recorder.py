"""`MomentRecorder`: running means of AdamW's updates during training.

It works with any `transformers.Trainer`.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from tracedlm.models.sharding import gathered, local, scattered, summed
from tracedlm.records.lora_names import modules_of
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.tensors import read_arrays, write_arrays
from tracedlm.theory.moments import RunningMean, updates

STATE_FILE = "moment_recorder.safetensors"

FUSED_ELSEWHERE = ("FusedAdam", "DeepSpeedCPUAdam")
"""AdamW under other names, in other libraries."""

Named = list[tuple[str, torch.nn.Parameter]]

AT_ONCE = 2**22
"""Numbers updated together.

Enough that an 8B model's step takes a few hundred kernels, few enough that they need no memory to
speak of.
"""


class MomentRecorder(TrainerCallback):
    """Keeps the mean of U_k over optimiser steps for every LoRA matrix.

    TRACE Eq. 3, in four variants, in float32.

    It reads the optimiser's state after each step and never changes it; nothing is dumped per step,
    and nothing makes the accelerator wait. Its state is saved in every Trainer checkpoint and
    restored on resumption, so that a resumed run gives the same means bit for bit. Works with AdamW
    in full precision (`adamw_torch`, `adamw_torch_fused`), on one process, under DDP, and under
    FSDP2, where each process averages its own shards.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.steps = 0
        self._before = 0  # steps that the optimiser had made when the recording began
        self.eps, self.betas = math.nan, (math.nan, math.nan)
        self._groups: list[Named] = []
        self._means: dict[tuple[int, str], RunningMean] = {}
        self._norms: list[tuple[int, Named, torch.Tensor]] = []
        self._gradients: list[tuple[int, str, float]] = []

    @property
    def gradients(self) -> list[tuple[int, str, float]]:
        """(step, module, RMS gradient after clipping) of every step.

        Under FSDP every process must ask for it.
        """
        for step, pairs, norms in self._norms:
            squares = summed(norms.square(), pairs[0][1]).tolist()
            self._gradients += [
                (step, name, math.sqrt(square / parameter.numel()))
                for (name, parameter), square in zip(pairs, squares, strict=True)
            ]
        self._norms.clear()
        return self._gradients

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any, optimizer: Any = None, **_: Any
    ) -> None:
        """Start afresh, or restore from the checkpoint that training resumes from.

        Raises:
            ValueError: There is nothing to record, or the checkpoint holds no state of a recorder
                of this model and this optimiser.
        """
        self._forget()
        self._groups = _grouped(model)
        if not self._groups:
            raise ValueError(
                "MomentRecorder: the model has no trainable LoRA matrices on q, k or v; attach them"
                " before training"
            )
        # An optimiser may be older than the recording: `train()` called once more goes on with the
        # same one.
        inner = getattr(optimizer, "optimizer", optimizer)
        self._before = _steps_of(inner, self._groups[0][0][1])
        if state.global_step:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
            self._restore(path, inner, state.is_world_process_zero)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log the norm of each module's gradient, as the optimiser will see it."""
        for pairs in self._groups:
            having = [(name, parameter) for name, parameter in pairs if parameter.grad is not None]
            gradients = [local(parameter.grad) for _, parameter in having]  # type: ignore[arg-type]
            norms = torch._foreach_norm(gradients, 2, torch.float32)
            self._norms.append((state.global_step + 1, having, torch.stack(norms)))

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, optimizer: Any, **_: Any
    ) -> None:
        """Add this step's updates.

        Many matrices form one flat array, so that a step costs few kernels.

        Raises:
            ValueError: The optimiser keeps no moments in full precision.
        """
        # A step is skipped where fp16 loss scaling overflowed: the moments did not move.
        if getattr(optimizer, "step_was_skipped", False):
            return
        inner = getattr(optimizer, "optimizer", optimizer)
        if not self.steps:
            # Refuses an optimiser that keeps none, in words of its own.
            _flat(inner, self._groups[0][:1], "exp_avg")
            _check_class(inner)
            self.eps, self.betas = _constants(inner, self._groups[0][0][1])
        self.steps += 1
        for group, pairs in enumerate(self._groups):
            first = _flat(inner, pairs, "exp_avg")
            second = _flat(inner, pairs, "exp_avg_sq")
            for variant, change in updates(
                first, second, self.eps, self._before + self.steps, self.betas
            ):
                self._means.setdefault((group, variant), RunningMean()).add(change)

    def on_save(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        """Save with the Trainer's checkpoint."""
        arrays = {f"sum/{name}": total.cpu().numpy() for name, total in self._totals().items()}
        names = dict.fromkeys(name for _, name, _ in self.gradients)
        index = {name: number for number, name in enumerate(names)}
        arrays["gradients"] = np.array(
            [(step, index[name], rms) for step, name, rms in self.gradients], dtype=np.float64
        ).reshape(-1, 3)
        metadata = {
            "steps": self.steps,
            "before": self._before,
            "eps": self.eps,
            "betas": self.betas,
            "modules": list(index),
        }
        metadata["optimizer"] = _digest(
            getattr(optimizer, "optimizer", optimizer), self._groups[0][0][1]
        )
        if state.is_world_process_zero:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
            write_arrays(path, arrays, {key: json.dumps(value) for key, value in metadata.items()})

    def moments(self) -> Moments:
        """The means so far. Under FSDP every process must ask for them.

        Raises:
            ValueError: No optimiser step has been recorded.
        """
        if not self.steps:
            raise ValueError(
                "no optimiser step was recorded: add the recorder to the Trainer's callbacks, then"
                " train"
            )
        means = {name: (total / self.steps).cpu().numpy() for name, total in self._totals().items()}
        return Moments(means, self.steps, self.eps, self.betas)

    def _totals(self) -> dict[str, torch.Tensor]:
        """Sum of the updates of each module and variant, gathered where sharded."""
        totals = {}
        for (group, variant), mean in self._means.items():
            pairs = self._groups[group]
            sizes = [local(parameter).numel() for _, parameter in pairs]
            parts = mean.total.split(sizes)  # type: ignore[union-attr]
            for (name, parameter), part in zip(pairs, parts, strict=True):
                totals[f"{name}/{variant}"] = gathered(part.view(local(parameter).shape), parameter)
        return totals

    def _restore(self, path: Path, optimizer: Any, first_process: bool) -> None:
        arrays, metadata = read_arrays(path, "the moment recorder's state")
        # The Trainer does not say which folder it resumes from. The optimiser's moments do: they
        # are this checkpoint's or another's.
        if first_process and json.loads(metadata.get("optimizer", "null")) != _digest(
            optimizer, self._groups[0][0][1]
        ):
            raise ValueError(
                f"{path}: recorded beside another optimiser's state than the one that training"
                " resumes with: the checkpoint was saved without it (save_only_model), or is"
                " another folder's; resume from a whole checkpoint in output_dir, or train afresh"
            )
        self.steps, self._before = json.loads(metadata["steps"]), json.loads(metadata["before"])
        self.eps = json.loads(metadata["eps"])
        betas = json.loads(metadata["betas"])
        modules = json.loads(metadata["modules"])
        self.betas = (betas[0], betas[1])
        self._gradients = [
            (int(step), modules[int(index)], float(rms)) for step, index, rms in arrays["gradients"]
        ]
        for group, pairs in enumerate(self._groups):
            for variant in VARIANTS:
                if absent := [name for name, _ in pairs if f"sum/{name}/{variant}" not in arrays]:
                    raise ValueError(
                        f"{path}: holds no sums of {absent[0]}: another model's; delete this"
                        " checkpoint, or train that model"
                    )
                totals = [
                    torch.from_numpy(arrays[f"sum/{name}/{variant}"]).to(parameter.device)
                    for name, parameter in pairs
                ]
                parts = [
                    scattered(total, parameter).reshape(-1)
                    for total, (_, parameter) in zip(totals, pairs, strict=True)
                ]
                self._means[group, variant] = RunningMean(torch.cat(parts), self.steps)


def _grouped(model: Any) -> list[Named]:
    """The trainable LoRA matrices with their short names, in groups.

    The matrices of a group lie on one device and are updated together.
    """
    groups: list[Named] = []
    size = 0
    trained = {
        full_name: parameter
        for full_name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    for name, full_name in modules_of(trained, "MomentRecorder").items():
        parameter = trained[full_name]
        size += local(parameter).numel()
        if not groups or size > AT_ONCE or groups[-1][0][1].device != parameter.device:
            groups.append([])
            size = local(parameter).numel()
        groups[-1].append((name, parameter))
    return groups


def _check_class(optimizer: Any) -> None:
    """Refuse an optimiser whose step is not AdamW's.

    NAdam and RAdam keep moments of the same names.
    """
    adam = (
        isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW)
        or type(optimizer).__name__ in FUSED_ELSEWHERE
    )
    if not adam or any(group.get("amsgrad") for group in optimizer.param_groups):
        raise ValueError(
            f"{type(optimizer).__name__} (or its amsgrad) does not step as AdamW does, so that its"
            " moments do not say how the weights moved; moment logging needs AdamW:"
            " optim='adamw_torch' or 'adamw_torch_fused'"
        )


def _steps_of(optimizer: Any, parameter: torch.nn.Parameter) -> int:
    """Steps that the optimiser has made with a parameter, by its own count; 0 where it has none."""
    return int(getattr(optimizer, "state", {}).get(parameter, {}).get("step", 0))


def _digest(optimizer: Any, parameter: torch.nn.Parameter) -> str | None:
    """Digest of a parameter's first moment; None where the optimiser has no state of it."""
    moment = getattr(optimizer, "state", {}).get(parameter, {}).get("exp_avg")
    if moment is None:
        return None
    return hashlib.sha256(local(moment).detach().float().cpu().numpy().tobytes()).hexdigest()[:16]


def _constants(optimizer: Any, parameter: torch.nn.Parameter) -> tuple[float, tuple[float, float]]:
    """Epsilon and decay rates of the group a parameter is in; NaN where the optimiser has none."""
    groups = [group for group in optimizer.param_groups if _holds(group, parameter)]
    if not groups:
        return math.nan, (math.nan, math.nan)
    beta1, beta2 = groups[0].get("betas", (math.nan, math.nan))
    return float(groups[0].get("eps", math.nan)), (float(beta1), float(beta2))


def _holds(group: dict[str, Any], parameter: torch.nn.Parameter) -> bool:
    """Whether a parameter is in a group of an optimiser; `==` would compare numbers."""
    return any(parameter is member for member in group["params"])


def _flat(optimizer: Any, pairs: Named, key: str) -> torch.Tensor:
    """One moment of many parameters as one fp32 vector.

    This process's shards, one after another.
    """
    parts = []
    for name, parameter in pairs:
        state = optimizer.state.get(parameter, {})
        moment = state.get(key)
        # Quantised optimisers either use other keys or wrap their blocks in a tensor subclass.
        if not (isinstance(moment, DTensor) or type(moment) is torch.Tensor):
            keys = ", ".join(map(str, state)) or "nothing"
            raise ValueError(
                f"{type(optimizer).__name__} keeps no {key} in full precision for {name} (it keeps"
                f" {keys}); moment logging needs AdamW: optim='adamw_torch' or 'adamw_torch_fused'"
            )
        parts.append(local(moment).reshape(-1))
    return torch.cat(parts).float()
