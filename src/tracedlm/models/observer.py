"""Hooks that compare a projection's activations with a map.

They run inside the forward that decoding makes anyway.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tracedlm.decode.phases import phase
from tracedlm.decode.settings import ReadingKind
from tracedlm.models.layout import projection
from tracedlm.models.readings import READINGS
from tracedlm.records.rrm import Rrm


class Observer:
    """Readings of the last forward, by `key_of` their map.

    Only the reading is kept, never the activation: [batch, length] floats instead of [batch,
    length, d].
    """

    def __init__(self) -> None:
        self.latest: dict[tuple[int, str], torch.Tensor] = {}


def key_of(rrm: Rrm) -> tuple[int, str]:
    """Layer and projection.

    `q_input` and the like for maps of LoRA-A, which are compared with what the projection is given.
    """
    return rrm.layer, rrm.projection if rrm.matrix == "B" else f"{rrm.projection}_input"


@contextmanager
def observing(
    denoiser: Any,
    maps: Sequence[Rrm],
    activation: str = "projection",
    reading: ReadingKind = "cosine",
) -> Iterator[Observer]:
    """Observe the modules the maps belong to; hooks are removed on leaving.

    Args:
        denoiser: A `Denoiser`, or a bare transformers model; with `lora_delta` its adapter must not
            be merged.
        maps: One map per module to observe.
        activation: `projection`, the whole projection's output (TRACE), or `lora_delta`, the LoRA-B
            output (EDIT). Maps of LoRA-A are compared with the projection's input in either case.
        reading: What is read of the activation, see `models.readings`.

    Raises:
        ValueError: A map's layer or width does not fit the model, its modules are not known, or
            there is no LoRA to observe.
    """
    model = getattr(denoiser, "causal_lm", denoiser)
    observer, handles = Observer(), []
    try:
        for rrm in maps:
            module, part = module_of(model, rrm, activation)
            if len(rrm.u) != part.stop - part.start:
                raise ValueError(
                    f"the map of {rrm.projection} has width {len(rrm.u)}, the model's projection"
                    f" has {part.stop - part.start}: it was made for another model"
                )
            # u: [d], U: [d, k], beside the activation, so that no step copies anything.
            u = torch.from_numpy(rrm.u).to(model.device)
            U = torch.from_numpy(rrm.subspace).to(model.device)

            def hook(
                _: Any,
                inputs: tuple[torch.Tensor, ...],
                output: torch.Tensor,
                rrm: Rrm = rrm,
                u: torch.Tensor = u,
                U: torch.Tensor = U,
                part: slice = part,
            ) -> None:
                # f: [batch, length, d]. What an observer costs is the rule's, not the model's.
                with phase("rule"):
                    f = (inputs[0] if rrm.matrix == "A" else output)[..., part]
                    observer.latest[key_of(rrm)] = READINGS[reading](f, u, U)

            handles.append(module.register_forward_hook(hook))
        yield observer
    finally:
        for handle in handles:
            handle.remove()


def module_of(model: Any, rrm: Rrm, activation: str) -> tuple[Any, slice]:
    """The module to hook, and the part of its output that belongs to the map's projection.

    For a map of LoRA-A, of its input.

    Raises:
        ValueError: The activation is not known, or is that of an adapter that is not there.
    """
    module, part = projection(model, rrm.layer, rrm.projection)
    if rrm.matrix == "A":
        return module, slice(0, module.in_features)
    if activation == "projection":
        return module, part
    if activation != "lora_delta":
        raise ValueError(f"unknown activation {activation!r}; known: projection, lora_delta")
    if not hasattr(module, "lora_B"):
        raise ValueError(
            "activation lora_delta needs an unmerged LoRA adapter; load the denoiser with"
            " adapter=... and merge=False"
        )
    return module.lora_B["default"], part
