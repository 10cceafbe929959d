"""Steps after the last unmasking, in which something can still change.

Source: method.md section 4: the late window.

With LLaDA's sampler the last unmasking is the last step, so TRACE's window of L steps after it is
empty. These extra forwards fill it for observation: they work on a copy, and never change the
decoded text.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from tracedlm.decode.forward import DenoiserCall, Observes
from tracedlm.decode.prompts import left_padded
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.slot import Decoded

Policy = Literal["remask", "masked_variants"]


@torch.inference_mode()
def refine(
    denoiser: DenoiserCall,
    prompts: Mapping[int, Sequence[int]],
    finished: Sequence[Decoded],
    recorder: TraceRecorder,
    *,
    policy: Policy,
    steps: int,
    remask_tokens: int,
    mask_id: int,
    pad_id: int,
    seed: int,
    observer: Observes | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Record `steps` refine forwards for a batch of finished samples.

    `remask`: each step masks the `remask_tokens` least confident response tokens that were not
    re-masked yet, and predicts them anew. (Without "not yet" the same tokens come back, the canvas
    is a fixed point, and every divergence after the first is exactly 0.) `masked_variants` (TRACE
    Alg. 2, step a): nested random masks over the finished text, shrinking from half of it; nothing
    is written.
    """
    samples = [decoded.sample for decoded in finished]
    canvas_g = torch.stack([decoded.tokens for decoded in finished]).to(device)
    prompt_w, real_w = left_padded([prompts[sample] for sample in samples], pad_id, device=device)
    attention = torch.cat([real_w, torch.ones_like(canvas_g)], 1)
    width, length = prompt_w.shape[1], canvas_g.shape[1]
    order = _order(finished, policy, seed).to(device)
    for number in range(1, steps + 1):
        begin, end = (
            ((number - 1) * remask_tokens, number * remask_tokens)
            if policy == "remask"
            else (0, length * (steps - number + 1) // (2 * steps))
        )
        # `remask` begins anew when every position has been masked: the order is a circle.
        masked_rk = order[:, torch.arange(begin, max(end, begin + 1)) % length].sort(1).values
        shown_g = canvas_g.scatter(1, masked_rk, mask_id)
        log_probs = (
            denoiser(torch.cat([prompt_w, shown_g], 1), attention, masked_rk + width)
            .double()
            .log_softmax(-1)
        )
        # A reading covers prompt and canvas: only the canvas is recorded.
        similarity = (
            {key: value[:, width:] for key, value in observer.latest.items()} if observer else {}
        )
        visible = torch.ones_like(shown_g, dtype=torch.bool).scatter(1, masked_rk, False)
        recorder.refined(
            samples,
            [decoded.nfe + number for decoded in finished],
            refine_step=number,
            masked_rk=masked_rk,
            log_probs_rkv=log_probs,
            written=policy == "remask",
            visible_rg=visible,
            similarity_rg=similarity,
        )
        if policy == "remask":
            canvas_g = canvas_g.scatter(1, masked_rk, log_probs.argmax(-1))


def _order(finished: Sequence[Decoded], policy: Policy, seed: int) -> torch.Tensor:
    """The order in which positions are masked, [rows, positions].

    Least confident first, or at random.
    """
    if policy == "remask":
        return torch.stack([decoded.confidence for decoded in finished]).argsort(dim=1, stable=True)
    orders = []
    for decoded in finished:
        # A generator per sample, so that a sample's masks do not depend on its batch.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + decoded.sample)
        orders.append(torch.randperm(len(decoded.tokens), generator=generator))
    return torch.stack(orders)
