"""All of benchmarks/decoding.py at LLaDA-8B's shape, in one call under ten minutes.

The weights are random and in bfloat16.

    python benchmarks/gpu.py           # an accelerator of 24 GB or more
    python benchmarks/gpu.py --tiny    # the same code at a tiny shape on a CPU, to see that it runs

Measurements run in the order of their importance; one that would not end within `--minutes`, judged
by a first run, is left out and said.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch
from decoding import HEAD, Bench, measurements
from transformers import LlamaConfig, LlamaForCausalLM

from tracedlm.models.denoiser import Denoiser

LLADA: dict[str, Any] = {
    "is_causal": False,
    "tie_word_embeddings": False,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 4096,
}


@dataclass(frozen=True)
class Shape:
    """A model, and how it is decoded; `mask_id` is LLaDA's where there are so many tokens."""

    vocabulary: int
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    mask_id: int
    pad_id: int
    prompt: int
    length: int
    dtype: torch.dtype


EIGHT_B = Shape(126464, 4096, 12288, 32, 32, 126336, 126081, 200, 128, torch.bfloat16)
TINY = Shape(64, 16, 32, 2, 2, 60, 61, 6, 32, torch.float32)

RUNS = {
    "reference_1": 0.3,
    "reference_16": 6,
    "time_saved": 9,
    "recording": 6,
    "phases": 1,
    "roofline": 2,
    "trace_size": 0.3,
    "batch_1": 0.1,
    "batch_4": 0.3,
    "batch_16": 2,
    "length_1": 0.5,
    "length_2": 1.5,
    "length_4": 5,
}
"""What a measurement takes with two repeats, in runs of full decoding at batch 16.

By its tokens.
"""


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--minutes", type=float, default=9.0)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    if not options.tiny and not torch.accelerator.is_available():
        parser.error("there is no accelerator; --tiny runs the same code on a CPU")
    shape, device = (
        (TINY, torch.device("cpu"))
        if options.tiny
        else (EIGHT_B, torch.accelerator.current_accelerator())
    )
    torch.manual_seed(0)
    bench = Bench(
        _random(shape, device), shape.prompt, shape.length, repeats=1 if options.tiny else 2
    )
    bench.run(16)  # compiles and allocates
    started = time.monotonic()
    bench.run(16)
    once = time.monotonic() - started
    print(
        f"{device} {_name(device)}, {shape.layers} layers of {shape.hidden}, canvas"
        f" {shape.length}\n\n{HEAD}"
    )
    for (name, work), runs in zip(measurements(bench).items(), RUNS.values(), strict=True):
        if time.monotonic() + runs * once > end:
            print(f"| {name} | left out: it takes about {runs * once:.0f} s | | |")
        else:
            work()


def _random(shape: Shape, device: torch.device | None) -> Denoiser:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        pad_token_id=shape.pad_id,
        bos_token_id=None,
        eos_token_id=None,
        **LLADA,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(shape.dtype)
    try:
        with torch.device(device or "cpu"):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return Denoiser(model, None, shape.mask_id)


def _name(device: torch.device | None) -> str:
    return (
        torch.cuda.get_device_name(device) if device is not None and device.type == "cuda" else ""
    )


if __name__ == "__main__":
    main()
