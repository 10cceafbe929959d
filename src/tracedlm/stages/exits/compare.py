"""Rule `exits`: every exit rule on the test prompts.

Against full decoding and the baselines at equal mean forwards.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.config import Exits
from tracedlm.decode.phases import Stopwatch, profiling
from tracedlm.decode.settings import SETTINGS, settings_of
from tracedlm.decode.slot import Decoded
from tracedlm.records import trace as tables
from tracedlm.records.atomic import write_text
from tracedlm.records.manifest import write_manifest
from tracedlm.records.parquet import write_table
from tracedlm.stages.exits.decoding import Bench, Setup

BASELINES = ("full", "skip_noop", "truncate", "random")
SAME_BUDGET = 0.25
"""Budgets that differ by less than this, in forwards, are met by one run."""

PROFILED_STEPS = 32
"""Steps whose time is taken apart, of the first run of the first rule that observes the model.

Of full decoding where none does.
"""

Runs = dict[str, list[tuple[str, list[Decoded]]]]
"""Rule -> (label, samples) of each of its runs."""


def compare_exits(
    setup: Setup,
    seed: int,
    threads: int,
    tuned: dict[str, Path],
    out: dict[str, Path],
    profile: Path,
    manifest: Path,
) -> None:
    """Run the configured rules, and write one table per rule and a step's profile.

    All run in one process, so that their times compare.

    `tuned`: what rule `tune` chose on each dataset at this length. A rule is run with this
    dataset's choice, with its configured settings, and with the other datasets' choices, to see
    what is lost where settings are carried over.
    """
    torch.set_num_threads(threads)
    setup = setup.of_set()
    bench, exits, dataset, seq_len = Bench(setup, "test"), setup.exits, setup.dataset, setup.seq_len
    choices = {
        name: json.loads(path.read_text())["chosen"]
        for name, path in sorted(tuned.items(), key=lambda item: item[0] != dataset)
    }
    watch, watched = (
        Stopwatch(PROFILED_STEPS),
        next((name for name in exits.rules if SETTINGS[name].reading), "full"),
    )
    runs = _runs(
        bench, exits, choices=list(choices.values()), seed=seed, watch=watch, watched=watched
    )
    baseline = runs["full"][0][1]
    answers = bench.answers(baseline)
    meta = {
        "dataset": dataset,
        "seq_len": str(seq_len),
        "steps": str(bench.plan.steps),
        "block_lengths": json.dumps(bench.plan.lengths),
    }
    for name, path in out.items():
        rows = [
            _row(row, one, full, answer, title)
            for title, done in runs[name]
            for row, one, full, answer in zip(
                bench.rows(done), done, baseline, answers, strict=True
            )
        ]
        write_table(path, rows, tables.EXITS, meta)
    seconds = {name: total / watch.timed for name, total in watch.seconds.items()}
    facts = {
        "label": runs[watched][0][0],
        "batch_size": setup.decode.batch_size,
        "steps": watch.timed,
    }
    write_text(profile, json.dumps(facts | seconds, indent=1) + "\n")
    write_manifest(
        manifest,
        "exits.compare",
        dataset=dataset,
        seq_len=seq_len,
        samples=len(bench.prompts),
        exits=exits.model_dump(),
        seed=seed,
    )


def _runs(
    bench: Bench,
    exits: Exits,
    choices: list[dict[str, Any]],
    seed: int,
    watch: Stopwatch,
    watched: str,
) -> Runs:
    """Every run: rules with their settings and sweeps, then the baselines.

    The baselines take the forwards of the others. One rule's steps are timed.
    """

    def run(name: str, settings: dict[str, Any]) -> list[Decoded]:
        with profiling(watch) if name == watched else nullcontext():
            return bench.run(name, settings)

    plan, runs = bench.plan, Runs(full=[("full", run("full", {}))])
    if "skip_noop" in exits.rules:
        # Without gaps in the schedule skip_noop makes the very forwards of full: running it again
        # would show nothing.
        gapless = all(plan.counts(block).all() for block in range(plan.blocks))
        runs["skip_noop"] = [("skip_noop", runs["full"][0][1] if gapless else run("skip_noop", {}))]
    for name in (name for name in exits.rules if name not in BASELINES):
        own, *others = [choice[name] for choice in choices if name in choice] or [{}]
        chosen = (
            settings_of(name, **(exits.settings(name) | more))
            for more in (own, {}, *exits.sweeps.get(name, ()), *others)
        )
        titled: dict[str, dict[str, Any]] = {}
        for settings in chosen:
            if (
                titled.setdefault(settings.label(name), settings.model_dump())
                != settings.model_dump()
            ):
                raise ValueError(
                    f"exits: two settings of {name} are both written as {settings.label(name)};"
                    " change or drop one"
                )
        runs[name] = [(title, run(name, settings)) for title, settings in titled.items()]
    budgets = [
        float(np.mean([one.nfe for one in done]))
        for name in runs
        if name not in BASELINES
        for _, done in runs[name]
    ]
    shares = [share * plan.steps for share in exits.budgets]
    for name, wanted, more in (
        ("truncate", [*budgets, *shares], {}),
        ("random", budgets, {"stop_seed": seed}),
    ):
        if name in exits.rules:
            at = _distinct(
                [min(max(forwards, plan.blocks), plan.effective_steps) for forwards in wanted]
            )
            for forwards in at:
                settings = settings_of(name, forwards=forwards, **more)
                runs.setdefault(name, []).append(
                    (settings.label(name), run(name, settings.model_dump()))
                )
    return runs


def _distinct(budgets: list[float]) -> list[float]:
    """Budgets in order, without those that another one stands for."""
    kept: list[float] = []
    for budget in budgets:
        if all(abs(budget - other) >= SAME_BUDGET for other in kept):
            kept.append(budget)
    return kept


def _row(
    row: dict[str, Any], one: Decoded, full: Decoded, full_answer: str | None, title: str
) -> dict[str, Any]:
    """A sample's row with what it cost and how it differs from full decoding of the same prompt."""
    return {
        **row,
        "stopped_at": list(one.stopped_at),
        "token_flips": int((one.tokens != full.tokens).sum()),
        "answer_flip": row["answer"] != full_answer,
        "rule": title,
    }
