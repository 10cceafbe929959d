"""Evaluation: every template, seed and rule answers the same problems, a killed one goes on, and
nothing of the test set is shown.
"""

import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import write_adapter, write_checkpoint
from tracedlm.config import Decode, Evaluation, Exits
from tracedlm.records.rrm import Rrm
from tracedlm.report.evaluated import read_evaluated
from tracedlm.stages.exits import evaluation as stage
from tracedlm.stages.exits.decoding import Setup
from tracedlm.tasks import get_task

TEMPLATES = ("default", "brief")
N = 5


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    checkpoint = write_checkpoint(folder / "model", hidden=32, layers=2, masks=False)
    task = get_task("sudoku")
    data = {split: folder / f"{split}.txt" for split in ("test", "train")}
    for split, path in data.items():
        task.write(
            [{**problem, "prompt": f"Well, {split}?"} for problem in task.sample(split, N + 2, 0)],
            path,
        )
    u = np.random.default_rng(0).normal(size=32)
    q = folder / "q.safetensors"
    Rrm(
        (u / np.linalg.norm(u)).astype(np.float32),
        np.eye(32, 2, dtype=np.float32),
        1,
        "q",
        "B",
        "moments",
        "raw",
    ).write(q)
    return checkpoint, write_adapter(checkpoint, folder / "adapter"), q, data


def evaluate(inputs, folder, tuned=None, **settings):
    checkpoint, adapter, q, data = inputs
    given = Evaluation(**{"templates": TEMPLATES, "samples": N, "checkpoint_every": 3, **settings})
    out = {"table": folder / "32.parquet", "manifest": folder / "32.json"}
    model = {"path": str(checkpoint), "dtype": "float32", "device": "cpu"}
    how = Decode(block_length=16, batch_size=2), Exits(rad={"delta": 0.05, "omega": 2})
    setup = Setup(model, adapter, {"q": q, "moments": q}, "projection", "sudoku", data, 32, *how)
    stage.evaluate(setup, given, 7, 1, tuned, out)
    return pq.read_table(out["table"]).to_pylist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(inputs, folder):
    return evaluate(inputs, folder)


def test_every_problem_is_answered_once_under_every_template_and_rule(whole, folder):
    rules = ("full", "rad", "truncate@rad", "random@rad")
    counts = Counter((row["template"], row["rule"], row["sample_id"]) for row in whole)
    assert set(counts.values()) == {1} and len(counts) == len(TEMPLATES) * len(rules) * N
    assert {row["seed"] for row in whole} == {7}
    found = read_evaluated(folder / "32.parquet")
    assert (found.templates, found.rules, found.correct.shape) == (TEMPLATES, rules, (2, 4, N, 1))
    assert found.facets == ({},) * N and (found.temperature, found.shots) == (0, 0)
    assert json.loads((folder / "32.json").read_text())["stage"] == "exits.evaluation" and not list(
        folder.glob(".unfinished*")
    )


def test_the_default_prompt_is_the_one_written_with_the_problem(whole):
    task = get_task("sudoku")
    questions = [task.question(problem) for problem in task.sample("test", N, 0)]
    assert {row["prompt"] for row in whole if row["template"] == "default"} == {"Well, test?"}
    brief = {row["sample_id"]: row["prompt"] for row in whole if row["template"] == "brief"}
    assert all(
        brief[n].endswith(f"\n\n{question}") and brief[n].startswith("Reason")
        for n, question in enumerate(questions)
    )


def test_a_baseline_takes_the_forwards_of_its_rule_under_the_same_template(whole):
    """Forwards per template; full decoding: 16 of 32 tokens."""
    spent = {
        (template, rule): np.mean(
            [row["nfe"] for row in whole if (row["template"], row["rule"]) == (template, rule)]
        )
        for template in TEMPLATES
        for rule in ("full", "rad", "truncate@rad")
    }
    for template in TEMPLATES:
        assert spent[template, "full"] == 16 > spent[template, "rad"]
        assert abs(spent[template, "truncate@rad"] - spent[template, "rad"]) <= 1 / N + 1e-9
    labels = {row["label"] for row in whole if row["rule"] == "truncate@rad"}
    assert labels == {f"truncate(forwards={spent[template, 'rad']:.6g})" for template in TEMPLATES}


def plain(rows):
    return [{**row, "facets": dict(row["facets"])} for row in rows]


