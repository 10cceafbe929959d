"""`token_freeze`: token-wise EDIT (EDIT App. D)."""

from typing import final

import torch

from tracedlm.decode.rules.rad import AlignmentRule
from tracedlm.decode.settings import TokenFreezeSettings
from tracedlm.decode.step import Step
from tracedlm.theory.divergence import kl_from_log


@final
class TokenFreeze(AlignmentRule[TokenFreezeSettings]):
    """`rad` that freezes tokens.

    A token whose subspace components were stable for some steps keeps its activation from then on.

    Frozen tokens stay frozen until the sample ends; what they save is the reading, not the model's
    forward, which is still counted.
    """

    name = "token_freeze"
    lasting = ("frozen", "kept")
    """What outlives a block."""

    def open(self, slot: int, sample: int, block: int) -> None:
        """A new sample starts with nothing frozen, a new block with nothing to compare with."""
        for name, value in self.memory.items():
            if block == 0 or name not in self.lasting:
                value[slot] = 0

    def similarity(self, step: Step) -> torch.Tensor:
        """Cosines with the map, those of frozen tokens as they were when they froze."""
        (reading_rgn,) = step.readings.values()
        settings, visible_rg = self.settings, step.visible_rg
        # Q_s of EDIT Eq. 25. No memory is a log-probability of zero everywhere: such a token was
        # not visible, so it is not compared.
        log_q = (reading_rgn[..., 1:].abs().double() / settings.token_tau).log_softmax(-1)
        comparable = self.swap("seen", step, visible_rg) & visible_rg
        divergence = kl_from_log(log_q, self.swap("components", step, log_q))
        stable = comparable & (divergence <= settings.token_delta)
        still = self.run_length("token_run", step, stable) >= settings.token_omega
        frozen = self.swap("frozen", step, still)
        frozen_similarity = self.swap("kept", step, reading_rgn[..., 0])
        now = torch.where(frozen, frozen_similarity, reading_rgn[..., 0])
        self.memory["frozen"][step.slot_r], self.memory["kept"][step.slot_r] = frozen | still, now
        return now
