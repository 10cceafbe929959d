"""What the explorer shows of a trace written by hand, where every step is known."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from transformers import AutoTokenizer

from tracedlm.__main__ import main
from tracedlm.config import Certify, ReadoutSettings
from tracedlm.records import trace as tables
from tracedlm.records.metrics import SAMPLES
from tracedlm.records.parquet import read_table, write_table
from tracedlm.records.rrm import Rrm
from tracedlm.stages.certify.certify import certify_set
from tracedlm.stages.certify.setup import read_setup
from tracedlm.stages.explorer import HOLE, replay_study
from tracedlm.stages.trace.readout import make_readout
from tracedlm.tasks import get_task
from tracedlm.theory.certificate import BOUNDS

LENGTH, BLOCK, REFINE = 8, 4, 4
ORDER = (3, 1, 0, 2, 7, 5, 4, 6)
CERTIFY = Certify(late_window=3, deltas=(1e-6,), omegas=(1, 2))
PROBLEMS = [
    {"input": "1,2", "output": "3"},
    {"input": "3,4", "output": "7"},
    {"input": "1,1", "output": "2"},
]
WHERE = "countdown/8"


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture
def results(tmp_path, tokenizer):
    """Three samples, each ten times as unsteady as the one before.

    In the second the model predicts a mask for one position.
    """
    rng = np.random.default_rng(0)
    end, mask = tokenizer.eos_token_id, tokenizer.mask_token_id
    samples, steps, readouts = [], [], []
    for n, text in enumerate((r"\boxed{1+2}", r"\boxed{3+4}", r"\boxed{1+1}")):
        tokens = [*tokenizer(text, add_special_tokens=False)["input_ids"], *[end] * LENGTH][:LENGTH]
        if n == 1:
            tokens[2] = mask
        score = get_task("countdown").score(PROBLEMS[n], text) if n != 1 else None
        samples.append(
            dict.fromkeys(tables.SAMPLES.names)
            | {
                "sample_id": n,
                "prompt": f"p{n}",
                "output_tokens": 5,
                "tokens": tokens,
                "nfe": LENGTH,
            }
            | {
                "answer": score and score.answer,
                "correct": bool(score and score.correct),
                "score": float(bool(score and score.correct)),
            }
        )
        for t in range(LENGTH + REFINE):
            refine = t >= LENGTH
            wrote = [] if refine else [ORDER[t]]
            facts = {"sample_id": n, "step": t + 1}
            steps.append(
                {
                    **facts,
                    "block": -1 if refine else t // BLOCK,
                    "block_step": 1,
                    "phase": "refine" if refine else "denoise",
                }
                | {
                    "committed_position": wrote,
                    "committed_token": [tokens[p] for p in wrote],
                    "committed_confidence": [0.625] * len(wrote),
                    "masked": max(LENGTH - t, 0),
                }
                | {
                    "mean_confidence": None if refine else 0.75,
                    "mean_entropy": None if refine else 0.5,
                    "predictive_kl": None,
                }
            )
            seen = list(range(LENGTH)) if refine else sorted(ORDER[:t])
            values = rng.normal(0, 1e-4 * 10**n, len(seen)) + np.array(seen) * 0.1
            readouts.append(
                {
                    **facts,
                    "layer": 1,
                    "projection": "q",
                    "position": seen,
                    "similarity": values.astype(np.float32),
                }
            )
    write_study(tmp_path, samples, steps, readouts, mask)
    return tmp_path


def write_study(root, samples, steps, readouts, mask):
    meta = {"plan": json.dumps({"gen_length": LENGTH, "begins": [0, BLOCK]}), "mask_id": str(mask)}
    parts = {name: root / f"traces/{WHERE}/test/{name}/part-0.parquet" for name in tables.TABLES}
    for name, rows in (("samples", samples[::-1]), ("steps", steps[::-1]), ("readouts", readouts)):
        write_table(parts[name], rows, tables.TABLES[name], meta)
    make_readout(
        [parts["steps"]],
        [parts["readouts"]],
        "q",
        ReadoutSettings(),
        root / f"readouts/{WHERE}/test/q.parquet",
    )
    sets = [
        {
            "dataset": "countdown",
            "seq_len": LENGTH,
            "calibration": {"alpha": None, "reason": "no sample stops"},
        }
    ]
    (root / "certify").mkdir()
    (root / "certify/selection.json").write_text(
        json.dumps({"delta": 1e-6, "omega": 2, "tau": 1.0, "gamma": None, "sets": sets})
    )
    (root / "data/countdown").mkdir(parents=True)
    get_task("countdown").write(PROBLEMS, root / "data/countdown/test.txt")
    empty = dict.fromkeys(tables.EXITS.names)
    write_exits(
        root,
        "rad",
        [BLOCK, LENGTH - BLOCK],
        [
            empty
            | {
                "sample_id": 0,
                "rule": "rad",
                "nfe": 5,
                "stopped_at": [2, 3],
                "answer": "1+2",
                "correct": True,
                "answer_flip": False,
            },
            empty
            | {
                "sample_id": 1,
                "rule": "rad",
                "nfe": 3,
                "stopped_at": [3, 0],
                "answer": None,
                "correct": False,
                "answer_flip": False,
            },
        ],
    )
    # As many blocks as the trace has, but other ones: what it spent in a block says nothing about
    # the trace's.
    write_exits(
        root,
        "klass",
        [LENGTH - 1, 1],
        [
            empty
            | {
                "sample_id": 0,
                "rule": "rad(1)",
                "nfe": 6,
                "stopped_at": [5, 1],
                "answer": None,
                "correct": False,
                "answer_flip": True,
            },
        ],
    )


def write_exits(root, rule, block_lengths, rows):
    meta = {"block_lengths": json.dumps(block_lengths)}
    write_table(root / f"exits/{WHERE}/{rule}.parquet", rows, tables.EXITS, meta)


def replayed(results, checkpoint, samples=3):
    return replay_study(
        results,
        "made-up",
        str(checkpoint),
        ["countdown"],
        [LENGTH],
        ["q"],
        ["rad", "klass"],
        CERTIFY,
        1.0,
        samples,
    )


def test_the_answer_so_far_is_that_of_the_text_with_its_holes(results, checkpoint, tokenizer):
    first = replayed(results, checkpoint).sets[0].samples[0]
    (row,) = [
        r
        for r in pq.read_table(results / f"traces/{WHERE}/test/samples/part-0.parquet").to_pylist()
        if r["sample_id"] == 0
    ]
    for step in range(1, LENGTH + REFINE + 1):
        written = ORDER[:step]
        pieces = [
            tokenizer.decode([row["tokens"][p]], skip_special_tokens=True) if p in written else HOLE
            for p in range(5)
        ]
        score = get_task("countdown").score(PROBLEMS[0], "".join(pieces))
        latest = [one for one in first.answers if one.step <= step][-1]
        assert (latest.answer, latest.correct) == (score.answer, score.correct), step
    assert (first.answers[-1].answer, first.answers[-1].step, first.answers[-1].correct) == (
        "1+2",
        7,
        True,
    )


def test_a_predicted_mask_leaves_its_position_open(results, checkpoint):
    second = replayed(results, checkpoint).sets[0].samples[1]
    assert sorted(commit.position for commits in second.commits for commit in commits) == [
        0,
        1,
        3,
        4,
        5,
        6,
        7,
    ]
    assert second.answer is None and not second.correct


def test_certificates_of_the_late_window_are_those_of_rule_certify(results, checkpoint):
    Rrm(
        np.eye(4, dtype=np.float32)[0],
        np.eye(4, dtype=np.float32)[:, :1],
        0,
        "q",
        "B",
        "moments",
        "outside_raw",
    ).write(results / "q.st")
    setup = read_setup(results / "certify/selection.json", "countdown", LENGTH, CERTIFY, 1.0)
    out = {"q": {name: results / name for name in ("samples", "grid", "summary")}}
    samples = [results / f"traces/{WHERE}/test/samples/part-0.parquet"]
    certify_set(
        {"q": results / f"readouts/{WHERE}/test/q.parquet"},
        samples,
        [results / "q.st"],
        setup,
        0,
        out,
    )
    found = {bound: [] for bound in BOUNDS}
    for sample in replayed(results, checkpoint).sets[0].samples:
        assert sample.late == [False] * 9 + [True] * 3
        for bound, flags in sample.readouts["q"].certified.items():
            found[bound].append(bool((flags & sample.late).any()))
    stored = read_table(out["q"]["samples"], SAMPLES, "certificates")
    assert found == {bound: stored[f"certified_{bound}"].to_pylist() for bound in BOUNDS}
    assert set(found["pinsker"]) == {True, False}


def test_readouts_are_the_stored_ones(results, checkpoint):
    rows = [
        row
        for row in pq.read_table(results / f"readouts/{WHERE}/test/q.parquet").to_pylist()
        if row["sample_id"] == 2
    ]
    shown = replayed(results, checkpoint).sets[0].samples[2].readouts["q"]
    for t, row in enumerate(rows):
        assert np.flatnonzero(~np.isnan(shown.similarity[t])).tolist() == row["position"]
        assert shown.similarity[t, row["position"]].tolist() == row["similarity"]
        for name in ("kl", "margin", "concentration"):
            value = getattr(shown, name)[t]
            assert (np.isnan(value) and row[name] is None) or value == row[name]


def test_runs_lie_on_the_steps_of_full_decoding(results, checkpoint):
    first, second, third = replayed(results, checkpoint).sets[0].samples
    assert [(run.rule, run.forwards, run.spans, run.same) for run in first.exits] == [
        ("rad", 5, [(1, 2), (5, 7)], True),
        ("rad(1)", 6, [(1, 6)], False),  # in blocks of its own
    ]
    assert second.exits[0].spans == [(1, 3)] and third.exits == []


def test_samples_come_from_the_head_of_the_split(results, checkpoint):
    (one,) = replayed(results, checkpoint, samples=2).sets
    assert ([sample.sample_id for sample in one.samples], one.total) == ([0, 1], 3)


def test_a_token_is_shown_with_its_own_probability(results, checkpoint):
    assert replayed(results, checkpoint).sets[0].samples[0].commits[0][0].confidence == 0.625


def test_a_sample_without_rows_of_a_readout_is_shown_without_it(results, checkpoint):
    path = results / f"readouts/{WHERE}/test/q.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(np.array(table["sample_id"]) != 1), path)
    assert [list(sample.readouts) for sample in replayed(results, checkpoint).sets[0].samples] == [
        ["q"],
        [],
        ["q"],
    ]


def test_the_command_writes_the_page_of_a_finished_study(results, checkpoint, capsys):
    shutil.copy(results / f"exits/{WHERE}/rad.parquet", results / f"exits/{WHERE}/full.parquet")
    study = {
        "study": "made-up",
        "datasets": ["countdown"],
        "seq_lens": [LENGTH],
        "catalogue": {"countdown": {}},
        "readouts": ["q"],
    }
    study |= {
        "model": {"path": str(checkpoint)},
        "decode": {"block_length": BLOCK},
        "exits": {"rules": ["full", "rad"]},
    }
    study |= {
        "trace": {"refine_steps": REFINE, "remask_tokens": 1},
        "certify": CERTIFY.model_dump(mode="json"),
    }
    (results / "config.yaml").write_text(yaml.safe_dump(study))
    assert main(["explore", str(results), "--config", str(results / "config.yaml")]) == 0
    assert capsys.readouterr().out == f"{results / 'explorer.html'}\n"
    assert "made-up" in (results / "explorer.html").read_text()
    shutil.rmtree(results / "readouts")
    assert main(["explore", str(results), "--config", str(results / "config.yaml")]) == 2
    assert "q.parquet: not found (a readout)" in capsys.readouterr().err


def test_the_config_of_another_study_is_refused(results, capsys):
    assert main(["explore", str(results)]) == 2
    known = (
        f"nothing for countdown at 128 tokens, only countdown at {LENGTH}; name the config of this"
        " study"
    )
    assert known in capsys.readouterr().err
