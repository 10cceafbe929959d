"""The branch from corpus to report at the smallest size.

What it writes, and that looking changes nothing.
"""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tracedlm.config import Dynamics
from tracedlm.corpora.grammar import ROLES
from tracedlm.models.snapshots import read_snapshot
from tracedlm.records.manifest import digest_of
from tracedlm.records.measures import MEASURES, Measure, read_measures, write_measures
from tracedlm.records.metrics import read_json
from tracedlm.records.sentences import read_sentences, read_vocabulary
from tracedlm.report.pages.dynamics import make_dynamics
from tracedlm.stages.dynamics.corpus import make_corpus
from tracedlm.stages.dynamics.measure import Setting, measure, with_rest
from tracedlm.stages.dynamics.summary import summarise
from tracedlm.stages.dynamics.train import POS_NAMES, train, weights_digest

SETTINGS = Dynamics(
    runs=("causal", "masked"),
    seeds=1,
    sentences=400,
    types=120,
    hidden=12,
    heads=2,
    feed_forward=16,
    steps=3,
    batch_size=16,
    warmup=0,
    interval=2,
    metrics=("outputs", "gradients"),
    evaluation=24,
    curvature_sentences=8,
    mask_ratios=(0.3, 0.7),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    out = {
        "sentences": folder / "s.parquet",
        "vocabulary": folder / "v.parquet",
        "limits": folder / "limits.json",
    }
    make_corpus(SETTINGS, 0, out)
    return out


def trained(corpus, folder, run="causal", settings=SETTINGS):
    out = {"checkpoints": folder / "checkpoints", "manifest": folder / "manifest.json"}
    train(run, settings, corpus["sentences"], corpus["vocabulary"], 0, 1, folder / "work", out)
    return out


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    return {run: trained(corpus, tmp_path_factory.mktemp(run), run) for run in SETTINGS.runs}


def measured(corpus, runs, run, metric, out, chosen=None):
    steps = chosen or [(0, step) for step in SETTINGS.checkpoints()]
    where = {0: runs[run]["checkpoints"]}
    measure(run, metric, steps, SETTINGS, corpus["sentences"], corpus["vocabulary"], where, 1, out)
    return out


def bytes_of(folder):
    return {
        path.relative_to(folder): digest_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_checkpoints_are_those_of_the_schedule_and_the_last_is_the_trained_model(runs):
    assert SETTINGS.checkpoints() == [0, 1, 2, 3]
    for out in runs.values():
        assert sorted(path.name for path in out["checkpoints"].iterdir()) == ["0", "1", "2", "3"]
        assert not (out["checkpoints"].parent / "work").exists()
        last = read_snapshot(out["checkpoints"] / "3")
        assert weights_digest(last) == read_json(out["manifest"], ("weights",))["weights"]


def test_keeping_checkpoints_and_measuring_them_changes_no_weight(corpus, runs, tmp_path):
    fewer = SETTINGS.model_copy(update={"interval": 3, "spacing": 9})
    assert fewer.checkpoints() != SETTINGS.checkpoints()
    alone = trained(corpus, tmp_path, settings=fewer)
    before = bytes_of(runs["causal"]["checkpoints"])
    for metric in ("outputs", "gradients"):
        measured(corpus, runs, "causal", metric, tmp_path / f"{metric}.parquet")
    assert bytes_of(runs["causal"]["checkpoints"]) == before
    digests = [
        read_json(out["manifest"], ("weights",))["weights"] for out in (alone, runs["causal"])
    ]
    assert digests[0] == digests[1]


def test_the_same_seed_gives_the_same_bytes(corpus, runs, tmp_path):
    assert bytes_of(trained(corpus, tmp_path)["checkpoints"]) == bytes_of(
        runs["causal"]["checkpoints"]
    )
    again = {name: tmp_path / path.name for name, path in corpus.items()}
    make_corpus(SETTINGS, 0, again)
    assert {name: digest_of(path) for name, path in again.items()} == {
        name: digest_of(path) for name, path in corpus.items()
    }


def test_a_half_written_checkpoint_is_skipped_by_name(corpus, runs, tmp_path):
    broken = {"causal": {"checkpoints": tmp_path / "checkpoints"}}
    shutil.copytree(runs["causal"]["checkpoints"], broken["causal"]["checkpoints"])
    (broken["causal"]["checkpoints"] / "2" / "model.safetensors").write_bytes(b"half")
    shutil.rmtree(broken["causal"]["checkpoints"] / "1")
    out = measured(corpus, broken, "causal", "outputs", tmp_path / "outputs.parquet")
    rows = read_measures([out]).to_pylist()
    for step in (1, 2):
        (row,) = [row for row in rows if row["step"] == step]
        assert row["value"] is None and f"checkpoints/{step}: no usable checkpoint" in row["reason"]
    assert {row["step"] for row in rows if row["value"] is not None} == {0, 3}


def test_the_whole_branch(corpus, runs, tmp_path):
    parts = [
        measured(corpus, runs, run, metric, tmp_path / f"{run}-{metric}.parquet")
        for run in SETTINGS.runs
        for metric in SETTINGS.metrics
    ]
    out = {"measures": tmp_path / "measures.parquet", "summary": tmp_path / "summary.json"}
    summarise(
        parts, corpus["limits"], [runs[run]["manifest"] for run in SETTINGS.runs], SETTINGS, out
    )
    table = pq.read_table(out["measures"])
    assert table.schema.names == MEASURES.names and not any(
        read_json(out["summary"], ("skipped",))["skipped"]
    )
    rows = table.to_pylist()
    assert all((row["value"] is None) == bool(row["reason"]) for row in rows)
    untrained = [
        row
        for row in rows
        if (row["run"], row["metric"], row["label"], row["step"]) == ("causal", "nll", "", 0)
    ]
    # About uniform over the vocabulary.
    assert untrained[0]["value"] == pytest.approx(np.log(124), rel=0.05)
    assert {row["module"] for row in rows if row["run"] == "masked" and row["metric"] == "nll"} == {
        "ratio 0.3",
        "ratio 0.7",
    }
    first = [row for row in rows if row["metric"] == "gradient_cosine" and row["step"] == 0]
    assert first and all(row["value"] is None and row["reason"] for row in first)
    make_dynamics(out["measures"], out["summary"], tmp_path / "tables", tmp_path / "figures")
    assert "Entropy floor" in (tmp_path / "tables/dynamics_claims.csv").read_text()
    assert all(
        (tmp_path / f"figures/dynamics_{run}.png").stat().st_size > 10_000 for run in SETTINGS.runs
    )


def test_a_killed_training_is_resumed_with_the_same_checkpoints(
    corpus, runs, tmp_path, monkeypatch
):
    calls = []

    def stop(*_):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*_)

    original = torch.optim.AdamW.step
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(corpus, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    assert bytes_of(trained(corpus, tmp_path)["checkpoints"]) == bytes_of(
        runs["causal"]["checkpoints"]
    )


def test_costs_of_a_checkpoint_add_up_to_all_that_it_took():
    found = with_rest(
        [Measure("", None, name, "", 1.0, None, 1, 0.25) for name in ("a", "b")], spent=3.0
    )
    assert [one.seconds for one in found] == [1.5, 1.5]


def test_a_measure_has_a_value_or_a_reason(tmp_path):
    with pytest.raises(ValueError, match="a value or a reason"):
        write_measures(
            tmp_path / "m.parquet",
            "causal",
            {(0, 0): [Measure("", None, "nll", "", None, None, 0, 0.0)]},
        )


def test_fewer_sentences_than_a_batch_are_refused(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"dynamics\.batch_size = 4000"):
        trained(corpus, tmp_path, settings=SETTINGS.model_copy(update={"batch_size": 4000}))


def test_the_ceiling_of_probes_is_that_of_the_evaluated_sentences(corpus):
    words = read_vocabulary(corpus["vocabulary"])
    few = read_sentences(
        corpus["sentences"], words, POS_NAMES, ROLES, "held_out", SETTINGS.evaluation
    )
    found = [Setting(causal, SETTINGS, few, few, 0).ceilings for causal in (True, False)]
    prefix, whole = ({(row.metric, row.label): row.value for row in rows} for rows in found)
    assert whole.keys() == prefix.keys() and list(whole.values()) == pytest.approx([1] * len(whole))
    assert 0.5 < prefix["accuracy", ""] < 1
