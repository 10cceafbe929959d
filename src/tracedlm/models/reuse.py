"""Key/value reuse between the steps of a block (Fast-dLLM).

Fewer tokens to compute, at the price of approximate predictions.

In a bidirectional model every token's keys and values change when any token does, so keeping some
is an approximation: those outside the queried tokens stay as they were at the block's first step.
What that changes in the output is measured, not assumed away.
"""

from operator import attrgetter
from typing import Any, Literal

import torch

from tracedlm.decode.phases import phase
from tracedlm.models.denoiser import Denoiser
from tracedlm.models.layout import layout_of
from tracedlm.models.observer import Observer

Scope = Literal["block", "prefix"]
"""What is computed anew at each step.

The active block alone, or everything from its first token on.
"""


class Reuse:
    """Logits of one decoding run whose rows keep their keys and values in slots.

    Args:
        denoiser: A model with separate key and value projections whose attention takes a cache.
        slots: Rows of the run.
        length: Tokens of a row: prompt width and canvas.
        scope: See `Scope`.
        observer: Readings outside the queried tokens stay as they were, too.

    Raises:
        ValueError: The model predicts the next token, or is of a class whose cache is not
            understood.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        slots: int,
        length: int,
        scope: Scope,
        observer: Observer | None = None,
    ) -> None:
        kind = denoiser.causal_lm.config.model_type
        if kind not in ("llama", "qwen2", "qwen3") or getattr(
            denoiser.causal_lm.config, "logit_shift", 0
        ):
            raise ValueError(
                f"decode.reuse: {scope!r} is supported for LLaDA and other llama, qwen2 and qwen3"
                f" models, not for {kind}"
            )
        self.denoiser, self.observer = denoiser, observer
        self.length, self.scope = length, scope
        self.cache = _SlotCache(slots, length)
        self.readings: dict[Any, torch.Tensor] = {}

    @torch.inference_mode()
    def __call__(
        self,
        tokens: torch.Tensor,
        attention: torch.Tensor,
        positions: torch.Tensor,
        slots: torch.Tensor,
        begin: torch.Tensor,
        fresh: list[bool],
    ) -> tuple[torch.Tensor, dict[Any, torch.Tensor], list[int]]:
        """One step.

        Args:
            tokens: int64 [rows, length].
            attention: [rows, length], 1 for real tokens.
            positions: int64 [rows, k]: whose logits are wanted; in the queried part.
            slots: int64 [rows].
            begin: int64 [rows]: first token of each row's active block.
            fresh: Rows that are at their block's first step, for which everything is computed.

        Returns:
            Logits float32 [rows, k, vocabulary]; readings [rows, length, ...]; tokens computed for
                each row.
        """
        logits: list[Any] = [None] * len(fresh)
        computed = [0] * len(fresh)
        # Rows at their block's first step compute everything, the others the queried part.
        for is_first in (True, False):
            chosen = [row for row, is_fresh in enumerate(fresh) if is_fresh == is_first]
            if not chosen:
                continue
            rows = torch.tensor(chosen, device=tokens.device)
            query = self._query(begin[rows], positions[rows], is_first)
            part = self._forward(tokens[rows], attention[rows], query, positions[rows], slots[rows])
            for number, row in enumerate(chosen):
                logits[row], computed[row] = part[number], query.shape[1]
        return (
            torch.stack(logits),
            {key: value[slots] for key, value in self.readings.items()},
            computed,
        )

    def _query(self, begin: torch.Tensor, positions: torch.Tensor, is_first: bool) -> torch.Tensor:
        """Positions to compute [rows, q].

        A shorter row repeats its last one, which changes nothing.
        """
        everything = torch.arange(self.length, device=begin.device)
        if is_first:
            return everything.expand(len(begin), -1)
        if self.scope == "block":
            return positions
        return (begin[:, None] + everything[: self.length - int(begin.min())]).clamp(
            max=self.length - 1
        )

    def _forward(
        self,
        tokens: torch.Tensor,
        attention: torch.Tensor,
        query: torch.Tensor,
        positions: torch.Tensor,
        slots: torch.Tensor,
    ) -> torch.Tensor:
        model = self.denoiser.causal_lm
        self.cache.slots, self.cache.query = slots, query
        place = (attention.cumsum(1) - 1).clamp(min=0).gather(1, query)
        # seen: [rows, length], added to the scores: the least number hides padding.
        seen = torch.zeros(attention.shape, dtype=model.dtype, device=attention.device).masked_fill(
            attention == 0, torch.finfo(model.dtype).min
        )
        states = attrgetter(layout_of(model).body)(model)(
            input_ids=tokens.gather(1, query),
            attention_mask=seen[:, None, None, :].expand(-1, -1, query.shape[1], -1),
            position_ids=place,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        for key, reading in self.observer.latest.items() if self.observer else ():
            if key not in self.readings:
                self.readings[key] = reading.new_zeros(
                    (self.cache.rows, self.length, *reading.shape[2:])
                )
            self.readings[key][slots[:, None], query] = reading
        # Place of each wanted position among the queried ones, [rows, k].
        at = (query[:, :, None] == positions[:, None, :]).int().argmax(1)
        with phase("head_and_softmax"):
            return model.lm_head(
                states.gather(1, at[..., None].expand(-1, -1, states.shape[-1]))
            ).float()


class _SlotCache:
    """What a model's attention asks of a cache.

    Store the queried keys and values, return those of the whole row.
    """

    is_compileable = False

    def __init__(self, rows: int, length: int) -> None:
        self.rows, self.length = rows, length
        self.slots = self.query = torch.empty(0, dtype=torch.long)
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [rows, heads, q, d] of a layer, scattered into their slots.

        The whole rows [rows, heads, length, d].
        """
        if layer not in self.kept:
            shape = (self.rows, self.length, keys.shape[1], keys.shape[3])
            self.kept[layer] = (keys.new_zeros(shape), values.new_zeros(shape))
        rows = []
        # stored: [slots, length, heads, d], so that one index says slot and position.
        for stored, new in zip(self.kept[layer], (keys, values), strict=True):
            stored[self.slots[:, None], self.query] = new.transpose(1, 2)
            rows.append(stored[self.slots].transpose(1, 2))
        return rows[0], rows[1]

    def get_seq_length(self, *_: Any) -> int:
        """Nothing lies before the queried tokens: their places are given."""
        return 0
