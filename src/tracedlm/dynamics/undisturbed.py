"""Looking at a model without changing it.

Modes, flags, gradients and random states are afterwards what they were.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """The model in evaluation mode.

    On leaving, every module's mode, every parameter's `requires_grad` and torch's RNGs are
    restored.

    Weights and `.grad` are left alone because nothing here writes them: gradients are taken by
    `torch.autograd.grad`.
    """
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with torch.random.fork_rng():
        try:
            model.eval()
            yield
        finally:
            for module, training in modes:
                module.training = training
            # Estimators choose their parameters by this flag (`gradients.chosen_parameters`).
            for parameter, flag in wanted:
                parameter.requires_grad_(flag)


@contextmanager
def twice_differentiable(model: Any) -> Iterator[None]:
    """`undisturbed`, and with eager attention: on a CPU the fused one has no second derivative."""
    attention = getattr(bare(model).config, "_attn_implementation", "eager")
    with undisturbed(model):
        try:
            if attention != "eager":
                bare(model).set_attn_implementation("eager")
            yield
        finally:
            if attention != "eager":
                bare(model).set_attn_implementation(attention)


def bare(model: Any) -> Any:
    """The model without an adapter around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