def test_a_killed_job_does_not_decode_finished_pieces_again(inputs, whole, tmp_path, monkeypatch):
    decoded, original = [], stage._rows

    def dies(bench, piece, *rest):
        decoded.append((piece.template, piece.rule, piece.batch.start))
        if len(decoded) == 6:
            raise KeyboardInterrupt
        return original(bench, piece, *rest)

    monkeypatch.setattr(stage, "_rows", dies)
    monkeypatch.setattr(stage, "code_digest", lambda _: "the same code")
    with pytest.raises(KeyboardInterrupt):
        evaluate(inputs, tmp_path)
    assert not (tmp_path / "32.parquet").exists() and not (tmp_path / "32.json").exists()
    assert plain(evaluate(inputs, tmp_path)) == plain(whole)
    again = [piece for piece, times in Counter(decoded).items() if times > 1]
    assert again == [decoded[5]] == [decoded[6]] and len(set(decoded)) == 2 * 4 * 2
    assert not list(tmp_path.glob(".unfinished*"))


def test_unfinished_work_is_gone_on_with_under_the_same_settings_only(
    inputs, tmp_path, monkeypatch
):
    original = stage._join
    monkeypatch.setattr(stage, "code_digest", lambda _: "the same code")
    monkeypatch.setattr(stage, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        evaluate(inputs, tmp_path, templates=("brief",), rules=("full",))
    monkeypatch.setattr(stage, "_join", original)
    monkeypatch.setattr(stage, "_rows", lambda *_: pytest.fail("decoded again"))
    assert len(evaluate(inputs, tmp_path, templates=("brief",), rules=("full",))) == N
    with pytest.raises(pytest.fail.Exception):
        evaluate(inputs, tmp_path, templates=("brief",), rules=("full",), shots=1)


def test_seeds_draw_different_texts_at_a_temperature(inputs, tmp_path):
    rows = evaluate(
        inputs, tmp_path, templates=("brief",), rules=("full",), seeds=2, temperature=1.0
    )
    texts = {seed: [row["text"] for row in rows if row["seed"] == seed] for seed in (7, 8)}
    assert len(rows) == 2 * N and texts[7] != texts[8]
    assert rows == evaluate(
        inputs, tmp_path, templates=("brief",), rules=("full",), seeds=2, temperature=1.0
    )


def test_what_validation_chose_is_what_is_run(inputs, tmp_path):
    (tmp_path / "tuned.json").write_text(json.dumps({"chosen": {"rad": {"delta": 0.5}}}))
    rows = evaluate(
        inputs, tmp_path, tuned=tmp_path / "tuned.json", templates=("brief",), rules=("rad",)
    )
    assert {row["label"] for row in rows} == {"rad(delta=0.5, omega=2, tau=1)"}


def test_worked_examples_are_of_training_alone_and_the_seed_decides_them():
    task = get_task("sudoku")
    train, test = (task.sample(split, 12, 0) for split in ("train", "test"))
    mixed = [*train, *test[:6]]  # a training file that holds test problems by mistake
    for seed in range(5):
        shots = stage.worked_examples(task, mixed, test, 3, seed)
        assert shots == stage.worked_examples(task, mixed, test, 3, seed) and len(shots) == 3
        assert not {task.key(shot) for shot in shots} & {task.key(problem) for problem in test}
    assert (
        len(
            {
                tuple(task.key(shot) for shot in stage.worked_examples(task, train, test, 3, seed))
                for seed in range(5)
            }
        )
        > 1
    )
    with pytest.raises(
        ValueError,
        match=(
            r"evaluation\.shots: 13 worked problems of sudoku are asked for, its training split"
            r" has 12"
        ),
    ):
        stage.worked_examples(task, mixed, test, 13, 0)


def test_worked_examples_are_earlier_turns_under_the_same_template():
    task = get_task("sudoku")
    shot, problem = task.sample("train", 1, 0)[0], task.sample("test", 1, 0)[0]
    turns = stage.conversation(task, "Solve: {question}", problem, [shot], 128)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [turn["content"] for turn in turns] == [
        f"Solve: {task.question(shot)}",
        task.solve(shot, 128),
        f"Solve: {task.question(problem)}",
    ]


def test_shots_lengthen_the_prompt_and_stay_out_of_its_record(inputs, whole, tmp_path):
    rows = evaluate(inputs, tmp_path, templates=("brief",), rules=("full",), shots=2)
    before = {
        row["sample_id"]: row
        for row in whole
        if (row["template"], row["rule"]) == ("brief", "full")
    }
    for row in rows:
        assert (
            row["prompt"] == before[row["sample_id"]]["prompt"]
            and row["prompt_tokens"] > before[row["sample_id"]]["prompt_tokens"] + 50
        )
    assert read_evaluated(tmp_path / "32.parquet").shots == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"seeds": 3},
            (
                "seeds = 3 at temperature 0 would give the same numbers 3 times; set temperature or"
                " seeds: 1"
            ),
        ),
        (
            {"rules": ("full", "truncate")},
            (
                "truncate and random are run at the mean forwards of other rules: add one of them"
                " to rules"
            ),
        ),
        (
            {"templates": ("brief", "mine/brief.txt")},
            "two templates are called 'brief'; drop or rename one",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(**given)
