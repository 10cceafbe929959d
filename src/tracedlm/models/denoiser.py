"""Loading a masked diffusion language model as a callable `tokens, mask -> logits`."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import load_peft_weights
from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

from tracedlm.resources import located


class Denoiser:
    """A bidirectional masked language model behind one call.

    Attributes:
        model: The transformers model, in evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        mask_id: Token id of a masked position.
    """

    def __init__(self, model: Any, tokenizer: Any, mask_id: int) -> None:
        self.model, self.tokenizer, self.mask_id = model.eval(), tokenizer, mask_id
        self.causal_lm: Any = model.get_base_model() if isinstance(model, PeftModel) else model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.causal_lm.device

    @torch.inference_mode()
    def __call__(self, tokens: torch.Tensor, attention_mask: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of every position, or of some.

        Args:
            tokens: int64 [batch, length]; prompts are padded on the left.
            attention_mask: [batch, length], 1 for real tokens.
            positions: int64 [batch, k]; where given, only these positions' logits are computed.

        Returns:
            float32 [batch, length or k, vocabulary].
        """
        # Positions count from each prompt's first real token, so that a sample's output does not depend on its batch's padding.
        position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
        hidden = self.causal_lm.model(input_ids=tokens, attention_mask=attention_mask, position_ids=position_ids, use_cache=False)
        states = hidden.last_hidden_state
        if positions is not None:
            states = states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))
        return self.causal_lm.lm_head(states).float()


def load_denoiser(
    path: str | Path,
    adapter: str | Path | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    merge: bool = False,
) -> Denoiser:
    """Load a LLaDA-architecture checkpoint (`LlamaForCausalLM` with bidirectional attention), with an adapter if given.

    Args:
        path: Folder or hub id; a relative path that exists in the repository but not here is taken from the repository.
        adapter: Folder of a PEFT LoRA adapter.
        device: Torch device; None or `auto` takes the accelerator where there is one.
        dtype: Precision; None takes float32.
        merge: Fold the adapter into the weights: faster, but its own output can no longer be observed.

    Raises:
        ValueError: The checkpoint is unreadable, of another architecture, or lacks a mask token; or the adapter does not fit.
    """
    path = str(located(path))
    precision = getattr(torch, dtype) if isinstance(dtype, str) else dtype or torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        # Asked for first: without a config.json, from_pretrained would build a 7B model of random weights.
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        loaded: Any = LlamaForCausalLM.from_pretrained(path, config=config, dtype=precision, output_loading_info=True)
        model, report = loaded
        if config.model_type != "llama" or report["missing_keys"]:
            lacks = f"weights lack {sorted(report['missing_keys'])[0]}" if report["missing_keys"] else f"model_type is {config.model_type}"
            raise ValueError(lacks)
    except Exception as error:  # transformers, safetensors and tokenizers each raise their own; all mean an unusable checkpoint
        raise ValueError(
            f"{path}: no usable checkpoint ({type(error).__name__}: {_short(error)}); expected a LLaDA-architecture folder or hub id"
        ) from error
    model.config.is_causal = False
    mask_id = getattr(model.config, "mask_token_id", None)
    mask_id = tokenizer.mask_token_id if mask_id is None else mask_id
    if mask_id is None or mask_id >= model.config.vocab_size:
        raise ValueError(f"{path}: the vocabulary of {model.config.vocab_size} tokens has no mask token (mask_token_id is {mask_id})")
    tokenizer.padding_side = "left"
    if adapter is not None:
        model = _with_adapter(model, Path(adapter), merge)
    return Denoiser(model.to(_device(device)), tokenizer, mask_id)


def _with_adapter(model: LlamaForCausalLM, adapter: Path, merge: bool) -> Any:
    config = adapter / "adapter_config.json"
    if not config.exists():
        raise ValueError(f"{adapter}: no adapter_config.json; expected a PEFT adapter folder such as results/<study>/sft/adapter")
    try:
        adapted = PeftModel.from_pretrained(model, str(adapter))
        # PEFT itself only warns where modules are missing on either side.
        if different := set(load_peft_weights(str(adapter), device="cpu")) ^ set(get_peft_model_state_dict(adapted)):
            raise ValueError(f"{len(different)} of its matrices have no counterpart, such as {sorted(different)[0]}")
    except Exception as error:  # peft and safetensors each raise their own; all mean an adapter that does not fit
        made_for = json.loads(config.read_text()).get("base_model_name_or_path")
        raise ValueError(f"{adapter}: does not fit this model ({_short(error)}); it was made for {made_for!r}") from error
    return adapted.merge_and_unload() if merge else adapted


def _short(error: Exception) -> str:
    """The beginning of a message, on one line."""
    return " ".join(str(error).split())[:200]


def _device(name: str | None) -> torch.device:
    if name not in (None, "auto"):
        return torch.device(name)
    return torch.accelerator.current_accelerator() or torch.device("cpu") if torch.accelerator.is_available() else torch.device("cpu")
