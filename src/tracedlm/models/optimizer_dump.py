"""AdamW's moments in the optimiser checkpoints of somebody else's training.

The only reader of `.pt` files; it runs no code they hold.
"""

import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.records.footprint import by_layer
from tracedlm.records.lora_names import modules_of
from tracedlm.records.moments import VARIANTS
from tracedlm.records.parameter_names import (
    check_order,
    name_map_beside,
    order_from_adapter,
    read_name_map,
    to_modules,
)
from tracedlm.theory import moments
from tracedlm.theory.moments import RunningMean


@dataclass(frozen=True)
class Entry:
    """One parameter's state in one dump; `step` is None where the dump does not say."""

    first: torch.Tensor
    second: torch.Tensor
    eps: float
    betas: tuple[float, float]
    step: int | None

    def update(self, variant: str) -> np.ndarray:
        """U_k in one of `VARIANTS`, float64."""
        placement, correction = variant.split("_")
        first = self.first.detach().double().numpy()
        second = self.second.detach().double().numpy()
        corrected = {"step": self.step, "betas": self.betas} if correction == "corrected" else {}
        return moments.update(first, second, self.eps, placement, **corrected)


class OptimizerDumps:
    """Mean over checkpoints of the updates U_k that their moments stand for.

    A `Footprint` (TRACE App. H, optimiser mode).

    Two layouts are read. A Trainer's `optimizer.pt` numbers its parameters. Their names come from
    `names`; or from a JSON file with `name` in its own name, beside the dump or in the folder
    above; or from the optimiser, where it was given named parameters; or from the adapter beside
    the dump (`records.parameter_names.order_from_adapter`). EDIT's dumps name them: parameter ->
    exp_avg, exp_avg_sq, step, epsilon. There is one file a process, and processes are averaged
    within a checkpoint, as its released code does. Bias-corrected variants exist where the dumps
    state their step.

    Args:
        files: Dumps of each checkpoint, one file a process.
        names: JSON file of parameter names, see `records.parameter_names.read_name_map`.
        eps: AdamW's epsilon where a dump does not say it.
        betas: Its decay rates where a dump does not say them; only bias correction needs them.
    """

    kind = "optimizer"

    def __init__(
        self,
        files: Sequence[Sequence[Path]],
        names: Path | None = None,
        eps: float = 1e-8,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.files, self.names = files, names
        self.eps, self.betas = eps, betas
        self.steps = len(files)

    @property
    def variants(self) -> tuple[str, ...]:
        """All four, or the two raw ones where the steps are not known."""
        # Bias correction divides by 1 - beta ** step.
        correctable = all(self._steps_known.values())
        return tuple(variant for variant in VARIANTS if correctable or variant.endswith("raw"))

    def modules(self) -> list[str]:
        """Module names, by layer."""
        return by_layer(self._steps_known)

    def matrices(self, modules: Sequence[str], variants: Sequence[str]) -> dict[str, np.ndarray]:
        """Mean updates of some modules.

        One dump is open at a time, and of it only these modules are read.

        Raises:
            ValueError: A dump is unreadable, lacks a module that others have, or holds it in
                another shape.
        """
        means: dict[str, RunningMean] = defaultdict(RunningMean)
        for processes in self.files:
            within: dict[str, RunningMean] = defaultdict(RunningMean)
            for path in processes:
                entries = self._entries(path)
                for module in (module for module in modules if module in entries):
                    for variant in variants:
                        _add(
                            within[f"{module}/{variant}"],
                            entries[module].update(variant),
                            f"{path}: {module}",
                        )
            for module in modules:
                if f"{module}/{variants[0]}" not in within:
                    raise ValueError(
                        f"{processes[0]}: no moments of {module}, which other checkpoints hold;"
                        " leave this one out of the folder"
                    )
            for name, mean in within.items():
                _add(means[name], mean.value, f"{processes[0]}: {name.split('/')[0]}")
        return {name: mean.value for name, mean in means.items()}

    @cached_property
    def _steps_known(self) -> dict[str, bool]:
        """Modules of the first checkpoint, and whether it states their step.

        All processes together.
        """
        return {
            module: entry.step is not None
            for path in self.files[0]
            for module, entry in self._entries(path).items()
        }

    def _entries(self, path: Path) -> dict[str, Entry]:
        content = load_pickled(path)
        if (
            isinstance(content, dict)
            and isinstance(content.get("state"), dict)
            and isinstance(content.get("param_groups"), list)
        ):
            try:
                states = self._of_trainer(content, path)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path}: not the state_dict of an optimiser ({error!r}); save AdamW's with"
                    " torch.save"
                ) from error
        else:
            # EDIT's layout: parameter name -> its state; it has no groups.
            entries = content if isinstance(content, dict) else {}
            by_name = {
                str(name): state for name, state in entries.items() if isinstance(state, dict)
            }
            states = {
                module: (by_name[name], {})
                for module, name in modules_of(by_name, str(path)).items()
            }
        if not states:
            raise ValueError(
                f"{path}: no moments of a LoRA matrix on q, k or v; expected a Trainer's"
                " optimizer.pt, or a dict of parameter name -> {exp_avg, exp_avg_sq, step,"
                " epsilon}"
            )
        return {
            module: self._entry(state, group, f"{path}: {module}")
            for module, (state, group) in states.items()
        }

    def _of_trainer(
        self, content: dict[str, Any], path: Path
    ) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Module -> (state, its group) of a Trainer's optimizer.pt."""
        states, groups = content["state"], content["param_groups"]
        # Newer versions of torch keep the names that an optimiser was given.
        stated_names = {
            number: name
            for group in groups
            for number, name in zip(group["params"], group.get("param_names", ()), strict=False)
        }
        file = self.names or name_map_beside(path)
        numbers = [group["params"] for group in groups]
        shapes = {
            number: tuple(state["exp_avg"].shape)
            for number, state in states.items()
            if "exp_avg" in state
        }
        for group in groups:
            if "momentum_decay" in group or group.get("amsgrad"):
                raise ValueError(
                    f"{path}: the state of NAdam or of AMSGrad, whose updates are not AdamW's; a"
                    " map needs AdamW's moments"
                )
        if file is not None:
            names = read_name_map(file)
            check_order(names, numbers, shapes, str(file))
            modules = to_modules(names, str(file))
        elif stated_names:
            modules = to_modules(stated_names, str(path))
        else:
            modules = order_from_adapter(path, numbers, shapes)
        group_of = {number: group for group in groups for number in group["params"]}
        return {
            module: (states[number], group_of[number])
            for number, module in modules.items()
            if number in states
        }

    def _entry(self, state: dict[str, Any], group: dict[str, Any], source: str) -> Entry:
        if not all(_is_whole(state.get(key)) for key in ("exp_avg", "exp_avg_sq")):
            raise ValueError(
                f"{source} has {', '.join(map(str, state)) or 'no state'}; expected exp_avg and"
                " exp_avg_sq, as AdamW in full precision keeps"
            )
        if state["exp_avg"].shape != state["exp_avg_sq"].shape or state["exp_avg"].ndim != 2:
            shapes = " and ".join(str(tuple(state[key].shape)) for key in ("exp_avg", "exp_avg_sq"))
            raise ValueError(f"{source}: moments of shapes {shapes}; expected one matrix shape")
        try:
            eps = float(state.get("epsilon", state.get("eps", group.get("eps", self.eps))))
            beta1, beta2 = map(float, group.get("betas", self.betas))
            # A step may be a tensor; above 2 ** 53 float64 would not hold it exactly.
            step = None if state.get("step") is None else int(state["step"])
            if not (
                0 <= eps < 1
                and 0 <= beta1 < 1
                and 0 <= beta2 < 1
                and (step is None or 0 < step < 2**53)
            ):
                raise ValueError(f"epsilon {eps}, betas {beta1} and {beta2}, step {step}")
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ValueError(
                f"{source}: its epsilon, betas or step cannot be AdamW's ({error})"
            ) from None
        return Entry(state["exp_avg"], state["exp_avg_sq"], eps, (beta1, beta2), step)


