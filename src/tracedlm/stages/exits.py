"""Rule `exits`: every exit rule on the test prompts, against full decoding and the baselines at equal mean forwards."""

from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tracedlm.config import Decode, Exits
from tracedlm.decode.engine import Decoded
from tracedlm.decode.plan import Plan
from tracedlm.generation import decode_stream, encode, response_text
from tracedlm.models.denoiser import load_denoiser
from tracedlm.records import trace as tables
from tracedlm.records.manifest import write_manifest
from tracedlm.records.parquet import write_table
from tracedlm.records.rrm import Rrm
from tracedlm.stages.trace import sample_row
from tracedlm.tasks import get_task


def compare_exits(
    model: dict[str, str],
    adapter: Path,
    rrm_file: Path,
    activation: str,
    dataset: str,
    data_file: Path,
    seq_len: int,
    decode: Decode,
    exits: Exits,
    tau: float,
    seed: int,
    threads: int,
    out: dict[str, Path],
    manifest: Path,
) -> None:
    """Run the configured rules in one process, so that their times compare, and write one table per rule.

    `truncate` and `random` get the mean forwards that `rad` used; further `truncate` runs map out accuracy over forwards.
    """
    torch.set_num_threads(threads)
    denoiser = load_denoiser(model["path"], adapter, model["device"], model["dtype"], merge=activation == "projection")
    task, plan = get_task(dataset), Plan(seq_len, decode.block_length(seq_len, decode), decode.schedule)
    problems = task.read(data_file)
    prompts = encode(denoiser, [task.prompt(problem) for problem in problems])
    rrm = Rrm.read(rrm_file)

    def run(name: str, **settings: Any) -> list[Decoded]:
        needs = {"rrm": rrm, "activation": activation} if name == "rad" else {}
        stream = decode_stream(denoiser, prompts, plan, name, batch_size=decode.batch_size, **needs, **settings)
        progress = tqdm(stream, total=len(prompts), desc=f"exits {dataset} {seq_len} {name}", unit="sample")
        return sorted(progress, key=lambda one: one.sample)

    results: dict[str, list[tuple[str, list[Decoded]]]] = {"full": [("full", run("full"))]}
    if "skip_noop" in exits.rules:
        # Without gaps in the schedule skip_noop makes the very forwards of full: running it again would show nothing.
        results["skip_noop"] = [("skip_noop", results["full"][0][1] if plan.counts().all() else run("skip_noop"))]
    if "rad" in exits.rules:
        settings = exits.rad.model_dump()
        results["rad"] = [(f"rad(delta={exits.rad.delta:g}, omega={exits.rad.omega})", run("rad", tau=tau, **settings))]
        budget = sum(one.nfe for one in results["rad"][0][1]) / len(prompts)
    if "truncate" in exits.rules:
        budgets = [budget, *(max(plan.blocks, share * plan.steps) for share in exits.budgets)]
        results["truncate"] = [(f"truncate(steps={steps:.2f})", run("truncate", steps=steps)) for steps in budgets]
    if "random" in exits.rules:
        results["random"] = [(f"random(steps={budget:.2f})", run("random", steps=budget, seed=seed))]
    baseline = results["full"][0][1]
    answers = [task.score(problems[one.sample], response_text(denoiser, one)).answer for one in baseline]
    for name, runs in results.items():
        rows = [
            _row(sample_row(denoiser, task, problems[one.sample], prompts[one.sample], one, "test"), one, full, answer, label)
            for label, done in runs
            for one, full, answer in zip(done, baseline, answers, strict=True)
        ]
        write_table(out[name], rows, tables.EXITS, {"dataset": dataset, "seq_len": str(seq_len), "steps": str(plan.steps)})
    write_manifest(manifest, "exits", dataset=dataset, seq_len=seq_len, samples=len(prompts), exits=exits.model_dump(), seed=seed)


def _row(row: dict[str, Any], one: Decoded, full: Decoded, full_answer: str | None, label: str) -> dict[str, Any]:
    """A sample's row with what it cost and how it differs from full decoding of the same prompt."""
    return {
        **row,
        "stopped_at": list(one.stopped_at),
        "token_flips": int((one.tokens != full.tokens).sum()),
        "answer_flip": row["answer"] != full_answer,
        "rule": label,
    }
