"""The families of checkpoints that load natively.

How each `config.json` becomes a transformers class and its config.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import CONFIG_MAPPING

from tracedlm.models.llada import COMPUTED, KEY_MAPPING, llada_config

# Id of the mask in Dream's tokenizer, for a config that does not name it.
DREAM_MASK_ID = 151666

DREAM_COMPUTED: dict[str, tuple[Any, ...]] = {
    "architectures": (["DreamModel"], None),
    "rope_scaling": (None,),
    "use_mrope": (False, None),
    "use_sliding_window": (False, None),
}
"""Fields of Dream's config that change what is computed -> accepted values.

`Qwen2ForCausalLM` computes these. None stands for an absent field.
"""


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one `model_type` are read.

    Attributes:
        model: Name of the transformers class.
        config: `config.json` to the class's config; see `read`.
        tokenizer: Name of the transformers class of the tokenizer. Named where the checkpoint asks
            for code of its own.
        computed: Fields of `config.json` that the class computes with these values only; None among
            them: may be absent.
        key_mapping: Tensor names in the checkpoint to those of the class, as regular expressions.
        rotated_in_fp32: Queries and keys are rotated in float32 also where the weights are not
            (`llada.rotate_in_fp32`).
    """

    model: str
    config: Callable[[dict[str, Any]], Any]
    tokenizer: str = "AutoTokenizer"
    computed: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    key_mapping: dict[str, str] | None = None
    rotated_in_fp32: bool = False

    def read(self, raw: dict[str, Any]) -> Any:
        """The class's config for a `config.json`.

        Raises:
            ValueError: A field is missing, or describes what the class does not compute.
        """
        for name, values in self.computed.items():
            if raw.get(name) not in values:
                raise ValueError(f"{name} is {raw.get(name)!r}, supported is {values[0]!r}")
        return self.config(raw)


def family_of(raw: dict[str, Any]) -> Family | None:
    """The family of a `config.json`, or None where it is not one of ours.

    Raises:
        ValueError: The model is known, but cannot be called as a denoiser.
    """
    kind = raw.get("model_type")
    if kind == "diffusion_gemma":
        raise ValueError(
            "DiffusionGemma denoises in its own generate and cannot be called as tokens, mask ->"
            " logits; load it with transformers and stop it with"
            " tracedlm.models.diffusion_gemma.stopping"
        )
    return FAMILIES.get(kind or "")


def _dream(raw: dict[str, Any]) -> Any:
    """Dream-7B: the layout of Qwen2, and logits that predict the next position."""
    return _of_class("qwen2", {"mask_token_id": DREAM_MASK_ID, "logit_shift": 1, **raw})


def _converted(raw: dict[str, Any]) -> Any:
    """A causal architecture that was trained to look both ways, and says so."""
    # Neither key is in the config of a causal model: one of them says that it was converted.
    if raw.get("is_causal") is not False and raw.get("mask_token_id") is None:
        raise ValueError(
            f"a {raw['model_type']} is a causal model unless it says is_causal: false or names a"
            " mask_token_id, and this one does neither"
        )
    return _of_class(raw["model_type"], raw)


def _a2d(raw: dict[str, Any]) -> Any:
    """A causal architecture converted by dLLM.

    Its name says so, and its mask token is the tokenizer's.
    """
    return _of_class(raw["model_type"].removeprefix("a2d-"), raw)


def _masked(raw: dict[str, Any]) -> Any:
    return _of_class(raw["model_type"], raw)


def _of_class(kind: str, raw: dict[str, Any]) -> Any:
    return CONFIG_MAPPING[kind].from_dict(
        {key: value for key, value in raw.items() if key not in ("model_type", "auto_map")}
    )


CAUSAL = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
FAMILIES = {
    "llada": Family(
        "LlamaForCausalLM",
        llada_config,
        "PreTrainedTokenizerFast",
        COMPUTED,
        KEY_MAPPING,
        rotated_in_fp32=True,
    ),
    "Dream": Family("Qwen2ForCausalLM", _dream, "Qwen2Tokenizer", DREAM_COMPUTED),
    **{kind: Family(model, _converted) for kind, model in CAUSAL.items()},
    **{f"a2d-{kind}": Family(model, _a2d) for kind, model in CAUSAL.items()},
    "modernbert": Family("ModernBertForMaskedLM", _masked),
    "eurobert": Family("EuroBertForMaskedLM", _masked),
}
"""By the `model_type` of the checkpoint."""
