"""Reading a checkpoint.

From a folder or hub id to a model and its tokenizer, each weight held once.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME
from transformers.utils.hub import cached_file

from tracedlm.models.families import FAMILIES, Family, family_of
from tracedlm.models.llada import ROTATED_IN_FP32, rotate_in_fp32
from tracedlm.records.json_text import parse_json

UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    re.error,
    SafetensorError,
    StrictDataclassError,
)
"""What the loading libraries raise for missing, broken or foreign files.

They are transformers, peft, safetensors and the hub client.
"""

CLASSES = ("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModel")
"""Under which a checkpoint's own code may be registered, the likelier first."""


def read_checkpoint(
    path: str, dtype: torch.dtype, device: torch.device, allow_remote_code: bool
) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint.

    Weights go from the memory-mapped files to `device` one by one: a sharded checkpoint is never in
    memory twice.

    Args:
        path: Folder or hub id.
        dtype: Precision of the weights.
        device: Where they go.
        allow_remote_code: Run the code that a checkpoint of an unknown architecture brings along.

    Raises:
        ValueError: One line: a file is missing or broken, a weight is missing, left over or of
            another shape, the architecture is not supported, or a causal model was not converted.
    """
    with _reading(path, "no folder of this name, and on the hub"):
        file = cached_file(path, "config.json")
    with _reading(path, "config.json"):
        if file is None:
            raise ValueError("it is missing")
        raw = dict(parse_json(Path(file).read_bytes()))
        _refuse_quantised(raw)
        family = family_of(raw)
        config = family.read(raw) if family is not None else None
    if family is not None:
        return _native(path, family, config, dtype, device)
    if not allow_remote_code or "auto_map" not in raw:
        remedy = (
            "; allow_remote_code: true runs the code it brings along, if you trust its authors"
            if "auto_map" in raw
            else ""
        )
        raise ValueError(
            f"{path}: model_type {raw.get('model_type')!r} is not supported{remedy}; supported:"
            f" {', '.join(FAMILIES)}"
        )
    return _with_its_own_code(path, raw["auto_map"], dtype, device)


def _refuse_quantised(raw: dict[str, Any]) -> None:
    """Refuse quantised weights.

    Each method needs a library of its own, and no adapter's delta or map was made for them.
    """
    quantisation = raw.get("quantization_config") or raw.get("compression_config")
    if quantisation:
        method = (
            quantisation.get("quant_method", "an unnamed method")
            if isinstance(quantisation, dict)
            else "an unnamed method"
        )
        raise ValueError(
            f"its weights are quantised ({method}), which is not supported; name the checkpoint it"
            " was made from, in bfloat16"
        )


def _native(
    path: str, family: Family, config: Any, dtype: torch.dtype, device: torch.device
) -> tuple[Any, Any]:
    # Transformers builds the attention mask from this: a denoiser looks both ways.
    config.is_causal = False
    in_fp32 = family.rotated_in_fp32 and dtype != torch.float32
    with _reading(path, "the tokenizer", (Exception,)):  # tokenizers raises nothing more specific
        tokenizer = getattr(transformers, family.tokenizer).from_pretrained(
            path, trust_remote_code=False
        )
    with _reading(path, "the weights"):
        _check_shards(path)
        model, report = getattr(transformers, family.model).from_pretrained(
            path,
            config=config,
            dtype=dtype,
            device_map=str(device),
            key_mapping=family.key_mapping,
            use_safetensors=True,
            attn_implementation=ROTATED_IN_FP32 if in_fp32 else None,
            ignore_mismatched_sizes=True,  # refused below, with the shapes
            output_loading_info=True,
        )
        _check_complete(report)
    # Else saving would write official tensor names beside a config of transformers' own.
    model._weight_conversions = None
    if in_fp32:
        rotate_in_fp32(model)
    return model, tokenizer


def _with_its_own_code(
    path: str, auto_map: dict[str, str], dtype: torch.dtype, device: torch.device
) -> tuple[Any, Any]:
    """A model of another architecture.

    It must take `input_ids` and `attention_mask`, and look both ways by itself.
    """
    warnings.warn(
        f"{path}: running the code that this checkpoint brings along (allow_remote_code)",
        stacklevel=4,
    )
    with _reading(path, "the checkpoint with its own code"):
        name = next((name for name in CLASSES if name in auto_map), CLASSES[-1])
        model = getattr(transformers, name).from_pretrained(
            path, dtype=dtype, device_map=str(device), use_safetensors=True, trust_remote_code=True
        )
        return model, transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=True)


def _check_shards(path: str) -> None:
    """Refuse an index that names files elsewhere: transformers would read them."""
    index = cached_file(path, SAFE_WEIGHTS_INDEX_NAME, _raise_exceptions_for_missing_entries=False)
    names = (
        set() if index is None else set(parse_json(Path(index).read_bytes())["weight_map"].values())
    )
    if outside := sorted(name for name in names if Path(name).name != name):
        raise ValueError(
            f"{SAFE_WEIGHTS_INDEX_NAME} names a file outside of the checkpoint, {outside[0]!r}"
        )


def _check_complete(report: dict[str, Any]) -> None:
    """Refuse weights that are not exactly the model's.

    Transformers would draw the missing ones at random, and drop the others.
    """
    # Sorted, so that the message names the same weight every time.
    mismatched = sorted(report["mismatched_keys"])
    missing = sorted(report["missing_keys"])
    unexpected = sorted(report["unexpected_keys"])
    if mismatched:
        name, shape, expected = mismatched[0]
        raise ValueError(f"{name} has shape {list(shape)}, the config asks for {list(expected)}")
    if missing:
        raise ValueError(f"they lack {missing[0]}")
    if unexpected:
        raise ValueError(f"they hold {unexpected[0]}, which this architecture does not have")


@contextmanager
def _reading(
    path: str, part: str, errors: tuple[type[Exception], ...] = UNREADABLE
) -> Iterator[None]:
    """Say in one line which part of which checkpoint cannot be read, and why."""
    try:
        yield
    except errors as error:
        raise ValueError(f"{path}: no usable checkpoint: {part}: {short(error)}") from error


def short(error: Exception) -> str:
    """The beginning of a message, on one line."""
    return " ".join(str(error).split())[:300]
