"""A masked diffusion language model as a callable `tokens, mask -> logits`."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from tracedlm.decode.phases import phase
from tracedlm.models.adapter import load_adapter
from tracedlm.models.checkpoint import read_checkpoint
from tracedlm.models.cpu import use_onednn
from tracedlm.models.layout import LAYOUTS
from tracedlm.models.memory import keep_freed_memory
from tracedlm.models.special_tokens import complete
from tracedlm.resources import located


class Denoiser:
    """A bidirectional masked language model behind one call.

    Attributes:
        model: The transformers model, in evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        mask_id: Token id of a masked position.
        causal_lm: The model without an adapter around it.
    """

    def __init__(self, model: Any, tokenizer: Any, mask_id: int) -> None:
        self.model, self.tokenizer, self.mask_id = model.eval(), tokenizer, mask_id
        self.causal_lm: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        self.causal_lm.config.use_cache = False  # a denoising step computes every position anew
        use_onednn(self.model)
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.causal_lm.device

    @torch.inference_mode()
    def __call__(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of every position, or of some.

        Args:
            tokens: int64 [batch, length]; prompts are padded on the left.
            attention_mask: [batch, length], 1 for real tokens.
            positions: int64 [batch, k]; where given, only these positions' logits are computed.

        Returns:
            float32 [batch, length or k, vocabulary]: scores of the token at each position, also
                where the model itself
            predicts the next one (Dream). Scores left of the first real token mean nothing.
        """
        count = attention_mask.cumsum(1)
        layout = LAYOUTS.get(self.causal_lm.config.model_type)
        states_at = _sources(positions, count, getattr(self.causal_lm.config, "logit_shift", 0))
        if layout is None:
            logits = self.causal_lm(input_ids=tokens, attention_mask=attention_mask).logits
            return _at(logits, states_at).float()
        # Positions count from each prompt's first real token, so that a sample's output does not
        # depend on its batch's padding.
        position_ids = (count - 1).clamp(min=0)
        body = attrgetter(layout.body)(self.causal_lm)
        states = _at(
            body(
                input_ids=tokens, attention_mask=attention_mask, position_ids=position_ids
            ).last_hidden_state,
            states_at,
        )
        with phase("head_and_softmax"):
            for name in layout.head:
                states = attrgetter(name)(self.causal_lm)(states)
            return states.float()


def load_denoiser(
    path: str | Path,
    adapter: str | Path | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    merge: bool = False,
    allow_remote_code: bool = False,
) -> Denoiser:
    """Load a checkpoint of a supported family (`models.families`), with an adapter if given.

    Args:
        path: Folder or hub id; a relative path that exists in the repository but not here is taken
            from the repository.
        adapter: Folder of a PEFT LoRA adapter, under the module names of transformers or of the
            official LLaDA.
        device: Torch device; None or `auto` takes the accelerator where there is one.
        dtype: Precision; None takes float32.
        merge: Fold the adapter into the weights: faster, but its own output can no longer be
            observed.
        allow_remote_code: Run the code that a checkpoint of another architecture brings along. Its
            logits are taken as they are.

    Raises:
        ValueError: Device or dtype is unknown; the checkpoint is unreadable, of another
            architecture, or lacks a mask token; or the adapter does not fit.
    """
    path = str(located(path))
    precision = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float32
    if not isinstance(precision, torch.dtype):
        raise ValueError(f"unknown dtype {dtype!r}; use float32, bfloat16 or float16")
    model, tokenizer = read_checkpoint(path, precision, _device(device), allow_remote_code)
    mask_id = getattr(model.config, "mask_token_id", None)
    mask_id = tokenizer.mask_token_id if mask_id is None else mask_id
    if mask_id is None or mask_id >= model.config.vocab_size:
        raise ValueError(
            f"{path}: the vocabulary of {model.config.vocab_size} tokens has no mask token"
            f" (mask_token_id is {mask_id})"
        )
    complete(tokenizer, model.config, path)
    tokenizer.padding_side = "left"
    if adapter is not None:
        model = load_adapter(model, Path(adapter), merge)
    return Denoiser(model, tokenizer, mask_id)


def _sources(
    positions: torch.Tensor | None, count: torch.Tensor, shift: int
) -> torch.Tensor | None:
    """Positions of the hidden states that score `positions`; None: every one scores itself.

    Args:
        positions: [batch, k], or None for all.
        count: Real tokens up to each position.
        shift: A hidden state scores the position so far to its right; nothing scores the first
            tokens, which take the first state.
    """
    if not shift:
        return positions
    if positions is None:
        positions = torch.arange(count.shape[1], device=count.device).expand_as(count)
    # first: [batch, 1], the column of each prompt's first real token, for padding is on the left.
    first = (count == 0).sum(1, keepdim=True)
    return torch.maximum(positions - shift, first)


def _at(values: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    return (
        values
        if positions is None
        else values.gather(1, positions[..., None].expand(-1, -1, values.shape[-1]))
    )


def _device(name: str | None) -> torch.device:
    if name not in (None, "auto"):
        try:
            return torch.device(name)
        except RuntimeError:
            raise ValueError(
                f"unknown device {name!r}; use auto, or a torch device name such as cpu or cuda:0"
            ) from None
    return (
        torch.accelerator.current_accelerator() or torch.device("cpu")
        if torch.accelerator.is_available()
        else torch.device("cpu")
    )
