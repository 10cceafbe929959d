"""Rule `evaluation`: exit rules under several prompt templates and seeds.

Beside baselines at equal mean forwards (arXiv 2606.29228).
"""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.config import Evaluation, Exits
from tracedlm.config.evaluation import MATCHED
from tracedlm.decode.settings import RuleSettings, settings_of
from tracedlm.generation import decode_stream
from tracedlm.progress import Progress
from tracedlm.records.evaluation import EVALUATION
from tracedlm.records.manifest import (
    code_digest,
    digest_of,
    fingerprint,
    identity_of,
    write_manifest,
)
from tracedlm.records.parquet import read_table, table_writer, write_table
from tracedlm.resources import adapter_files, checkpoint_state
from tracedlm.stages.exits.decoding import Bench, Setup
from tracedlm.tasks import Problem, Task
from tracedlm.tasks.task import fill
from tracedlm.tasks.templates import read_template, template_files, template_label

Turns = list[dict[str, str]]
"""Messages of a conversation, `role` and `content`."""


@dataclass(frozen=True)
class Piece:
    """What is decoded and kept at a time.

    Some problems under one template, with one seed and one rule, and the file that keeps them.
    """

    template: str
    seed: int
    rule: str
    batch: range
    path: Path


def evaluate(
    setup: Setup,
    evaluation: Evaluation,
    seed: int,
    threads: int,
    tuned: Path | None,
    out: dict[str, Path],
) -> None:
    """Decode the test problems under every template, seed and rule.

    One table holds all answers.

    What is decoded is kept piece by piece in a folder beside the table: a job that was killed goes
    on with the piece it had reached.

    Args:
        setup: With the splits `test`; and `train`, from which worked examples are taken.
        evaluation: Templates, seeds, rules.
        seed: The first seed; decides the worked examples.
        threads: CPU threads.
        tuned: What rule `tune` chose on this set; None where nothing is tuned.
        out: `table`, and `manifest`, which is written last.

    Raises:
        ValueError: A template is unknown or has no place for the question, there are too few worked
            examples, or the task has none.
    """
    torch.set_num_threads(threads)
    setup = setup.of_set(rules=evaluation.rules)
    exits = setup.exits
    chosen = json.loads(tuned.read_text())["chosen"] if tuned else {}
    files = template_files(setup.dataset, evaluation.templates)
    facts = {
        "dataset": setup.dataset,
        "seq_len": setup.seq_len,
        "seed": seed,
        "activation": setup.activation,
        "model": setup.model,
        "decode": setup.decode.model_dump(),
        "exits": exits.model_dump(),
        "evaluation": evaluation.model_dump(exclude={"checkpoint_every"}),
        "chosen": chosen,
    }
    key = _unfinished_key(facts, setup, evaluation, files)
    work = out["table"].parent / f".unfinished-{key}-{setup.seq_len}"
    bench = Bench(setup, "test")
    problems = bench.problems[: evaluation.samples]
    shots = []
    if evaluation.shots:
        training = bench.task.read(setup.data["train"])
        shots = worked_examples(bench.task, training, bench.problems, evaluation.shots, seed)
    pieces = _pieces(evaluation, seed, len(problems), work)
    _decode(bench, pieces, problems, files, shots, evaluation.temperature, exits, chosen)
    _join(
        pieces,
        out["table"],
        {"temperature": f"{evaluation.temperature:g}", "shots": str(evaluation.shots)},
    )
    write_manifest(
        out["manifest"],
        "exits.evaluation",
        **facts,
        samples=len(problems),
        templates={name: str(path) for name, path in files.items()},
    )
    shutil.rmtree(work)


def _unfinished_key(
    facts: dict[str, Any], setup: Setup, evaluation: Evaluation, files: dict[str, Path]
) -> str:
    """What decides every piece: only a job of the same kind goes on with unfinished work."""
    read = (*setup.data.values(), *adapter_files(setup.adapter), *files.values())
    inputs = [digest_of(path) for path in read]
    inputs += [identity_of(path) for path in setup.maps.values()]
    return fingerprint(
        **facts,
        inputs=inputs,
        weights=checkpoint_state(setup.model["path"]),
        every=evaluation.checkpoint_every,
        code=code_digest("exits.evaluation"),
    )


def _pieces(evaluation: Evaluation, seed: int, problems: int, work: Path) -> list[Piece]:
    """What is decoded between two points from which a killed job goes on."""
    pieces = []
    for template in evaluation.templates:
        for draw in range(seed, seed + evaluation.seeds):
            for rule in runs(evaluation.rules):
                for first in range(0, problems, evaluation.checkpoint_every):
                    batch = range(first, min(first + evaluation.checkpoint_every, problems))
                    name = f"{template_label(template)}-{draw}-{rule}-{first:06d}.parquet"
                    pieces.append(Piece(template, draw, rule, batch, work / name))
    return pieces


def runs(rules: tuple[str, ...]) -> list[str]:
    """What is run of these rules, in an order in which what a baseline is matched to comes first.

    >>> runs(("full", "truncate", "rad"))
    ['full', 'rad', 'truncate@rad']
    """
    alone = [name for name in rules if name not in MATCHED]
    stopping = [name for name in alone if name not in ("full", "skip_noop")]
    return [*alone, *(f"{name}@{other}" for other in stopping for name in rules if name in MATCHED)]


