"""Rule `explorer`: samples of full decoding as the explorer replays them, from stored results.

Loads no model and no torch.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracedlm.config import Certify
from tracedlm.models.token_text import TokenText, read_token_text
from tracedlm.records import trace as tables
from tracedlm.records.parquet import read_groups
from tracedlm.records.replay import (
    Commit,
    ExitReplay,
    PartialAnswer,
    ReadoutReplay,
    SampleReplay,
    SetReplay,
    StudyReplay,
)
from tracedlm.records.series import to_series
from tracedlm.stages.certify.setup import Setup, read_setup
from tracedlm.tasks import Problem, Task, get_task
from tracedlm.theory.certificate import BOUNDS, certificates, required_margin

HOLE = "\N{WHITE SQUARE}"
"""Stands for a mask in an unfinished text.

No answer contains it, so that digits beside a hole never pass for a number.
"""

Row = dict[str, Any]


def replay_study(
    results: Path,
    study: str,
    model: str,
    datasets: Sequence[str],
    seq_lens: Sequence[int],
    readouts: Sequence[str],
    rules: Sequence[str],
    certify: Certify,
    tau: float,
    samples: int,
) -> StudyReplay:
    """Collect what the explorer shows of a finished study.

    Args:
        results: `results/<study>`.
        study: The study's name.
        model: Checkpoint whose tokenizer wrote the responses.
        datasets: Datasets of the study.
        seq_lens: Canvas lengths.
        readouts: Readouts to show.
        rules: Exit rules that were compared.
        certify: Which steps are late, where certificates count.
        tau: Readout temperature.
        samples: How many test problems to show; the sets share them evenly, each from the head of
            its split.

    Raises:
        ValueError: A result is missing or of another kind.
    """
    text, share = read_token_text(model), max(1, samples // (len(datasets) * len(seq_lens)))
    setups = [
        (
            dataset,
            seq_len,
            read_setup(results / "certify/selection.json", dataset, seq_len, certify, tau),
        )
        for dataset in datasets
        for seq_len in seq_lens
    ]
    sets = [_set(results, *one, readouts, rules, text, share) for one in setups]
    delta, omega = setups[0][-1].delta, setups[0][-1].omega
    written = {
        commit.token
        for one in sets
        for sample in one.samples
        for commits in sample.commits
        for commit in commits
    }
    tokens = {token: (text.piece(token), token in text.special) for token in sorted(written)}
    return StudyReplay(
        study,
        list(readouts),
        delta=delta,
        omega=omega,
        tau=tau,
        required_margin=required_margin(delta, omega),
        tokens=tokens,
        sets=sets,
    )


def _set(
    results: Path,
    dataset: str,
    seq_len: int,
    setup: Setup,
    readouts: Sequence[str],
    rules: Sequence[str],
    text: TokenText,
    share: int,
) -> SetReplay:
    place = f"{dataset}/{seq_len}"
    task = get_task(dataset)
    folder = results / f"traces/{place}/test"
    parts = sorted((folder / "samples").glob("*.parquet"))
    if not parts:
        raise ValueError(f"{folder}: holds no samples; run the rule trace")
    rows = [row for part in parts for row in _rows(part, tables.SAMPLES, "trace samples")]
    rows.sort(key=lambda row: row["sample_id"])
    # The tokens that ended a response: after them, a canvas holds padding.
    ends = set()
    for row in rows:
        if row["output_tokens"] < len(row["tokens"]):
            ends.add(row["tokens"][row["output_tokens"]])
    plan, mask = tables.read_plan(parts[0])
    if mask is None or "begins" not in plan:
        raise ValueError(
            f"{parts[0]}: does not say how it was decoded (metadata plan, mask_id); collect the"
            " trace anew"
        )
    shown = [row["sample_id"] for row in rows[:share]]
    step_rows: list[Row] = []
    for part in parts:
        step_rows += _rows(folder / "steps" / part.name, tables.STEPS, "trace steps", shown=shown)
    steps = _by_sample(step_rows)
    read = {}
    for name in readouts:
        path = results / f"readouts/{place}/test/{name}.parquet"
        read[name] = _readout(path, shown, setup)
    exit_paths = [results / f"exits/{place}/{rule}.parquet" for rule in rules]
    runs = _by_sample(_exit_runs(exit_paths, plan, shown))
    problems = task.read(results / f"data/{dataset}/test.txt")
    samples = [
        _sample(
            row,
            sorted(steps[n], key=lambda step: step["step"]),
            problems[n],
            task,
            text,
            mask,
            ends,
            setup.settings,
            runs.get(n, []),
        )
        for n, row in zip(shown, rows, strict=False)
    ]
    for sample in samples:
        for name, of_sample in read.items():
            if sample.sample_id in of_sample:
                sample.readouts[name] = of_sample[sample.sample_id]
    return SetReplay(dataset, seq_len, plan["begins"], len(rows), samples)


RUN = ["sample_id", "rule", "nfe", "stopped_at", "answer", "correct", "answer_flip"]


def _exit_runs(paths: Sequence[Path], plan: Row, shown: Sequence[int]) -> Iterator[Row]:
    """Exit runs of the samples shown, each with whether its blocks are those of the trace."""
    ends = [*plan["begins"][1:], plan["gen_length"]]
    trace_blocks = [int(length) for length in np.diff([0, *ends])]
    for path in paths:
        same_blocks = tables.exit_block_lengths(path) == trace_blocks
        for row in _rows(path, tables.EXITS, "exits", RUN, shown):
            yield {**row, "same_blocks": same_blocks}


def _rows(
    path: Path,
    schema: pa.Schema,
    what: str,
    columns: list[str] | None = None,
    shown: Sequence[int] | None = None,
) -> Iterator[Row]:
    """Rows of the samples shown, in bounded memory."""
    for table in read_groups(path, schema, what, columns):
        yield from (table if shown is None else _of(table, shown)).to_pylist()


def _of(table: pa.Table, shown: Sequence[int]) -> pa.Table:
    return table.filter(pc.field("sample_id").isin(list(shown)))


def _by_sample(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row["sample_id"], []).append(row)
    return found


def _readout(path: Path, shown: Sequence[int], setup: Setup) -> dict[int, ReadoutReplay]:
    """A readout of the samples shown; those without a row of it are left out."""
    length, found = tables.canvas_of(path), {}
    for table in read_groups(path, tables.READOUT, "a readout"):
        for sample in shown:
            own = _of(table, [sample]).sort_by("step")
            if len(own):
                series = to_series(own, length, path)
                visible = series.on_common_support(
                    series.late(setup.settings.window, setup.settings.late_window)
                )
                flags = certificates(
                    series.similarity, visible, setup.delta, setup.omega, setup.tau
                )
                found[sample] = ReadoutReplay(
                    similarity=np.where(series.visible, series.similarity, np.nan)[0],
                    **{name: own[name].to_numpy() for name in ("kl", "margin", "concentration")},
                    certified={bound: getattr(flags, bound)[0] for bound in BOUNDS},
                )
    return found


def _sample(
    row: Row,
    steps: list[Row],
    problem: Problem,
    task: Task,
    text: TokenText,
    mask: int,
    ends: set[int],
    certify: Certify,
    runs: list[Row],
) -> SampleReplay:
    commits = [_commits(step, mask) for step in steps]
    answers = list(_answers(commits, len(row["tokens"]), task, problem, text, ends))
    denoised = [step["phase"] == "denoise" for step in steps]
    phase = [not one for one in denoised] if certify.window == "refine" else denoised
    last = [n for n, inside in enumerate(phase) if inside][-certify.late_window :]
    block = [step["block"] for step in steps]
    return SampleReplay(
        **{name: row[name] for name in ("sample_id", "prompt", "answer", "correct", "score")},
        forwards=row["nfe"],
        block=block,
        late=[n in last for n in range(len(steps))],
        commits=commits,
        confidence=[step["mean_confidence"] for step in steps],
        entropy=[step["mean_entropy"] for step in steps],
        answers=answers,
        readouts={},
        exits=[_run(run, block) for run in runs],
    )


def _commits(step: Row, mask: int) -> list[Commit]:
    written = zip(
        step["committed_position"],
        step["committed_token"],
        step["committed_confidence"],
        strict=True,
    )
    return [Commit(*one) for one in written if one[1] != mask]


def _answers(
    commits: list[list[Commit]],
    length: int,
    task: Task,
    problem: Problem,
    text: TokenText,
    ends: set[int],
) -> Iterator[PartialAnswer]:
    """The answer in the text as it stands after each step, where it differs from the one before."""
    canvas: list[int | None] = [None] * length
    before: tuple[str | None, bool] | None = None
    for step, written in enumerate(commits, start=1):
        for commit in written:
            canvas[commit.position] = commit.token
        if not written and before is not None:
            continue
        score = task.score(problem, unfinished_text(canvas, text, ends))
        if (score.answer, score.correct) != before:
            before = score.answer, score.correct
            yield PartialAnswer(step, *before)


def unfinished_text(canvas: Sequence[int | None], text: TokenText, ends: set[int]) -> str:
    """Text up to the first end token, with a `HOLE` for each mask (None)."""
    pieces, run = [], []
    for token in canvas:
        if token in ends:
            break
        if token is None:
            pieces += [text.text(run), HOLE]
            run = []
        else:
            run.append(token)
    return "".join([*pieces, text.text(run)])


def _run(row: Row, block: list[int]) -> ExitReplay:
    """A run on the steps of full decoding: block by block where it had the same blocks.

    Where it had others, it is shown from the first step on, as long as it took.
    """
    if row["same_blocks"]:
        blocks = sorted(set(block) - {-1})
        first_step = {number: block.index(number) + 1 for number in blocks}
        spans = []
        for number, forwards in zip(blocks, row["stopped_at"], strict=True):
            if forwards:
                last = first_step[number] + min(forwards, block.count(number)) - 1
                spans.append((first_step[number], last))
    else:
        spans = [(1, row["nfe"])]
    return ExitReplay(
        row["rule"],
        row["nfe"],
        spans=spans,
        answer=row["answer"],
        correct=row["correct"],
        same=not row["answer_flip"],
    )
