"""The loss of fixed batches, its gradient, and how both are grouped by module."""

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tracedlm.dynamics.batches import Batch
from tracedlm.dynamics.outputs import logits_of, share_seconds
from tracedlm.dynamics.undisturbed import undisturbed
from tracedlm.records.measures import Measure

SCOPES = ("all", "lora")
"""Which parameters: every one of the model, or those of its LoRA adapter."""


def loss_of(model: Any, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy of a batch's predicted tokens, nats.

    Its part of the mean loss of all batches.
    """
    logits = logits_of(model, batch)
    # logits: [rows, length - shift, vocabulary]; a causal model's score the token to their right.
    tokens = batch.tokens[:, batch.shift :].to(logits.device)
    weights = batch.weights[:, batch.shift :].to(logits.device)
    scored = weights > 0
    # A cross-entropy in bfloat16 would lose most of its digits.
    precise = logits[scored].to(torch.promote_types(logits.dtype, torch.float32))
    return (
        functional.cross_entropy(precise, tokens[scored], reduction="none") * weights[scored]
    ).sum()


def chosen_parameters(model: Any, scope: str) -> dict[str, torch.nn.Parameter]:
    """Parameters of a scope by name, made to require gradients, and no others.

    Call inside `undisturbed`.

    Raises:
        ValueError: The scope is unknown, or the model has no such parameter.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope={scope!r}: one of {', '.join(SCOPES)}")
    chosen = {
        name: parameter
        for name, parameter in model.named_parameters()
        if scope == "all" or "lora_" in name
    }
    if not chosen:
        raise ValueError(
            "scope='lora': the model has no LoRA adapter; attach one, or take scope='all'"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return chosen


def loss_gradients(
    model: Any, batches: Iterable[Batch], scope: str = "all"
) -> dict[str, np.ndarray]:
    """Gradient of the mean loss on fixed batches, by module.

    Args:
        model: A model of transformers; it and its `.grad` are left as they were.
        batches: Of `causal_batches` or `masked_batches`.
        scope: `all` or `lora`.

    Returns:
        Path of each module -> float32 [k], the gradient by all its own parameters.

    Raises:
        ValueError: As in `chosen_parameters`.
    """
    with undisturbed(model):
        parameters = chosen_parameters(model, scope)
        totals = [torch.zeros_like(parameter) for parameter in parameters.values()]
        for batch in batches:
            gradients = torch.autograd.grad(
                loss_of(model, batch), list(parameters.values()), allow_unused=True
            )
            for total, gradient in zip(totals, gradients, strict=True):
                # None: the loss does not depend on this parameter.
                if gradient is not None:
                    total += gradient
    parts: dict[str, list[np.ndarray]] = {}
    for name, total in zip(parameters, totals, strict=True):
        parts.setdefault(name.rpartition(".")[0], []).append(total.flatten().float().cpu().numpy())
    return {module: np.concatenate(pieces) for module, pieces in parts.items()}


def gradient_measures(
    gradients: Mapping[str, np.ndarray],
    previous: Mapping[str, np.ndarray] | None = None,
    label: str = "train",
) -> list[Measure]:
    """Norm of each module's gradient, and its cosine to the previous checkpoint's.

    Both gradients are of the same batches.

    Args:
        gradients: Of `loss_gradients`.
        previous: Of the checkpoint before; None for the first.
        label: Which batches.

    Returns:
        Metrics gradient_norm (nats per unit of the weights) and gradient_cosine (-1 to 1); module
            "" is all parameters together; layer
        is the hidden state that a block produces: its number, from 0, plus one.
    """
    started = time.process_time()
    measures = []
    for module in ("", *gradients):
        modules = [module] if module else list(gradients)
        squared = _inner(gradients, gradients, modules)
        layer = _layer(module)
        n = sum(gradients[name].size for name in modules)
        measures.append(
            Measure(
                module,
                layer,
                metric="gradient_norm",
                label=label,
                value=squared**0.5,
                stderr=None,
                n=n,
                seconds=0.0,
            )
        )
        # cos(g, g') of two checkpoints' gradients on the same batches; 1: the direction stayed.
        cosine, reason = None, "no previous checkpoint"
        if previous is not None:
            lengths = (squared * _inner(previous, previous, modules)) ** 0.5
            cosine, reason = (
                (_inner(gradients, previous, modules) / lengths, "")
                if lengths
                else (None, "a gradient is zero")
            )
        measures.append(
            Measure(
                module,
                layer,
                metric="gradient_cosine",
                label=label,
                value=cosine,
                stderr=None,
                n=n,
                seconds=0.0,
                reason=reason,
            )
        )
    return share_seconds(measures, time.process_time() - started)


def _inner(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], modules: list[str]) -> float:
    return float(
        sum(np.dot(a[name].astype(np.float64), b[name].astype(np.float64)) for name in modules)
    )


def _layer(module: str) -> int | None:
    number = re.search(r"\.(\d+)(?:\.|$)", module)
    return int(number[1]) + 1 if number else None
