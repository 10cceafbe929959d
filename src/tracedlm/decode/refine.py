"""Steps after the last unmasking, in which something can still change (method.md section 4: the late window).

With LLaDA's sampler the last unmasking is the last step, so TRACE's window of L steps after it is empty. These extra forwards
fill it for observation: they work on a copy, and never change the decoded text.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from tracedlm.decode.engine import Decoded, DenoiserCall, Observes
from tracedlm.decode.recorder import TraceRecorder

Policy = Literal["remask", "masked_variants"]


@torch.inference_mode()
def refine(
    denoiser: DenoiserCall,
    prompts: Sequence[Sequence[int]],
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

    `remask`: each step masks the `remask_tokens` least confident response tokens and predicts them anew. `masked_variants` (TRACE
    Alg. 2, step a): from the finished text, nested random masks that shrink from half of the canvas, nothing is written.
    """
    width, length = max(len(prompts[one.sample]) for one in finished), len(finished[0].tokens)
    canvas_g = torch.stack([one.tokens for one in finished]).to(device)
    confidence_g = torch.stack([one.confidence for one in finished]).to(device)
    prompt_w, attention = torch.full((len(finished), width), pad_id, device=device), torch.ones(len(finished), width + length, dtype=torch.long, device=device)
    for row, one in enumerate(finished):
        begin = width - len(prompts[one.sample])
        prompt_w[row, begin:] = torch.tensor(list(prompts[one.sample]), device=device)
        attention[row, :begin] = 0
    order = torch.stack([torch.randperm(length, generator=torch.Generator().manual_seed(seed * 1_000_003 + one.sample)) for one in finished]).to(device)
    samples = [one.sample for one in finished]
    for number in range(1, steps + 1):
        if policy == "remask":
            masked_rk = confidence_g.argsort(dim=1, stable=True)[:, :remask_tokens].sort(1).values
        else:
            masked_rk = order[:, : max(1, length * (steps - number + 1) // (2 * steps))].sort(1).values
        shown_g = canvas_g.scatter(1, masked_rk, mask_id)
        log_probs = denoiser(torch.cat([prompt_w, shown_g], 1), attention, masked_rk + width).double().log_softmax(-1)
        similarity = {key: value[:, width:] for key, value in observer.latest.items()} if observer else {}
        visible = torch.ones_like(shown_g, dtype=torch.bool).scatter(1, masked_rk, False)
        recorder.refined(samples, [one.nfe + number for one in finished], number, masked_rk, log_probs, policy == "remask", visible, similarity)
        if policy == "remask":
            best, tokens = log_probs.max(-1)
            canvas_g, confidence_g = canvas_g.scatter(1, masked_rk, tokens), confidence_g.scatter(1, masked_rk, best.exp())
