"""A trace set is the same however it was collected, and what is wrong with one is found."""

import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import write_adapter, write_checkpoint
from tracedlm.__main__ import main
from tracedlm.config import Decode, Trace
from tracedlm.records import trace as tables
from tracedlm.records.parquet import write_table
from tracedlm.records.rrm import Rrm
from tracedlm.stages.trace import collect as stage
from tracedlm.stages.trace.check import check_traces
from tracedlm.tasks import get_task

DECODE = Decode(block_length=16, batch_size=3)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    checkpoint = write_checkpoint(folder / "model", hidden=32, layers=2, masks=False)
    adapter = write_adapter(checkpoint, folder / "adapter")
    task = get_task("sudoku")
    task.write(task.sample("validation", 8, 0), folder / "validation.txt")
    maps = []
    for n, projection in enumerate("qkv"):
        u = np.random.default_rng(n).normal(size=32)
        maps.append(folder / f"{projection}.safetensors")
        Rrm(
            (u / np.linalg.norm(u)).astype(np.float32),
            np.eye(32, 2, dtype=np.float32),
            1,
            projection,
            "B",
            "moments",
            "raw",
        ).write(maps[-1])
    return checkpoint, adapter, maps, folder / "validation.txt"


def collect(inputs, folder, shards=1, shard=0):
    checkpoint, adapter, maps, data = inputs
    out = {name: folder / name / f"part-{shard}.parquet" for name in tables.TABLES} | {
        "manifest": folder / f"manifests/{shard}.json"
    }
    model = {"path": str(checkpoint), "dtype": "float32", "device": "cpu"}
    how = (DECODE, Trace(refine_steps=4, shards=shards))
    what = stage.TraceSet(
        model, adapter, maps, "projection", "sudoku", "validation", data, 32, *how, seed=0
    )
    stage.collect(what, 1, shard, out)
    return folder


def content(folder):
    """Rows of every table over all parts, without the times."""
    found = {}
    for name in tables.TABLES:
        rows = [
            row
            for part in sorted((folder / name).glob("*.parquet"))
            for row in pq.read_table(part).to_pylist()
        ]
        found[name] = sorted(
            ({key: value for key, value in row.items() if key != "seconds"} for row in rows),
            key=lambda row: (row["sample_id"], row.get("step", 0), row.get("projection", "")),
        )
    return found


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    return collect(inputs, tmp_path_factory.mktemp("whole"))


def test_a_trace_set_is_whole(whole):
    assert list(check_traces(whole)) == []
    rows = content(whole)
    assert [row["sample_id"] for row in rows["samples"]] == list(range(8))
    assert len(rows["steps"]) == 8 * (16 + 4) and len(rows["readouts"]) == 3 * len(rows["steps"])
    assert not list(whole.glob(".unfinished*"))


def test_shards_do_not_change_a_digit(inputs, whole, tmp_path):
    for shard in range(2):
        collect(inputs, tmp_path, shards=2, shard=shard)
    assert content(tmp_path) == content(whole) and list(check_traces(tmp_path)) == []
    assert len(list((tmp_path / "samples").glob("*"))) == 2


def test_more_shards_than_batches_leave_empty_parts(inputs, whole, tmp_path):
    for shard in range(4):
        collect(inputs, tmp_path, shards=4, shard=shard)
    assert (
        content(tmp_path) == content(whole)
        and pq.read_table(tmp_path / "samples/part-3.parquet").num_rows == 0
    )


def test_a_killed_job_does_not_decode_finished_batches_again(inputs, whole, tmp_path, monkeypatch):
    decoded, original = [], stage._batch

    def dies_at_the_second(what, problems, *rest):
        decoded.append(tuple(problems))
        if len(decoded) == 2:
            raise KeyboardInterrupt
        return original(what, problems, *rest)

    monkeypatch.setattr(stage, "_batch", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        collect(inputs, tmp_path)
    assert not (tmp_path / "samples").exists() and not (tmp_path / "manifests").exists()
    collect(inputs, tmp_path)
    assert decoded == [(0, 1, 2), (3, 4, 5), (3, 4, 5), (6, 7)]
    assert content(tmp_path) == content(whole) and not list(tmp_path.glob(".unfinished*"))


def test_a_job_killed_before_it_published_has_nothing_left_to_decode(
    inputs, whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(stage, "table_writer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            collect(inputs, tmp_path)
    monkeypatch.setattr(stage, "load_denoiser", None)
    collect(inputs, tmp_path)
    assert content(tmp_path) == content(whole)
    for name in tables.TABLES:
        resumed, straight = (
            pq.read_schema(folder / name / "part-0.parquet").metadata
            for folder in (tmp_path, whole)
        )
        assert resumed == straight and {b"plan", b"mask_id", b"format"} <= resumed.keys()


def altered(whole, folder, name, change):
    """A copy of a trace set with one table changed."""
    for table, schema in tables.TABLES.items():
        source = pq.read_table(whole / table / "part-0.parquet")
        rows = source.to_pylist()
        write_table(
            folder / table / "part-0.parquet",
            change(rows) if table == name else rows,
            schema,
            source.schema.metadata,
        )
    return folder


def without_last_step(rows):
    return [row for row in rows if not (row["sample_id"] == 2 and row["step"] == 7)]


def twice_committed(rows):
    last = max(
        (row for row in rows if row["sample_id"] == 0 and row["phase"] == "denoise"),
        key=lambda row: row["step"],
    )
    rows[0]["committed_position"], rows[0]["committed_token"] = (
        last["committed_position"],
        [40] * len(last["committed_position"]),
    )
    return rows


def outside(rows):
    seeing = next(row for row in rows if row["position"])
    seeing["similarity"] = [1.5 for _ in seeing["similarity"]]
    return rows


def blind(rows):
    # Refine steps see what stays unmasked throughout.
    seeing = next(row for row in rows if row["position"] and row["step"] <= 16)
    seeing["position"], seeing["similarity"] = seeing["position"][1:], seeing["similarity"][1:]
    return rows


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("steps", without_last_step, "sample 2: steps have gaps"),
        ("steps", twice_committed, "sample 0: step 16 commits a position again"),
        ("readouts", outside, r"similarities are missing or outside \[-1, 1\]"),
        ("readouts", blind, "the visible set is not what was committed before"),
        ("readouts", lambda rows: rows[1:], "projection . has 19 rows for 20 steps"),
        (
            "samples",
            lambda rows: [{**row, "nfe": 15} for row in rows],
            "16 denoising steps, but nfe is 15",
        ),
        ("samples", lambda rows: rows[1:], "samples are not numbered 0..6 once each"),
    ],
)
def test_what_is_wrong_with_a_trace_set_is_named(whole, tmp_path, name, change, message):
    problems = list(check_traces(altered(whole, tmp_path, name, change)))
    assert problems and any(re.search(message, problem) for problem in problems), problems


def test_the_command_says_whether_all_is_well(whole, tmp_path, capsys):
    assert main(["validate", str(whole)]) == 0 and "whole and consistent" in capsys.readouterr().out
    assert main(["validate", str(altered(whole, tmp_path, "steps", without_last_step))]) == 2
    assert "sample 2: steps have gaps" in capsys.readouterr().err


def test_a_folder_without_traces_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="holds no trace tables; expected the folders samples, steps, readouts"
    ):
        list(check_traces(tmp_path))
