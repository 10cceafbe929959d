"""Rule `trace`: one pass over the prompts.

It records every projection's similarities, step by step.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tracedlm.config import Decode, Trace
from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.decode.refine import refine
from tracedlm.decode.slot import Decoded
from tracedlm.generation import decode_stream, encode, response_text, response_tokens
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.observer import Observer, observing
from tracedlm.progress import Progress
from tracedlm.records import trace as tables
from tracedlm.records.manifest import code_digest, digest_of, fingerprint, write_manifest
from tracedlm.records.parquet import read_facts, read_table, table_writer, write_table
from tracedlm.records.rrm import Rrm
from tracedlm.resources import adapter_files, checkpoint_state
from tracedlm.tasks import Problem, Task, get_task
from tracedlm.theory.schedule import total_steps

Rows = dict[str, list[dict[str, Any]]]
"""Table name -> rows."""


@dataclass(frozen=True)
class TraceSet:
    """What is decoded, with what, and what is read of it.

    Attributes:
        model: Arguments of `load_denoiser`: path, precision, device.
        adapter: LoRA adapter.
        maps: Files of the maps that are observed, together.
        activation: Activation compared with them.
        dataset, split, data: Task name, name of the split, and its file.
        seq_len: Canvas length, tokens.
        decode, trace: How to decode, and what to add after the last unmasking.
        seed: Of the refine steps' draws.
    """

    model: dict[str, Any]
    adapter: Path
    maps: Sequence[Path]
    activation: str
    dataset: str
    split: str
    data: Path
    seq_len: int
    decode: Decode
    trace: Trace
    seed: int

    @property
    def plan(self) -> Plan:
        """Full decoding."""
        how = self.decode
        return Plan(
            self.seq_len,
            how.block_length,
            total_steps(self.seq_len, how.tokens_per_step),
            how.schedule,
        )

    @property
    def task(self) -> Task:
        """The task of the dataset."""
        return get_task(self.dataset)

    def facts(self) -> dict[str, Any]:
        """All that decides the tables' rows, but for the content of files."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "seq_len": self.seq_len,
            "seed": self.seed,
            "activation": self.activation,
            "model": self.model,
            "decode": self.decode.model_dump(),
            "trace": self.trace.model_dump(exclude={"shards"}),
        }


def collect(what: TraceSet, threads: int, shard: int, out: dict[str, Path]) -> None:
    """Decode a shard of a split in full and write its traces.

    Refine steps are appended. Written are the three trace tables and their manifest.

    Samples are decoded in fixed batches, which are dealt out to the shards whole: neither the
    number of shards nor an interruption changes a digit. A finished batch is kept in a folder
    beside the tables and is not decoded again by a job that was killed. Keeping samples one by one
    would save nothing: in full decoding those of a batch take equally many forwards, and end in the
    same one.
    """
    torch.set_num_threads(threads)
    problems, size = what.task.read(what.data), what.decode.batch_size
    batches = [
        range(first, min(first + size, len(problems))) for first in range(0, len(problems), size)
    ]
    mine = batches[shard :: what.trace.shards]
    inputs = [digest_of(path) for path in (what.data, *adapter_files(what.adapter), *what.maps)]
    key = fingerprint(
        **what.facts(),
        inputs=inputs,
        weights=checkpoint_state(what.model["path"]),
        code=code_digest("trace.collect"),
    )
    work = out["samples"].parent.parent / f".unfinished-{key}-{shard}"
    if missing := [batch for batch in mine if not _kept(work, batch, "samples").exists()]:
        _decode(what, problems, missing, work)
    plan = vars(what.plan) | {"begins": what.plan.begins}
    meta = {
        "dataset": what.dataset,
        "split": what.split,
        "seq_len": str(what.seq_len),
        "plan": json.dumps(plan),
        "layers": json.dumps([Rrm.read(path).layer for path in what.maps]),
        "code": code_digest("trace.collect"),
    }
    for name, schema in tables.TABLES.items():
        about = f"an unfinished trace, {name}"
        known = {
            key.decode(): value.decode()
            for batch in mine[:1]
            for key, value in read_facts(_kept(work, batch, name), about).items()
        }
        with table_writer(out[name], schema, meta | known) as writer:
            for batch in mine:
                writer.append(read_table(_kept(work, batch, name), schema, about))
    write_manifest(
        out["manifest"], "trace.collect", **what.facts(), shard=shard, samples=sum(map(len, mine))
    )
    shutil.rmtree(work, ignore_errors=True)  # a shard without samples has none


def _decode(
    what: TraceSet, problems: Sequence[Problem], batches: Sequence[range], work: Path
) -> None:
    """Decode batches and keep each as it is finished."""
    denoiser = load_denoiser(
        **what.model, adapter=what.adapter, merge=what.activation == "projection"
    )
    with (
        observing(denoiser, [Rrm.read(path) for path in what.maps], what.activation) as observer,
        Progress(
            f"trace {what.dataset} {what.seq_len} {what.split}", sum(map(len, batches)), "sample"
        ) as progress,
    ):
        for batch in batches:
            rows = _batch(what, {n: problems[n] for n in batch}, denoiser, observer)
            # `samples` comes last: it says that the batch is whole.
            for name, schema in reversed(tables.TABLES.items()):
                write_table(
                    _kept(work, batch, name), rows[name], schema, {"mask_id": str(denoiser.mask_id)}
                )
            progress.add(len(batch))


def _batch(
    what: TraceSet, problems: dict[int, Problem], denoiser: Denoiser, observer: Observer
) -> Rows:
    """Rows of one batch, which is decoded and refined together."""
    task, trace = what.task, what.trace
    prompts = dict(
        zip(
            problems,
            encode(denoiser, [task.prompt(problem) for problem in problems.values()]),
            strict=True,
        )
    )
    recorder = TraceRecorder()
    stream = decode_stream(
        denoiser,
        list(prompts.values()),
        what.plan,
        "full",
        batch_size=len(prompts),
        record=recorder,
        observer=observer,
        samples=list(prompts),
        reuse=what.decode.reuse,
    )
    done = sorted(stream, key=lambda one: one.sample)
    if trace.refine_policy != "none":
        refine(
            denoiser,
            prompts,
            done,
            recorder,
            policy=trace.refine_policy,
            steps=trace.refine_steps,
            remask_tokens=trace.remask_tokens,
            mask_id=denoiser.mask_id,
            pad_id=denoiser.tokenizer.pad_token_id,
            seed=what.seed,
            observer=observer,
            device=denoiser.device,
        )
    rows: Rows = {"samples": [], "steps": [], "readouts": []}
    for one in done:
        steps, readouts = recorder.take(one.sample)
        rows["steps"] += steps
        rows["readouts"] += readouts
        rows["samples"].append(
            sample_row(
                denoiser,
                task,
                problem=problems[one.sample],
                prompt=prompts[one.sample],
                one=one,
                split=what.split,
            )
        )
    return rows


def _kept(work: Path, batch: range, name: str) -> Path:
    return work / f"{batch.start:06d}.{name}.parquet"


def sample_row(
    denoiser: Denoiser, task: Task, problem: Problem, prompt: list[int], one: Decoded, split: str
) -> dict[str, Any]:
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
