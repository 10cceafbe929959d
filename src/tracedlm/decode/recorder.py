"""Turns steps into rows of the trace tables.

It observes: decoding with it gives the same tokens as without.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tracedlm.decode.memory import Memory, swap
from tracedlm.decode.step import Step
from tracedlm.theory.divergence import kl_from_log

Row = dict[str, Any]


class TraceRecorder:
    """Collects rows of `steps` and `readouts` (records.trace) per sample, until they are taken.

    Memory is that of the samples in flight: take a sample's rows when it is finished.
    """

    def __init__(self) -> None:
        self.steps: dict[int, list[Row]] = defaultdict(list)
        self.readouts: dict[int, list[Row]] = defaultdict(list)
        self._memory: Memory = {}

    def __call__(self, step: Step) -> None:
        """Record one forward of every active row; `step.scheduled_rk` says what was committed."""
        n_r = step.eligible_rk.sum(1)
        confidence_rk = step.log_confidence_rk.exp()
        entropy_rk = step.entropy_rk
        # 0 / 0 is NaN where no mask was left, which `_known` turns into a null.
        confidence_r = (confidence_rk * step.eligible_rk).sum(1) / n_r
        entropy_r = (entropy_rk * step.eligible_rk).sum(1) / n_r
        masked_r = (~step.visible_rg).sum(1)
        numbers = (
            step.sample_r,
            step.block_r,
            step.nfe_r,
            step.block_step_r,
            masked_r,
            confidence_r,
            entropy_r,
            self._predictive_kl(step),
        )
        # One copy to the host for all numbers of a row. float64 holds every id and count exactly.
        facts = torch.stack([values.double() for values in numbers], dim=1).tolist()
        # written, positions, tokens: [rows, view], integers, in a second copy.
        written, positions, tokens = (
            torch.stack([step.scheduled_rk.long(), step.position_rk, step.prediction_rk])
            .cpu()
            .numpy()
        )
        probability = step.log_confidence_rk.exp().float().cpu().numpy()
        for row, (sample, block, nfe, block_step, masked, confidence, entropy, kl) in enumerate(
            facts
        ):
            chosen = np.flatnonzero(written[row])
            self.steps[int(sample)].append(
                {
                    "sample_id": int(sample),
                    "block": int(block),
                    "step": int(nfe),
                    "block_step": int(block_step),
                    "phase": "denoise",
                    "committed_position": positions[row, chosen],
                    "committed_token": tokens[row, chosen],
                    "committed_confidence": probability[row, chosen],
                    "masked": int(masked),
                    "mean_confidence": _known(confidence),
                    "mean_entropy": _known(entropy),
                    "predictive_kl": _known(kl),
                }
            )
        self._add_readouts(
            [int(fact[0]) for fact in facts],
            [int(fact[2]) for fact in facts],
            step.visible_rg,
            step.readings,
        )

    def refined(
        self,
        samples: list[int],
        numbers: list[int],
        refine_step: int,
        masked_rk: torch.Tensor,
        log_probs_rkv: torch.Tensor,
        written: bool,
        visible_rg: torch.Tensor,
        similarity_rg: dict[tuple[int, str], torch.Tensor],
    ) -> None:
        """Record one refine forward.

        `masked_rk` are the positions that were masked for it, `written` whether they were
        re-predicted.
        """
        # log_probs_rkv: [rows, masked positions, vocabulary], all of them masked for this forward.
        best, tokens = log_probs_rkv.max(-1)
        entropy = torch.special.entr(log_probs_rkv.exp()).sum(-1).mean(1).tolist()
        confidence = best.exp().mean(1).tolist()
        for row, (sample, number) in enumerate(zip(samples, numbers, strict=True)):
            self.steps[sample].append(
                {
                    "sample_id": sample,
                    "block": -1,
                    "step": number,
                    "block_step": refine_step,
                    "phase": "refine",
                    "committed_position": masked_rk[row].cpu().numpy() if written else [],
                    "committed_token": tokens[row].cpu().numpy() if written else [],
                    "committed_confidence": (
                        best[row].exp().float().cpu().numpy() if written else []
                    ),
                    "masked": masked_rk.shape[1],
                    "mean_confidence": confidence[row],
                    "mean_entropy": entropy[row],
                    # Each refine forward has masks of its own: there is nothing to compare with.
                    "predictive_kl": None,
                }
            )
        self._add_readouts(samples, numbers, visible_rg, similarity_rg)

    def take(self, sample: int) -> tuple[list[Row], list[Row]]:
        """Rows of `steps` and of `readouts` of a finished sample, which is then forgotten."""
        return self.steps.pop(sample, []), self.readouts.pop(sample, [])

    def _add_readouts(
        self,
        samples: list[int],
        numbers: list[int],
        visible_rg: torch.Tensor,
        similarity: dict[tuple[int, str], torch.Tensor],
    ) -> None:
        visible = visible_rg.cpu().numpy()
        for layer, projection, values in _series(similarity):
            for row, (sample, number) in enumerate(zip(samples, numbers, strict=True)):
                seen = np.flatnonzero(visible[row])
                self.readouts[sample].append(
                    {
                        "sample_id": sample,
                        "step": number,
                        "layer": layer,
                        "projection": projection,
                        "position": seen,
                        "similarity": values[row, seen],
                    }
                )

    def _predictive_kl(self, step: Step) -> torch.Tensor:
        """Mean over the block of KL(p_t || p_{t-1}), nats; NaN at a block's first forward."""
        now = step.log_probs_rkv
        moved = kl_from_log(now, swap(self._memory, "log_probs", step, now))
        drift = torch.where(step.in_block_rk, moved, 0).sum(1) / step.in_block_rk.sum(1)
        return torch.where(step.block_step_r == 1, torch.nan, drift)


def _series(readings: dict[tuple[int, str], torch.Tensor]) -> Iterator[tuple[int, str, np.ndarray]]:
    """Layer, name and values [r, g] of each reading.

    One of several numbers is as many series: `q[0]`, `q[1]`, ...
    """
    for (layer, projection), reading in readings.items():
        values = reading.float().cpu().numpy()
        if values.ndim == 2:
            yield layer, projection, values
        else:
            yield from (
                (layer, f"{projection}[{n}]", values[..., n]) for n in range(values.shape[-1])
            )


def _known(value: float) -> float | None:
    """The value, or None where it is undefined: no masks were left, or nothing to compare with."""
    return None if np.isnan(value) else value
