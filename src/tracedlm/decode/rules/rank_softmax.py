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
        blocks = [self._block(block) for block in range(plan.blocks)]
        self.must_fit(
            f"stability_span {blocks[0].stability_span}",
            [max(block.stability_span, block.required_stable + 1) for block in blocks],
        )

    def counts(self, sample: int, block: int) -> np.ndarray:
        """The Gaussian schedule of this block's settings."""
        settings = self._block(block)
        # EDIT's files give reciprocals: of the peak, and of the width.
        return schedule.gaussian(
            self.plan.lengths[block],
            self.plan.block_steps(block),
            1 / settings.center,
            1 / settings.std,
        )

    def polish(self, block: int) -> int:
        """As this block's settings say."""
        return self._block(block).polish_steps

    def stops(self, step: Step) -> torch.Tensor:
        """Rows that are stable.

        `required_stable` of the last `stability_span` KLs lie below the threshold, once the block
        has had so many forwards.
        """
        threshold = self._setting(step, "threshold")
        span = self._setting(step, "stability_span")
        required = self._setting(step, "required_stable")
        stable_r = (self._kl(step) < threshold) & (step.block_step_r > 1)
        # recent: bool [rows, longest span], the latest step last.
        recent = torch.cat([self._recent(step), stable_r[:, None]], dim=1)[:, 1:]
        self.memory["recent"][step.slot_r] = recent
        age = torch.arange(recent.shape[1] - 1, -1, -1, device=recent.device)
        return ((recent & (age < span[:, None])).sum(1) >= required) & (step.block_step_r >= span)

    def _setting(self, step: Step, name: str) -> torch.Tensor:
        """A setting of the block that each row is in, [r]."""
        values = [getattr(self._block(block), name) for block in range(self.plan.blocks)]
        return torch.tensor(values, device=step.block_r.device)[step.block_r]

    def _recent(self, step: Step) -> torch.Tensor:
        longest = max(block.stability_span for block in self.settings.blocks)
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
            # p: [rows, positions, rank columns].
            before = self.swap(f"p/{layer}/{projection}", step, p)
            kl = (before * (before.clamp(min=1e-300).log() - p.log())).sum(-1)
            totals.append((kl * open_rk).sum(1) / open_rk.sum(1))
        return torch.stack(totals).mean(0)

    def _block(self, block: int) -> RankBlock:
        return self.settings.blocks[min(block, len(self.settings.blocks) - 1)]
