"""Readouts from traces written by hand, where the answer is known."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import oracles
from tracedlm.config import ReadoutSettings
from tracedlm.records import trace as tables
from tracedlm.records.parquet import read_table, table_writer, write_table
from tracedlm.stages.trace.readout import make_readout

LENGTH, BLOCK = 8, 4
META = {"plan": json.dumps({"gen_length": LENGTH})}


def trace(folder, samples=(3, 0)):
    """Two samples of 8 denoising steps, one token each, and 3 refine steps that hide another token
    each time.
    """
    rng, steps, readouts = np.random.default_rng(0), [], []
    for sample in samples:
        for t in range(11):
            refine = t >= 8
            seen = (
                [p for p in range(LENGTH) if p != (t * 5 + sample) % LENGTH]
                if refine
                else list(range(t))
            )
            block, facts = (-1 if refine else t // BLOCK), {"sample_id": sample, "step": t + 1}
            steps.append(
                {
                    **facts,
                    "block": block,
                    "block_step": 1,
                    "phase": "refine" if refine else "denoise",
                    "masked": LENGTH - len(seen),
                }
                | {
                    "committed_position": [],
                    "committed_token": [],
                    "committed_confidence": [],
                    "mean_confidence": 1.0,
                    "mean_entropy": 0.0,
                    "predictive_kl": None,
                }
            )
            for projection in "qkv":
                similarity = rng.uniform(-1, 1, len(seen)).astype(np.float32)
                readouts.append(
                    {
                        **facts,
                        "layer": 1,
                        "projection": projection,
                        "position": seen,
                        "similarity": similarity,
                    }
                )
    write_table(folder / "steps.parquet", steps, tables.STEPS, META)
    write_table(folder / "readouts.parquet", readouts, tables.READOUTS, META)
    return steps, readouts


def readout_rows(folder, readout, **settings):
    make_readout(
        [folder / "steps.parquet"],
        [folder / "readouts.parquet"],
        readout,
        ReadoutSettings(**settings),
        folder / "out.parquet",
    )
    return read_table(folder / "out.parquet", tables.READOUT, "a readout").to_pylist()


def expected_rows(steps, readouts, readout, visible):
    """(positions, similarities) of each step by hand.

    Aggregates token by token, refine steps on what all of them see.
    """
    rows = {}
    for sample in sorted({step["sample_id"] for step in steps}):
        own = [step for step in steps if step["sample_id"] == sample]
        shared = set.intersection(
            *(
                set(_seen(readouts, sample, step["step"], "q"))
                for step in own
                if step["phase"] == "refine"
            )
        )
        for step in own:
            values = {
                projection: _seen(readouts, sample, step["step"], projection)
                for projection in "qkv"
            }
            kept = shared if step["phase"] == "refine" else set(values["q"])
            if visible == "block" and step["phase"] == "denoise":
                kept = {p for p in kept if p // BLOCK == step["block"]}
            merge = {"qkv_mean": lambda three: sum(three) / 3, "qkv_max": max}.get(readout)
            rows[sample, step["step"]] = {
                p: merge([values[name][p] for name in "qkv"]) if merge else values[readout][p]
                for p in sorted(kept)
            }
    return rows


def _seen(readouts, sample, step, projection):
    (row,) = [
        r
        for r in readouts
        if (r["sample_id"], r["step"], r["projection"]) == (sample, step, projection)
    ]
    return dict(zip(row["position"], map(float, row["similarity"]), strict=True))


@pytest.mark.parametrize("visible", ["response", "block"])
@pytest.mark.parametrize("readout", ["q", "v", "qkv_mean", "qkv_max"])
def test_readouts_and_their_statistics_are_those_of_the_equations(tmp_path, readout, visible):
    steps, readouts = trace(tmp_path)
    rows = readout_rows(tmp_path, readout, visible=visible, tau=0.5)
    expected = expected_rows(steps, readouts, readout, visible)
    assert [(row["sample_id"], row["step"]) for row in rows] == sorted(expected)
    for row in rows:
        wanted = expected[row["sample_id"], row["step"]]
        assert row["position"] == list(wanted)
        np.testing.assert_allclose(row["similarity"], list(wanted.values()), rtol=1e-6)
    for sample in (0, 3):
        dense = [[expected[sample, t].get(p, 0.0) for p in range(LENGTH)] for t in range(1, 12)]
        seen = [[p in expected[sample, t] for p in range(LENGTH)] for t in range(1, 12)]
        for row, exact in zip(
            [r for r in rows if r["sample_id"] == sample],
            oracles.step_statistics(dense, seen, tau=0.5),
            strict=True,
        ):
            for name in ("kl", "tv", "margin", "concentration"):
                assert row[name] == (
                    None
                    if exact[name] is None
                    else pytest.approx(float(exact[name]), rel=1e-9, abs=1e-14)
                ), name


def test_a_readout_that_was_not_collected_is_named(tmp_path):
    trace(tmp_path)
    rows = [
        row
        for row in pq.read_table(tmp_path / "readouts.parquet").to_pylist()
        if row["projection"] != "v"
    ]
    write_table(tmp_path / "readouts.parquet", rows, tables.READOUTS, META)
    with pytest.raises(ValueError, match=r"no readout of projection 'v'; they hold \['k', 'q'\]"):
        readout_rows(tmp_path, "v")


def test_traces_that_disagree_are_refused(tmp_path):
    trace(tmp_path)
    rows = pq.read_table(tmp_path / "steps.parquet").to_pylist()
    write_table(tmp_path / "steps.parquet", rows[:-1], tables.STEPS, META)
    with pytest.raises(
        ValueError, match=r"trace tables disagree: 22 readout rows of 'q' against 21 steps"
    ):
        readout_rows(tmp_path, "q")


def test_parts_and_their_batches_are_read_one_by_one_and_make_the_same_readout(tmp_path):
    """Two shards, one of which holds two batches.

    The rows are those of one table, in the order of the shards.
    """
    steps, readouts = trace(tmp_path, samples=(0, 1, 2))
    whole = readout_rows(tmp_path, "qkv_mean")
    parts = {
        name: [tmp_path / f"{name}-{shard}.parquet" for shard in (0, 1)]
        for name in ("steps", "readouts")
    }
    for name, rows, schema in (
        ("steps", steps, tables.STEPS),
        ("readouts", readouts, tables.READOUTS),
    ):
        for path, batches in zip(parts[name], (((0,), (2,)), ((1,),)), strict=True):
            with table_writer(path, schema, META) as writer:
                for batch in batches:
                    writer.write([row for row in rows if row["sample_id"] in batch])
    make_readout(
        parts["steps"],
        parts["readouts"],
        "qkv_mean",
        ReadoutSettings(),
        tmp_path / "sharded.parquet",
    )
    assert pq.ParquetFile(tmp_path / "sharded.parquet").num_row_groups == 3
    sharded = read_table(tmp_path / "sharded.parquet", tables.READOUT, "a readout").to_pylist()
    expected = [row for sample in (0, 2, 1) for row in whole if row["sample_id"] == sample]
    for row, other in zip(sharded, expected, strict=True):
        for name in ("kl", "tv", "margin", "concentration"):
            value, wanted = row.pop(name), other.pop(name)
            close = None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-14)
            assert value == close, name
        assert row == other


def test_shards_of_two_versions_of_the_code_are_refused(tmp_path):
    for shard, code in enumerate(("old", "new")):
        (tmp_path / str(shard)).mkdir()
        _, readouts = trace(tmp_path / str(shard))
        write_table(
            tmp_path / str(shard) / "readouts.parquet",
            readouts,
            tables.READOUTS,
            {**META, "code": code},
        )
    parts = [
        [tmp_path / str(shard) / f"{name}.parquet" for shard in range(2)]
        for name in ("steps", "readouts")
    ]
    with pytest.raises(ValueError, match=r"2 versions of the code \(new, old\)"):
        make_readout(*parts, "q", ReadoutSettings(), tmp_path / "out.parquet")
