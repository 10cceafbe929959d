"""Loading LoRA adapters, under the module names of transformers or of the official LLaDA."""

import re
from pathlib import Path
from typing import Any

from peft import (
    PeftConfig,
    PeftType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file

from tracedlm.models.checkpoint import UNREADABLE, short
from tracedlm.models.llada import transformers_name


def load_adapter(model: Any, folder: Path, merge: bool) -> Any:
    """The model with a PEFT LoRA adapter, or with the adapter folded into its weights.

    Raises:
        ValueError: The folder is no adapter, or the adapter does not fit the model.
    """
    if not (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{folder}: no adapter_config.json; expected a PEFT adapter folder such as"
            " results/<study>/sft/adapter"
        )
    made_for = None
    try:
        config = PeftConfig.from_pretrained(str(folder))
        made_for = config.base_model_name_or_path
        # Of other kinds PEFT loads tokenizers and files that the config names; for Megatron it
        # imports a module that it names.
        if (
            config.peft_type != PeftType.LORA
            or getattr(config, "megatron_config", None) is not None
        ):
            raise ValueError("it is no plain LoRA")
        weights = load_file(folder / "adapter_model.safetensors")
        config.inference_mode, config.base_model_name_or_path = True, model.name_or_path
        if any(transformers_name(name) != name for name in weights):
            config = _renamed(config, weights)
        adapted = get_peft_model(model, config)
        weights = {adapter_name(name): weight for name, weight in weights.items()}
        set_peft_model_state_dict(adapted, weights)
        # PEFT itself only warns where modules are missing on either side.
        if different := set(weights) ^ set(
            get_peft_model_state_dict(adapted, save_embedding_layers=False)
        ):
            raise ValueError(
                f"{len(different)} of its matrices have no counterpart, such as"
                f" {sorted(different)[0]}"
            )
    except UNREADABLE as error:
        raise ValueError(
            f"{folder}: does not fit this model ({short(error)}); it was made for {made_for!r}"
        ) from error
    return adapted.merge_and_unload() if merge else adapted


def adapter_name(name: str) -> str:
    """Name of an adapter's tensor as PEFT saves it for `LlamaForCausalLM`.

    Transformers' module names, without `.default`.

    >>> adapter_name("base_model.model.model.transformer.blocks.5.q_proj.lora_B.default.weight")
    'base_model.model.model.layers.5.self_attn.q_proj.lora_B.weight'
    """
    return re.sub(r"(\.lora_[AB])\.default\b", r"\1", transformers_name(name))


def _renamed(config: Any, weights: dict[str, Any]) -> Any:
    """The config with the modules that the weights are for.

    Official names in it would match nothing, or something else.
    """
    for field in ("rank_pattern", "alpha_pattern", "modules_to_save"):
        if getattr(config, field):
            raise ValueError(f"{field} under official LLaDA names is not supported")
    modules = {
        adapter_name(name).removeprefix("base_model.model.").split(".lora_")[0] for name in weights
    }
    config.target_modules, config.layers_to_transform, config.layers_pattern = modules, None, None
    return config
