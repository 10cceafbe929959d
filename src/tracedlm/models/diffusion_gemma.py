"""Early exit inside `DiffusionGemmaForBlockDiffusion.generate`.

Its canvas is observed by a map, and stopped by TRACE's rule.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from tracedlm.models.observer import Observer, observing
from tracedlm.records.rrm import Rrm
from tracedlm.theory.stability import step_statistics

try:
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
        DiffusionGemmaAdaptiveStopping,
    )
except ImportError as error:
    raise ImportError(
        f"DiffusionGemma is not part of transformers {transformers.__version__}; the first that has"
        " it is newer"
    ) from error


class RadStopping(DiffusionGemmaAdaptiveStopping):
    """Stops a canvas once the RAD has stood still for `omega` consecutive steps.

    It stands still where its matched-support KL is below `delta` (TRACE Alg. 1).

    DiffusionGemma has no mask token: before each forward it keeps the tokens its sampler has
    accepted and draws all others anew. So a position is visible where its token was accepted after
    the step before; in a canvas' first step none is.

    Attributes:
        sampler: The sampler of the running `generate`, which says what it accepted.
    """

    def __init__(self, observer: Observer, delta: float, omega: int, tau: float = 1.0) -> None:
        """`observer`: of one map; `delta`: KL threshold in nats; `omega`: consecutive steps.

        `tau`: readout temperature.
        """
        if not delta > 0 or omega < 1:
            raise ValueError(f"needs delta > 0 and omega >= 1, got delta {delta} and omega {omega}")
        self.observer = observer
        self.delta, self.omega, self.tau = delta, omega, tau
        self.sampler: Any = None
        self.reset()

    def reset(self) -> None:
        """Forget the canvas before."""
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.run: torch.Tensor | int = 0
        self.accepted: torch.Tensor | None = None

    def __call__(self, argmax_canvas: torch.Tensor, logits: torch.Tensor, **_: Any) -> torch.Tensor:
        """Which rows stop: bool [batch]."""
        (similarity,) = self.observer.latest.values()
        visible = (
            torch.zeros_like(similarity, dtype=torch.bool)
            if self.accepted is None
            else self.accepted
        )
        self.accepted = self.sampler.accepted_token_mask.clone()
        self.seen = [*self.seen[-1:], (similarity, visible)]
        # similarities, visibles: [batch, steps, canvas], the step before, if any, and this one.
        similarities = torch.stack([similarity for similarity, _ in self.seen], dim=1)
        visibles = torch.stack([visible for _, visible in self.seen], dim=1)
        stable = step_statistics(similarities, visibles, tau=self.tau).kl[:, -1] < self.delta
        self.run = torch.where(stable, self.run + 1, 0)
        return self.run >= self.omega


@contextmanager
def stopping(
    model: Any, rrm: Rrm, delta: float, omega: int, tau: float = 1.0, activation: str = "projection"
) -> Iterator[RadStopping]:
    """Let the map stop `model.generate`, canvas by canvas, within this context.

    The model's own criterion is not asked.

    `generate` takes no criterion as an argument: it makes its own from the generation config, and
    that is what is replaced. Leave the cache dynamic, as it is by default: with a static one
    `generate` compiles the decoder, and hooks with it.

    Args:
        model: A `DiffusionGemmaForBlockDiffusion`.
        rrm: Map of one of the decoder's projections.
        delta: KL threshold, nats.
        omega: Consecutive stable steps.
        tau: Readout temperature.
        activation: See `observer.observing`.

    Raises:
        ValueError: The map does not fit the model, or a setting is out of range.
    """
    with observing(model, [rrm], activation) as observer:
        rule = RadStopping(observer, delta, omega, tau)
        prepare_sampler = model._prepare_sampler

        def sampler(config: Any) -> Any:
            rule.sampler = prepare_sampler(config)
            return rule.sampler

        # Set on the instance, they hide the class's methods, and deleting them brings those back.
        model._prepare_sampler, model._prepare_diffusion_stopping_criteria = sampler, lambda _: rule
        try:
            yield rule
        finally:
            del model._prepare_sampler, model._prepare_diffusion_stopping_criteria
