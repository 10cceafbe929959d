"""The forward of a decoding step.

The denoiser's call, in as many pieces as memory asks for, with or without guidance.
"""

import warnings
from collections.abc import Callable
from typing import Protocol

import torch

DenoiserCall = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""`tokens [rows, length], attention mask, positions [rows, k] -> logits [rows, k, vocabulary]`."""

Readings = dict[tuple[int, str], torch.Tensor]


class Observes(Protocol):
    """Something that holds what the maps read in the last forward; see `models.observer`."""

    latest: Readings


class Reuses(Protocol):
    """A denoiser that keeps keys and values between the steps of a block; see `models.reuse`."""

    def __call__(
        self,
        tokens: torch.Tensor,
        attention: torch.Tensor,
        positions: torch.Tensor,
        slots: torch.Tensor,
        begin: torch.Tensor,
        fresh: list[bool],
    ) -> tuple[torch.Tensor, Readings, list[int]]:
        """Logits, readings, and how many tokens were computed for each row."""
        ...


class Forward:
    """Calls the denoiser on all rows.

    Where memory does not suffice, on half as many at a time from then on.

    A forward changes no state, so one that runs out of memory is simply made again and no finished
    sample is lost.
    """

    def __init__(self, denoiser: DenoiserCall, observer: Observes | None) -> None:
        self.denoiser, self.observer = denoiser, observer
        self.most_rows: int | None = None

    def __call__(
        self, tokens: torch.Tensor, attention: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, Readings]:
        """Logits of the positions, and what the observer read over the whole length."""
        while True:
            try:
                return self._in_pieces(tokens, attention, positions)
            except torch.OutOfMemoryError:
                rows = min(len(tokens), self.most_rows or len(tokens))
                if rows == 1:
                    raise
            # After the handler: inside it, the traceback keeps the failed forward's tensors alive.
            self.most_rows = (rows + 1) // 2
            if torch.accelerator.is_available():
                torch.accelerator.empty_cache()
            warnings.warn(
                f"out of memory with {rows} rows in a forward: going on with {self.most_rows} at a"
                " time",
                stacklevel=2,
            )

    def _in_pieces(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, Readings]:
        logits, readings = [], []
        for piece in zip(
            *(array.split(self.most_rows or len(array)) for array in inputs), strict=True
        ):
            logits.append(self.denoiser(*piece))
            readings.append(dict(self.observer.latest) if self.observer else {})
        if len(logits) == 1:
            return logits[0], readings[0]
        all_logits = torch.cat(logits)
        # Every piece is read by the same maps, so that the first one names them all.
        all_readings: Readings = {}
        for key in readings[0]:
            all_readings[key] = torch.cat([reading[key] for reading in readings])
        return all_logits, all_readings


def guided(denoiser: DenoiserCall, gen_length: int, mask_id: int, scale: float) -> DenoiserCall:
    """Classifier-free guidance as in LLaDA.

    Logits away from those that the prompt, masked, would give.

    The guided forward comes second, so that an observer sees that one. Every step costs two
    forwards of tokens.
    """

    def call(
        tokens: torch.Tensor, attention: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        # blind: [rows, length], the prompt masked; padding stays, it is not attended to.
        blind = tokens.clone()
        blind[:, :-gen_length] = torch.where(
            attention[:, :-gen_length] > 0, mask_id, blind[:, :-gen_length]
        )
        without = denoiser(blind, attention, positions)
        return without + (scale + 1) * (denoiser(tokens, attention, positions) - without)

    return call
