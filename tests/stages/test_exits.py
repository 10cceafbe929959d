"""Every rule is run, and the time of the observing rule's steps is taken apart for the table
`step_time`.
"""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tracedlm.config import Decode, Exits
from tracedlm.records.rrm import Rrm
from tracedlm.report.evidence import PHASES
from tracedlm.stages.exits.compare import PROFILED_STEPS, compare_exits
from tracedlm.stages.exits.decoding import Setup
from tracedlm.tasks import get_task


@pytest.mark.parametrize(
    ("rules", "label"),
    [(("full", "rad", "truncate"), "rad(delta=1e-12, omega=3, tau=1)"), (("full",), "full")],
)
def test_a_steps_time_is_taken_apart(checkpoint, adapter, tmp_path, rules, label):
    task = get_task("sudoku")
    task.write(task.sample("test", 3, 0), tmp_path / "test.txt")
    u = np.random.default_rng(0).normal(size=32).astype(np.float32)
    Rrm(
        u / np.linalg.norm(u), np.eye(32, 2, dtype=np.float32), 1, "q", "B", "moments", "raw"
    ).write(tmp_path / "q.safetensors")
    model, maps = (
        {"path": str(checkpoint), "dtype": "float32", "device": "cpu"},
        {"q": tmp_path / "q.safetensors", "moments": tmp_path},
    )
    exits = Exits(rules=rules, budgets=(0.5,), rad={"delta": 1e-12, "omega": 3})
    out, profile = {rule: tmp_path / f"{rule}.parquet" for rule in rules}, tmp_path / "profile.json"
    data = {"test": tmp_path / "test.txt"}
    setup = Setup(
        model, adapter, maps, "projection", "sudoku", data, 32, Decode(block_length=16), exits
    )
    compare_exits(setup, 0, 1, {}, out, profile, tmp_path / "manifest.json")

    found = json.loads(profile.read_text())
    forwards = max(pq.read_table(out[label.split("(")[0]])["nfe"].to_pylist())
    assert (found["label"], found["batch_size"], found["steps"]) == (
        label,
        16,
        min(forwards, PROFILED_STEPS),
    )
    assert all(found[phase] > 0 for phase in PHASES)