def _is_whole(value: Any) -> bool:
    """Whether a value is a tensor with every number in the file.

    Not sparse, not one number repeated by strides to any size.
    """
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def load_pickled(path: Path) -> Any:
    """Content of a `torch.save` file that holds tensors and plain values.

    Any other object is refused and not made.

    Raises:
        ValueError: The file is missing or unreadable, or holds something else.
    """
    try:
        mapped = zipfile.is_zipfile(path)
        if mapped:
            with zipfile.ZipFile(path) as archive:  # torch would take compressed bytes for numbers
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise ValueError("its entries are compressed")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise ValueError(f"{path}: optimiser dump not found; correct the path") from None
    # torch raises UnpicklingError, EOFError, RuntimeError, ...; all mean a file that will not be
    # used
    except Exception as error:
        raise ValueError(
            f"{path}: not a dump of tensors and plain values ({type(error).__name__}); nothing in"
            " it was run. Save the optimiser's state_dict with torch.save, without other objects"
        ) from error


def _add(mean: RunningMean, update: np.ndarray, source: str) -> None:
    if mean.total is not None and mean.total.shape != update.shape:
        raise ValueError(
            f"{source} is {update.shape}, in another dump {mean.total.shape}: of another run, or"
            " parts of a sharded optimiser; gather those before saving"
        )
    mean.add(update)
