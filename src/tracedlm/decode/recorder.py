"""Turns steps into rows of the trace tables. It observes: decoding with it gives the same tokens as without."""

from collections import defaultdict
from typing import Any

import numpy as np
import torch

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
        self._previous: dict[int, torch.Tensor] = {}

    def __call__(self, step: Step) -> None:
        """Record one forward of every active row."""
        confidence, entropy = _over_masked(step)
        drift = self._predictive_kl(step)
        facts = zip(*(values.tolist() for values in (step.sample_r, step.block_r, step.nfe_r, step.block_step_r, drift)), strict=True)
        masked_r = (~step.visible_rg).sum(1).tolist()
        commits, tokens = step.commit_rb.cpu().numpy(), step.prediction_rb.cpu().numpy()
        length = tokens.shape[1]
        for row, (sample, block, nfe, block_step, kl) in enumerate(facts):
            chosen = np.flatnonzero(commits[row])
            self.steps[sample].append(
                {
                    "sample_id": sample,
                    "block": block,
                    "step": nfe,
                    "block_step": block_step,
                    "phase": "denoise",
                    "committed_position": chosen + block * length,
                    "committed_token": tokens[row, chosen],
                    "masked": masked_r[row],
                    "mean_confidence": confidence[row],
                    "mean_entropy": entropy[row],
                    "predictive_kl": None if np.isnan(kl) else kl,
                }
            )
        self._add_readouts(step.sample_r.tolist(), step.nfe_r.tolist(), step.visible_rg, step.similarity_rg)

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
        """Record one refine forward: `masked_rk` are the positions that were masked for it, `written` whether they were re-predicted."""
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
                    "masked": masked_rk.shape[1],
                    "mean_confidence": confidence[row],
                    "mean_entropy": entropy[row],
                    "predictive_kl": None,
                }
            )
        self._add_readouts(samples, numbers, visible_rg, similarity_rg)

    def take(self, sample: int) -> tuple[list[Row], list[Row]]:
        """Rows of `steps` and of `readouts` of a finished sample, which is then forgotten."""
        return self.steps.pop(sample, []), self.readouts.pop(sample, [])

    def _add_readouts(
        self, samples: list[int], numbers: list[int], visible_rg: torch.Tensor, similarity: dict[tuple[int, str], torch.Tensor]
    ) -> None:
        visible = visible_rg.cpu().numpy()
        for (layer, projection), values_rg in similarity.items():
            values = values_rg.float().cpu().numpy()
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
        result = torch.full(step.sample_r.shape, torch.nan, dtype=torch.float64)
        for row, (slot, first) in enumerate(zip(step.slot_r.tolist(), (step.block_step_r == 1).tolist(), strict=True)):
            current = step.log_probs_rbv[row]
            if not first:
                result[row] = kl_from_log(current, self._previous[slot]).mean()
            self._previous[slot] = current
        return result


def _over_masked(step: Step) -> tuple[list[float | None], list[float | None]]:
    """Mean top probability and mean entropy over the positions of the active block that were masked; None where there were none."""
    n = step.block_masked_rb.sum(1)
    entropy_rb = torch.special.entr(step.log_probs_rbv.exp()).sum(-1)
    means = [(values * step.block_masked_rb).sum(1) / n for values in (step.confidence_rb, entropy_rb)]
    confidence, entropy = ([None if np.isnan(value) else value for value in mean.tolist()] for mean in means)
    return confidence, entropy
