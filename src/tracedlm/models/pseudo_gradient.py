"""Pseudo-gradients of decoding.

How a step's change of predictions pulls at LoRA-B (EDIT App. G).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import unwrap
from typing import Any

import torch

from tracedlm.models.denoiser import Denoiser
from tracedlm.models.layout import projection
from tracedlm.theory.divergence import kl_from_log
from tracedlm.theory.pseudo_gradient import root_mean_square, weight_gradient


def pseudo_gradients(
    denoiser: Denoiser,
    layer: int,
    projections: Sequence[str],
    before: torch.Tensor,
    after: torch.Tensor,
    attention_mask: torch.Tensor,
    positions: torch.Tensor,
    visible: torch.Tensor,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """RMS of the pseudo-gradient of many pairs of steps, in one backward pass.

    grad_B of sum_s KL(p_t(s) || p_t+1(s)) (EDIT Eq. 32).

    Both predictions depend on B, and the gradient flows through both. Each pair's gradient is that
    of its own loss alone: it is put together from what flows back to the outputs of LoRA-B, row by
    row.

    Args:
        denoiser: With an unmerged adapter.
        layer: Transformer block of the modules, from 0.
        projections: Of `q`, `k`, `v`.
        before: int64 [pairs, length], canvas before the forward of step t.
        after: int64 [pairs, length], canvas before the forward of step t+1.
        attention_mask: [pairs, length].
        positions: int64 [pairs, k], where predictions are compared.
        visible: bool [pairs, k], S_t+1 among them.

    Returns:
        The divergences [pairs] in nats, float64; and the RMS [pairs] of each projection's gradient,
            float64.

    Raises:
        ValueError: A projection has no LoRA.
    """
    # [2 pairs, length]: all canvases before, then all after.
    tokens = torch.cat([before, after])
    mask = attention_mask.repeat(2, 1)
    compared = positions.repeat(2, 1)
    # Denoiser's call without its inference mode, under which nothing can be differentiated.
    forward = unwrap(Denoiser.__call__)
    with torch.enable_grad(), _probed(denoiser, layer, projections) as probes:
        log_p, log_q = forward(denoiser, tokens, mask, compared).double().log_softmax(-1).chunk(2)
        divergence = (kl_from_log(log_p, log_q) * visible).sum(1)
        flowing = torch.autograd.grad(divergence.sum(), [probe for probe, _ in probes.values()])
    rms = {}
    for name, gradient in zip(projections, flowing, strict=True):
        # [pairs, 2 length, ..]: both forwards of a pair side by side, for its loss is of both.
        output_gradients = torch.cat(gradient.float().chunk(2), dim=1)
        inputs = torch.cat(probes[name][1].float().chunk(2), dim=1)
        # Squares of late steps underflow float32.
        rms[name] = root_mean_square(weight_gradient(output_gradients, inputs).double())
    return divergence.detach(), rms


Probes = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Projection -> a zero added to LoRA-B's output, and LoRA-B's input.

The gradient is taken at that zero.
"""


@contextmanager
def _probed(denoiser: Denoiser, layer: int, projections: Sequence[str]) -> Iterator[Probes]:
    probes: Probes = {}
    handles = []
    try:
        for name in projections:
            module: Any = projection(denoiser.causal_lm, layer, name)[0]
            if not hasattr(module, "lora_B"):
                raise ValueError(
                    f"layer {layer}, {name}: no LoRA to differentiate by; load the denoiser with"
                    " adapter=... and merge=False"
                )

            def hook(
                _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor, name: str = name
            ) -> torch.Tensor:
                probe = torch.zeros_like(output, requires_grad=True)
                probes[name] = probe, inputs[0].detach()
                return output + probe

            handles.append(module.lora_B["default"].register_forward_hook(hook))
        yield probes
    finally:
        for handle in handles:
            handle.remove()