def worked_examples(
    task: Task, train: list[Problem], test: list[Problem], k: int, seed: int
) -> list[Problem]:
    """Problems of the training split that are shown with their solutions.

    Never one of the test split.

    Raises:
        ValueError: There are fewer than `k`.
    """
    asked = {task.key(problem) for problem in test}
    pool = [problem for problem in train if task.key(problem) not in asked]
    if len(pool) < k:
        raise ValueError(
            f"evaluation.shots: {k} worked problems of {task.name} are asked for, its training"
            f" split has {len(pool)}"
        )
    return random.Random(f"{task.name}/shots/{seed}").sample(pool, k)


def conversation(
    task: Task, template: str | None, problem: Problem, shots: list[Problem], length: int
) -> Turns:
    """Worked examples as earlier turns, then the problem's own.

    `template` None leaves each the prompt that rule `data` wrote.
    """
    turns = []
    for shot in shots:
        turns.append({"role": "user", "content": _asked(task, template, shot)})
        turns.append({"role": "assistant", "content": task.solve(shot, length)})
    return [*turns, {"role": "user", "content": _asked(task, template, problem)}]


def _asked(task: Task, template: str | None, problem: Problem) -> str:
    return task.prompt(problem) if template is None else fill(template, task.question(problem))


def _decode(
    bench: Bench,
    pieces: list[Piece],
    problems: list[Problem],
    files: dict[str, Path],
    shots: list[Problem],
    temperature: float,
    exits: Exits,
    chosen: dict[str, Any],
) -> None:
    """Decode the pieces that are missing.

    Those of a baseline come after those of the rule whose forwards it is given.
    """
    done = sum(len(piece.batch) for piece in pieces if piece.path.exists())
    asked = None
    with Progress(
        f"evaluate {bench.task.name} {bench.plan.gen_length}",
        sum(len(piece.batch) for piece in pieces),
        "sample",
        done,
    ) as progress:
        for piece in (piece for piece in pieces if not piece.path.exists()):
            if piece.template != asked:
                asked = piece.template
                _ask(
                    bench, problems, read_template(files[asked]) if asked in files else None, shots
                )
            name, settings = _settings(bench, piece, pieces, exits, chosen)
            write_table(
                piece.path, list(_rows(bench, piece, name, settings, temperature)), EVALUATION
            )
            progress.add(len(piece.batch))


def _ask(bench: Bench, problems: list[Problem], template: str | None, shots: list[Problem]) -> None:
    """Give every problem its prompt."""
    talks = [
        conversation(bench.task, template, problem, shots, bench.plan.gen_length)
        for problem in problems
    ]
    encode = bench.denoiser.tokenizer.apply_chat_template
    bench.problems = [
        {**problem, "prompt": talk[-1]["content"]}
        for problem, talk in zip(problems, talks, strict=True)
    ]
    bench.prompts = [list(encode(talk, add_generation_prompt=True)["input_ids"]) for talk in talks]


def _settings(
    bench: Bench, piece: Piece, pieces: list[Piece], exits: Exits, chosen: dict[str, Any]
) -> tuple[str, RuleSettings]:
    """The rule of a piece and its settings: those chosen on validation, else configured.

    A baseline's from what its rule spent.
    """
    name, _, matched = piece.rule.partition("@")
    if not matched:
        return name, settings_of(name, **(exits.settings(name) | chosen.get(name, {})))
    same = [
        one
        for one in pieces
        if (one.template, one.seed, one.rule) == (piece.template, piece.seed, matched)
    ]
    spent = float(
        np.concatenate(
            [
                read_table(one.path, EVALUATION, "an unfinished evaluation")["nfe"].to_numpy()
                for one in same
            ]
        ).mean()
    )
    forwards = min(max(spent, bench.plan.blocks), bench.plan.effective_steps)
    return name, settings_of(
        name, forwards=forwards, **({"stop_seed": piece.seed} if name == "random" else {})
    )


def _rows(
    bench: Bench, piece: Piece, name: str, settings: RuleSettings, temperature: float
) -> Iterator[dict[str, Any]]:
    """Decode a piece."""
    observed = bench.observed(settings.reading) if settings.reading else {}
    stream = decode_stream(
        bench.denoiser,
        [bench.prompts[n] for n in piece.batch],
        bench.plan,
        name,
        samples=piece.batch,
        temperature=temperature,
        seed=piece.seed,
        **bench.how,
        **observed,
        **settings.model_dump(),
    )
    what = {
        "template": template_label(piece.template),
        "seed": piece.seed,
        "rule": piece.rule,
        "label": settings.label(name),
    }
    for row in bench.rows(sorted(stream, key=lambda one: one.sample)):
        problem = bench.problems[row["sample_id"]]
        facets = {facet: problem[facet] for facet in bench.task.facets if facet in problem}
        yield {
            **{field: row[field] for field in EVALUATION.names if field in row},
            **what,
            "facets": facets,
        }


def _join(pieces: list[Piece], table: Path, metadata: dict[str, str]) -> None:
    with table_writer(table, EVALUATION, metadata) as writer:
        for piece in pieces:
            writer.append(read_table(piece.path, EVALUATION, "an unfinished evaluation"))
