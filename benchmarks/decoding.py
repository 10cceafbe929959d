"""What decoding costs: against the plain reference loop, with recording, with early exits, over batch sizes and lengths.

    python benchmarks/decoding.py                       # the shipped model, this machine
    python benchmarks/decoding.py --shape llada-8b      # random weights at LLaDA-8B's shape, for a GPU: one call, under ten minutes

Every comparison is paired: both sides run in turn, `--repeats` times, in one process; the table gives medians and the range of the ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tracedlm.decode.engine import Engine
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.rules import make_rule
from tracedlm.models.denoiser import Denoiser, load_denoiser

LLADA_8B: dict[str, Any] = {
    "vocab_size": 126464,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "is_causal": False,
    "mask_token_id": 126336,
    "bos_token_id": 126080,
    "eos_token_id": 126081,
    "pad_token_id": 126081,
}
PROMPT = 200
"""Tokens of a prompt at LLaDA's shape; the shipped model's are about 40."""


def main() -> None:
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("base", "llada-8b"), default="base")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    denoiser, prompt_tokens = (load_denoiser("resources/base"), 40) if options.shape == "base" else (_llada_8b(), PROMPT)
    bench = Bench(denoiser, prompt_tokens, options.repeats)
    print(f"{options.shape}, {denoiser.device}, {options.threads} threads, {options.repeats} repeats\n")
    print("| measured | median | range | meaning |\n| --- | --- | --- | --- |")
    bench.against_reference(batch=1)
    bench.against_reference(batch=16)
    bench.recording(batch=16)
    bench.time_saved(batch=16)
    bench.roofline(batch=16)
    for length in (128, 256, 512):
        bench.seconds(f"full, batch 16, length {length}", 16, length)
    for batch in (1, 4, 16):
        bench.seconds(f"full, batch {batch}, length 128", batch, 128)


class Bench:
    """Timings of one model."""

    def __init__(self, denoiser: Denoiser, prompt_tokens: int, repeats: int) -> None:
        self.denoiser, self.prompt_tokens, self.repeats = denoiser, prompt_tokens, repeats
        generator = torch.Generator().manual_seed(0)
        most = denoiser.mask_id
        self.prompts = torch.randint(
            300 if most > 400 else 10, most if most > 400 else 300, (64, prompt_tokens), generator=generator
        ).tolist()

    def run(
        self, batch: int, length: int = 128, rule: str = "full", record: bool = False, samples: int | None = None, **settings: float
    ) -> float:
        """Mean forwards of a decoding run."""
        plan = Plan(length, 32, length // 2)
        prompts = (self.prompts * 8)[: samples or batch]
        tokenizer = self.denoiser.tokenizer
        pad_id = tokenizer.pad_token_id if tokenizer else LLADA_8B["pad_token_id"]
        recorder, ids = TraceRecorder() if record else None, {"mask_id": self.denoiser.mask_id, "pad_id": pad_id}
        make = partial(make_rule, rule, plan, **settings)
        engine = Engine(self.denoiser, prompts, plan, make, **ids, batch_size=batch, device=self.denoiser.device, record=recorder)
        done = list(engine.run())
        _synchronise()
        return sum(one.nfe for one in done) / len(done)

    def reference(self, batch: int) -> None:
        """LLaDA's published loop: logits of the whole sequence, float64 softmax over them, commits row by row."""
        for prompt in self.prompts[:batch]:
            _llada(self.denoiser, prompt, 128, 32, 64)
        _synchronise()

    def against_reference(self, batch: int) -> None:
        """Reference loop over ours, per sample."""
        self._compare(
            f"reference / ours, full, batch {batch}", lambda: self.reference(batch), lambda: self.run(batch),
            "time per sample; the reference decodes one at a time",
        )  # fmt: skip

    def recording(self, batch: int) -> None:
        """With a trace recorder over without."""
        self._compare("recording on / off", lambda: self.run(batch, record=True), lambda: self.run(batch), "observer not included")

    def time_saved(self, batch: int) -> None:
        """Share of time saved over share of forwards saved, when samples stop at different steps."""
        samples = 4 * batch
        forwards = self.run(batch, rule="random", samples=samples, forwards=28.0)
        ratios = []
        for _ in range(self.repeats):
            full, early = (
                _time(lambda more=more: self.run(batch, samples=samples, **more)) for more in ({}, {"rule": "random", "forwards": 28.0})
            )
            ratios.append((1 - early / full) / (1 - forwards / 64))
        _row(f"time saved / forwards saved, `random` at {forwards:.1f} of 64, batch {batch}", ratios, "1: every saved step is saved time")

    def roofline(self, batch: int) -> None:
        """Achieved floating-point rate of full decoding."""
        parameters = sum(weight.numel() for weight in self.denoiser.model.parameters())
        operations = 2 * parameters * (self.prompt_tokens + 128) * 64 * batch
        rates = [operations / _time(lambda: self.run(batch)) / 1e12 for _ in range(self.repeats)]
        _row("TFLOP/s of full decoding, 2 x parameters x tokens", rates, "compare with the machine's matrix-product peak")

    def seconds(self, name: str, batch: int, length: int) -> None:
        """Seconds per sample."""
        _row(f"seconds per sample: {name}", [_time(lambda: self.run(batch, length)) / batch for _ in range(self.repeats)], "")

    def _compare(self, name: str, one: Callable[[], object], other: Callable[[], object], meaning: str) -> None:
        one()
        other()
        _row(name, [_time(one) / _time(other) for _ in range(self.repeats)], meaning)


def _llada(denoiser: Denoiser, prompt: list[int], length: int, block: int, steps: int) -> torch.Tensor:
    tokens = torch.tensor([prompt + [denoiser.mask_id] * length], device=denoiser.device)
    attention = torch.ones_like(tokens)
    for first in range(len(prompt), len(prompt) + length, block):
        for count in [length // steps] * (steps * block // length):
            logits = denoiser(tokens, attention)
            best = logits.argmax(-1)
            confidence = logits.double().softmax(-1).gather(-1, best[..., None])[..., 0]
            confidence[:, first + block :] = -torch.inf
            confidence = confidence.masked_fill(tokens != denoiser.mask_id, -torch.inf)
            chosen = confidence[0].topk(count).indices
            tokens[0, chosen] = best[0, chosen]
    return tokens


def _llada_8b() -> Denoiser:
    config = LlamaConfig(**LLADA_8B)
    with torch.device(torch.accelerator.current_accelerator() or "cpu"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    return Denoiser(model, None, LLADA_8B["mask_token_id"])


def _synchronise() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _time(work: Callable[[], object]) -> float:
    _synchronise()
    started = time.perf_counter()
    work()
    _synchronise()
    return time.perf_counter() - started


def _row(name: str, values: list[float], meaning: str) -> None:
    print(f"| {name} | {statistics.median(values):.4g} | {min(values):.4g}-{max(values):.4g} | {meaning} |", flush=True)


if __name__ == "__main__":
    main()
