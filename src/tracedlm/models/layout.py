"""Where a transformers model keeps what we call and observe.

Its body, its head, and every layer's q, k and v projections.
"""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any


@dataclass(frozen=True)
class Layout:
    """Attribute paths inside one transformers model class.

    Attributes:
        body: Tokens to hidden states.
        head: Hidden states to logits, applied in turn.
        layers: The list of transformer blocks.
        attention: A block's attention module.
        fused: The one projection whose output is queries, keys and values side by side; None where
            they are three.
        no_lora: Why LoRA pairs on q, k and v cannot be trained; None where they can.
    """

    body: str = "model"
    head: tuple[str, ...] = ("lm_head",)
    layers: str = "model.layers"
    attention: str = "self_attn"
    fused: str | None = None
    no_lora: str | None = None


LAYOUTS = {
    "llama": Layout(),
    "qwen2": Layout(),
    "qwen3": Layout(),
    "eurobert": Layout(),
    "modernbert": Layout(
        head=("head", "decoder"),
        attention="attn",
        fused="Wqkv",
        no_lora="Wqkv holds q, k and v in one matrix",
    ),
    "diffusion_gemma": Layout(
        body="model.decoder",
        layers="model.decoder.layers",
        no_lora="its encoder and its decoder share their projections",
    ),
}
"""By the `model_type` of the loaded model: LLaDA is a `llama` and Dream a `qwen2` once loaded."""


def layout_of(model: Any) -> Layout:
    """Layout of a model without an adapter around it.

    Raises:
        ValueError: Nothing is known about the modules of this class.
    """
    kind = model.config.model_type
    if kind not in LAYOUTS:
        raise ValueError(
            f"the modules of {type(model).__name__} (model_type {kind}) are not known; known:"
            f" {', '.join(LAYOUTS)}"
        )
    return LAYOUTS[kind]


def projection(model: Any, layer: int, name: str) -> tuple[Any, slice]:
    """Where a layer computes its queries, keys or values.

    The module, and the part of its output's last axis.

    Args:
        model: Model without an adapter around it; its modules may carry LoRA.
        layer: Transformer block, from 0.
        name: `q`, `k` or `v`.

    Raises:
        ValueError: The class is not known, the model has no such layer, or the layer has no such
            projection.
    """
    layout = layout_of(model)
    layers = attrgetter(layout.layers)(model)
    if not 0 <= layer < len(layers):
        raise ValueError(
            f"the map belongs to layer {layer}, the model has layers 0..{len(layers) - 1}"
        )
    attention = getattr(layers[layer], layout.attention)
    if layout.fused is not None:
        module = getattr(attention, layout.fused)
        # The fused output is [.., q | k | v], of equal widths.
        width, part = module.out_features // 3, "qkv".index(name)
        return module, slice(part * width, (part + 1) * width)
    module = getattr(attention, f"{name}_proj")
    # Some models share keys and values, and leave the attribute empty.
    if module is None:
        raise ValueError(
            f"layer {layer} of {type(model).__name__} has no projection {name}: its values are its"
            " keys"
        )
    return module, slice(0, module.out_features)


def lora_targets(model: Any) -> list[str]:
    """Names of the modules that LoRA adapts: q, k and v of every block.

    Raises:
        ValueError: The class is not known, or has no LoRA pair per projection.
    """
    if (reason := layout_of(model).no_lora) is not None:
        raise ValueError(f"LoRA on q, k and v of {type(model).__name__} is not supported: {reason}")
    return ["q_proj", "k_proj", "v_proj"]
