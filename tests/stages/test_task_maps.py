"""Maps of single tasks.

Every pair of runs by hand, and the update grids of each task's first run.
"""

import json

import numpy as np
import pytest

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.parquet import read_table
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.stages.rrm.task_maps import compare_tasks

RUNS = ["study", "countdown-0", "countdown-1", "sudoku-0"]


def update(run, projection):
    """Runs of Countdown move the same rows, other runs others."""
    shared = (
        np.random.default_rng(ord(run[0])).normal(size=(12, 2))
        * np.arange(1, 13)[:: 1 if run[0] == "c" else -1, None]
    )
    return (
        shared
        + 0.1
        * np.random.default_rng([len(run), ord(run[-1]), ord(projection)]).normal(size=(12, 2))
    ).astype(np.float32)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    for run in RUNS:
        matrices = {
            f"{layer}.{p}.B/{variant}": update(run, p) * (layer + 1)
            for layer in (0, 1)
            for p in "qkv"
            for variant in VARIANTS
        }
        matrices |= {f"1.q.A/{variant}": np.full((2, 8), 0.5, np.float32) for variant in VARIANTS}
        Moments(matrices, 4, 1e-8, (0.9, 0.999)).write(folder / f"{run}.safetensors")
    out = {"similarity": folder / "s.json", "magnitude": folder / "m.parquet"}
    compare_tasks(
        {run: folder / f"{run}.safetensors" for run in RUNS}, RrmSettings(bias_corrected=True), out
    )
    return (
        json.loads(out["similarity"].read_text()),
        read_table(out["magnitude"], UPDATE_MAGNITUDE, "update magnitudes").to_pylist(),
    )


def test_every_two_runs_are_compared(compared):
    record, _ = compared
    assert record["runs"] == RUNS and [one["projection"] for one in record["maps"]] == list(
        "qkv" * 4
    )
    assert {one["variant"] for one in record["maps"]} == {"outside_corrected"}
    for i, run in enumerate(RUNS):
        for j, other in enumerate(RUNS):
            a, b = (
                np.linalg.norm(update(which, "k").astype(float), axis=1) for which in (run, other)
            )
            assert record["cosine"][3 * i + 1][3 * j + 1] == pytest.approx(
                a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5
            )
            assert record["correlation"][3 * i + 1][3 * j + 1] == pytest.approx(
                np.corrcoef(a, b)[0, 1], rel=1e-3
            )


def test_runs_of_one_task_are_more_alike_than_runs_of_two(compared):
    record, _ = compared
    same, other = (record["correlation"][3][3 * j] for j in (2, 3))
    assert same > 0.9 > other


def test_the_cosine_of_unrelated_maps_is_that_of_their_rank(compared):
    assert compared[0]["chance"] == pytest.approx(np.pi / 4)  # two columns: E[chi_2]^2 / 2


def test_grids_are_those_of_each_tasks_first_run(compared):
    _, rows = compared
    assert list(dict.fromkeys((row["run"], row["module"]) for row in rows)) == [
        (run, f"1.q.{matrix}") for run in ("countdown-0", "sudoku-0") for matrix in "BA"
    ]
    total = sum(
        row["magnitude"] for row in rows if (row["run"], row["module"]) == ("sudoku-0", "1.q.B")
    )
    assert total == pytest.approx(2 * np.abs(update("sudoku-0", "q")).sum() / 8, rel=1e-5)
    assert {row["magnitude"] for row in rows if row["module"] == "1.q.A"} == {0.5}
