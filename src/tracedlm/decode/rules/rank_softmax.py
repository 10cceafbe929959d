"""`rank_softmax`: the quantity EDIT's released code monitors, with its schedule and polish.

Source: method.md section 2.
"""

from typing import final

import numpy as np
import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import RankBlock, RankSoftmaxSettings
from tracedlm.decode.step import Step
from tracedlm.theory import schedule


@final
class RankSoftmax(ExitRule[RankSoftmaxSettings]):
    """Stops when rank-column softmaxes have settled, then polishes.

    They have settled when enough of their latest KLs lie below a threshold.

    Per visible token of the active block: softmax over the map's columns j of cos(f, U_j) / tau;
    KL(previous || current), mean over those tokens and over all observed modules. A token that has
    just become visible is compared with itself as a mask.
    """

    name = "rank_softmax"

    def __init__(self, plan: Plan, slots: int, settings: RankSoftmaxSettings) -> None:
        """The block needs more steps than `stability_span`.

        Its first KL is infinite, and none is looked at before there are `stability_span` of them.
        """
        super().__init__(plan, slots, settings)
        own = [self._block(block) for block in range(plan.blocks)]
        self.must_fit(
            f"stability_span {own[0].stability_span}",
            [max(one.stability_span, one.required_stable + 1) for one in own],
        )

    def counts(self, sample: int, block: int) -> np.ndarray:
        """The Gaussian schedule of this block's settings."""
        own = self._block(block)
        return schedule.gaussian(
            self.plan.lengths[block], self.plan.block_steps(block), 1 / own.center, 1 / own.std
        )

    def polish(self, block: int) -> int:
        """As this block's settings say."""
        return self._block(block).polish_steps

    def stops(self, step: Step) -> torch.Tensor:
        """Rows that are stable.

        `required_stable` of the last `stability_span` KLs lie below the threshold, once the block
        has had so many forwards.
        """
        blocks = [self._block(block) for block in range(self.plan.blocks)]
        threshold, span, required = (
            torch.tensor([getattr(own, name) for own in blocks], device=step.block_r.device)[
                step.block_r
            ]
            for name in ("threshold", "stability_span", "required_stable")
        )
        stable_r = (self._kl(step) < threshold) & (step.block_step_r > 1)
        recent = torch.cat([self._recent(step), stable_r[:, None]], dim=1)[:, 1:]
        self.memory["recent"][step.slot_r] = recent
        age = torch.arange(recent.shape[1] - 1, -1, -1, device=recent.device)
        return ((recent & (age < span[:, None])).sum(1) >= required) & (step.block_step_r >= span)

    def _recent(self, step: Step) -> torch.Tensor:
        longest = max(own.stability_span for own in self.settings.blocks)
        return self.swap(
            "recent",
            step,
            torch.zeros(len(step.slot_r), longest, dtype=torch.bool, device=step.slot_r.device),
        )

    def _kl(self, step: Step) -> torch.Tensor:
        """Mean KL of each row; NaN where no token of the block is visible."""
        open_rk = step.in_block_rk & ~step.masked_rk
        totals = []
        for (layer, projection), reading_rgn in step.readings.items():
            index = step.position_rk[..., None].expand(-1, -1, reading_rgn.shape[-1])
            p = (reading_rgn.double().gather(1, index) / self.settings.tau).softmax(
                -1
            ) + self.settings.smoothing
            before = self.swap(f"p/{layer}/{projection}", step, p)
            kl = (before * (before.clamp(min=1e-300).log() - p.log())).sum(-1)
            totals.append((kl * open_rk).sum(1) / open_rk.sum(1))
        return torch.stack(totals).mean(0)

    def _block(self, block: int) -> RankBlock:
        return self.settings.blocks[min(block, len(self.settings.blocks) - 1)]
