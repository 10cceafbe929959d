"""Hooks that turn a projection's activations into similarities with a map, inside the forward that decoding makes anyway."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tracedlm.models.denoiser import Denoiser
from tracedlm.records.rrm import Rrm
from tracedlm.theory.rad import cosine_similarity


class Observer:
    """Similarities of the last forward, by (layer, projection).

    Only the similarity is kept, never the activation: [batch, length] floats instead of [batch, length, d].
    """

    def __init__(self) -> None:
        self.latest: dict[tuple[int, str], torch.Tensor] = {}


@contextmanager
def observing(denoiser: Denoiser, maps: Sequence[Rrm], activation: str = "projection") -> Iterator[Observer]:
    """Observe the modules the maps belong to; hooks are removed on leaving.

    Args:
        denoiser: The model; with `lora_delta` its adapter must not be merged.
        maps: One map per module to observe.
        activation: `projection`, the whole projection's output (TRACE), or `lora_delta`, the LoRA-B output (EDIT).

    Raises:
        ValueError: A map's layer or width does not fit the model, or there is no LoRA to observe.
    """
    observer, handles = Observer(), []
    try:
        for rrm in maps:
            module, width = _module(denoiser, rrm, activation)
            if len(rrm.u) != width:
                raise ValueError(
                    f"the map of {rrm.projection} has width {len(rrm.u)}, the model's projection has {width}: it was made for another model"
                )
            u = torch.from_numpy(rrm.u).to(denoiser.device)

            def hook(
                _: Any, __: Any, output: torch.Tensor, key: tuple[int, str] = (rrm.layer, rrm.projection), u: torch.Tensor = u
            ) -> None:
                observer.latest[key] = cosine_similarity(output, u)

            handles.append(module.register_forward_hook(hook))
        yield observer
    finally:
        for handle in handles:
            handle.remove()


def _module(denoiser: Denoiser, rrm: Rrm, activation: str) -> tuple[torch.nn.Module, int]:
    layers = denoiser.causal_lm.model.layers
    if not 0 <= rrm.layer < len(layers):
        raise ValueError(f"the map belongs to layer {rrm.layer}, the model has layers 0..{len(layers) - 1}")
    projection = getattr(layers[rrm.layer].self_attn, f"{rrm.projection}_proj")
    if activation == "projection":
        return projection, projection.out_features
    if activation != "lora_delta":
        raise ValueError(f"unknown activation {activation!r}; known: projection, lora_delta")
    if not hasattr(projection, "lora_B"):
        raise ValueError("activation lora_delta needs an unmerged LoRA adapter; load the denoiser with adapter=... and merge=False")
    lora_b = projection.lora_B["default"]
    return lora_b, lora_b.out_features
