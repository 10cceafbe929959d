"""Rule `trace`: one pass over the prompts that records every projection's similarities, step by step."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tracedlm.config import Decode, Trace
from tracedlm.decode.engine import Decoded
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.refine import refine
from tracedlm.generation import decode_stream, encode, response_text, response_tokens
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.observer import observing
from tracedlm.records import trace as tables
from tracedlm.records.manifest import write_manifest
from tracedlm.records.parquet import table_writer
from tracedlm.records.rrm import Rrm
from tracedlm.tasks import Problem, Task, get_task


def collect(
    model: dict[str, str],
    adapter: Path,
    maps: Sequence[Path],
    activation: str,
    dataset: str,
    split: str,
    data_file: Path,
    seq_len: int,
    decode: Decode,
    trace: Trace,
    seed: int,
    threads: int,
    out: dict[str, Path],
) -> None:
    """Decode a split in full, observe it, append refine steps, and write the three trace tables and their manifest."""
    torch.set_num_threads(threads)
    denoiser = load_denoiser(model["path"], adapter, model["device"], model["dtype"], merge=activation == "projection")
    task = get_task(dataset)
    problems = task.read(data_file)
    prompts = encode(denoiser, [task.prompt(problem) for problem in problems])
    plan = Plan(seq_len, decode.block_length(seq_len, decode), decode.schedule)
    rrms = [Rrm.read(path) for path in maps]
    recorder = TraceRecorder()
    meta = {
        "dataset": dataset,
        "split": split,
        "seq_len": str(seq_len),
        "plan": json.dumps(vars(plan)),
        "layers": json.dumps([rrm.layer for rrm in rrms]),
    }
    with (
        observing(denoiser, rrms, activation) as observer,
        table_writer(out["samples"], tables.SAMPLES, meta) as samples,
        table_writer(out["steps"], tables.STEPS, meta) as steps,
        table_writer(out["readouts"], tables.READOUTS, meta) as readouts,
        tqdm(total=len(prompts), desc=f"trace {dataset} {seq_len} {split}", unit="sample") as progress,
    ):
        decoded = decode_stream(denoiser, prompts, plan, "full", batch_size=decode.batch_size, record=recorder, observer=observer)
        for batch in _in_batches(decoded, decode.batch_size):
            if trace.refine_policy != "none":
                refine(
                    denoiser, prompts, batch, recorder,
                    policy=trace.refine_policy, steps=trace.refine_steps, remask_tokens=trace.remask_tokens, mask_id=denoiser.mask_id,
                    pad_id=denoiser.tokenizer.pad_token_id, seed=seed, observer=observer, device=denoiser.device,
                )  # fmt: skip
            for one in batch:
                step_rows, readout_rows = recorder.take(one.sample)
                steps.write(step_rows)
                readouts.write(readout_rows)
                samples.write([sample_row(denoiser, task, problems[one.sample], prompts[one.sample], one, split)])
            progress.update(len(batch))
    write_manifest(out["manifest"], "trace", samples=len(prompts), seed=seed, decode=decode.model_dump(), trace=trace.model_dump(), **meta)


def _in_batches(decoded: Iterator[Decoded], size: int) -> Iterator[list[Decoded]]:
    """Finished samples in groups, each in the order of the prompts."""
    while batch := list(islice(decoded, size)):
        yield sorted(batch, key=lambda one: one.sample)


def sample_row(denoiser: Denoiser, task: Task, problem: Problem, prompt: list[int], one: Decoded, split: str) -> dict[str, Any]:
    """One row of the table `samples`: the response, how it was marked and what it cost."""
    text = response_text(denoiser, one)
    score = task.score(problem, text)
    return {
        "sample_id": one.sample,
        "split": split,
        "prompt": task.prompt(problem),
        "prompt_tokens": len(prompt),
        "output_tokens": len(response_tokens(denoiser, one)),
        "text": text,
        "answer": score.answer,
        "correct": score.correct,
        "score": score.value,
        "score_d1": task.score(problem, text, "d1").value,
        "tokens": one.tokens.tolist(),
        "nfe": one.nfe,
        "token_forwards": one.token_forwards,
        "seconds": one.seconds,
    }
