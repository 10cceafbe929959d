"""Rule `trace`: one pass over the prompts that records every projection's similarities, step by step."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tracedlm.config import Decode, Trace
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.refine import refine
from tracedlm.decode.slot import Decoded
from tracedlm.generation import Reusing, decode_stream, encode, response_text, response_tokens
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.observer import Observer, observing
from tracedlm.progress import Progress
from tracedlm.records import trace as tables
from tracedlm.records.manifest import code_digest, digest_of, fingerprint, write_manifest
from tracedlm.records.parquet import read_table, table_writer, write_table
from tracedlm.records.rrm import Rrm
from tracedlm.resources import checkpoint_files
from tracedlm.tasks import Problem, Task, get_task
from tracedlm.theory.schedule import total_steps

Rows = dict[str, list[dict[str, Any]]]
"""Table name -> rows."""


def collect(
    model: dict[str, Any],
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
    shard: int,
    out: dict[str, Path],
) -> None:
    """Decode a shard of a split in full, observe it, append refine steps, and write the three trace tables and their manifest.

    Samples are decoded in fixed batches, which are dealt out to the shards whole: neither the number of shards nor an interruption
    changes a digit. A finished batch is kept in a folder beside the tables and is not decoded again by a job that was killed.
    """
    torch.set_num_threads(threads)
    problems = get_task(dataset).read(data_file)
    batches = [range(first, min(first + decode.batch_size, len(problems))) for first in range(0, len(problems), decode.batch_size)]
    mine = batches[shard :: trace.shards]
    plan = Plan(seq_len, decode.block_length, total_steps(seq_len, decode.tokens_per_step), decode.schedule)
    facts = {
        "dataset": dataset, "split": split, "seq_len": seq_len, "seed": seed, "activation": activation, "model": model,
        "decode": decode.model_dump(), "trace": trace.model_dump(exclude={"shards"}),
    }  # fmt: skip
    inputs = [digest_of(path) for path in (data_file, *sorted(adapter.iterdir()), *maps)]
    weights = [(file, Path(file).stat().st_mtime_ns, Path(file).stat().st_size) for file in checkpoint_files(model["path"])]
    key = fingerprint(**facts, inputs=inputs, weights=weights, code=code_digest("trace"))
    work = out["samples"].parent.parent / f".unfinished-{key}-{shard}"
    missing = [batch for batch in mine if not _kept(work, batch, "samples").exists()]
    if missing:
        _decode(model, adapter, maps, activation, dataset, split, problems, plan, decode, trace, seed, missing, work)
    rrms = [Rrm.read(path) for path in maps]
    meta = {
        "dataset": dataset, "split": split, "seq_len": str(seq_len), "plan": json.dumps(vars(plan)),
        "layers": json.dumps([rrm.layer for rrm in rrms]), "code": code_digest("trace"),
    }  # fmt: skip
    for name, schema in tables.TABLES.items():
        kept = [read_table(_kept(work, batch, name), schema, f"an unfinished trace, {name}") for batch in mine[:1]]
        with table_writer(
            out[name], schema, meta | {key.decode(): value.decode() for one in kept for key, value in one.schema.metadata.items()}
        ) as writer:
            for batch in mine:
                writer.append(read_table(_kept(work, batch, name), schema, f"an unfinished trace, {name}"))
    write_manifest(out["manifest"], "trace", **facts, shard=shard, samples=sum(map(len, mine)))
    shutil.rmtree(work, ignore_errors=True)  # a shard without samples has none


def _decode(
    model: dict[str, Any],
    adapter: Path,
    maps: Sequence[Path],
    activation: str,
    dataset: str,
    split: str,
    problems: list[Problem],
    plan: Plan,
    decode: Decode,
    trace: Trace,
    seed: int,
    batches: list[range],
    work: Path,
) -> None:
    """Decode batches and keep each as it is finished."""
    denoiser = load_denoiser(**model, adapter=adapter, merge=activation == "projection")
    task = get_task(dataset)
    title = f"trace {dataset} {plan.gen_length} {split}"
    with (
        observing(denoiser, [Rrm.read(path) for path in maps], activation) as observer,
        Progress(title, sum(map(len, batches)), "sample") as progress,
    ):
        for batch in batches:
            rows = _batch(denoiser, task, {n: problems[n] for n in batch}, split, plan, decode.reuse, trace, seed, observer)
            for name, schema in reversed(tables.TABLES.items()):  # `samples` last: it says that the batch is whole
                write_table(_kept(work, batch, name), rows[name], schema, {"mask_id": str(denoiser.mask_id)})
            progress.add(len(batch))


def _batch(
    denoiser: Denoiser,
    task: Task,
    problems: dict[int, Problem],
    split: str,
    plan: Plan,
    reuse: Reusing,
    trace: Trace,
    seed: int,
    observer: Observer,
) -> Rows:
    """Rows of one batch, which is decoded and refined together."""
    prompts = dict(zip(problems, encode(denoiser, [task.prompt(problem) for problem in problems.values()]), strict=True))
    recorder = TraceRecorder()
    stream = decode_stream(
        denoiser, list(prompts.values()), plan, "full",
        batch_size=len(prompts), record=recorder, observer=observer, samples=list(prompts), reuse=reuse,
    )  # fmt: skip
    done = sorted(stream, key=lambda one: one.sample)
    if trace.refine_policy != "none":
        refine(
            denoiser, prompts, done, recorder,
            policy=trace.refine_policy, steps=trace.refine_steps, remask_tokens=trace.remask_tokens, mask_id=denoiser.mask_id,
            pad_id=denoiser.tokenizer.pad_token_id, seed=seed, observer=observer, device=denoiser.device,
        )  # fmt: skip
    rows: Rows = {"samples": [], "steps": [], "readouts": []}
    for one in done:
        steps, readouts = recorder.take(one.sample)
        rows["steps"] += steps
        rows["readouts"] += readouts
        rows["samples"].append(sample_row(denoiser, task, problems[one.sample], prompts[one.sample], one, split))
    return rows


def _kept(work: Path, batch: range, name: str) -> Path:
    return work / f"{batch.start:06d}.{name}.parquet"


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
