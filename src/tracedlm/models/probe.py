"""A hook that reads the activation a map is compared with, and can push it.

What finite differences are made of.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tracedlm.models.observer import module_of
from tracedlm.records.rrm import Rrm


class Probe:
    """The activation of one module in the last forward.

    Attributes:
        latest: [rows, length, d], after any push.
        push: Added to it in every forward from now on, [rows, length, d]; None adds nothing.
    """

    def __init__(self) -> None:
        self.latest = torch.empty(0)
        self.push: torch.Tensor | None = None


@contextmanager
def probing(denoiser: Any, rrm: Rrm, activation: str = "projection") -> Iterator[Probe]:
    """Hook the module a map of LoRA-B belongs to; the hook is removed on leaving.

    Args:
        denoiser: A `Denoiser`, or a bare transformers model.
        rrm: The map.
        activation: As in `models.observer.observing`.

    Raises:
        ValueError: The map's module is not known, or there is no LoRA to observe.
    """
    module, part = module_of(getattr(denoiser, "causal_lm", denoiser), rrm, activation)
    probe = Probe()

    def hook(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        if probe.push is not None:
            # Autograd and other hooks may still hold the module's own output.
            output = output.clone()
            output[..., part] += probe.push
        probe.latest = output[..., part]
        return output

    handle = module.register_forward_hook(hook)
    try:
        yield probe
    finally:
        handle.remove()
