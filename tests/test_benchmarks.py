"""The benchmark for a GPU runs, at a tiny shape, on a CPU.

Every measurement of benchmarks/decoding.py, without a word on times.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_gpu_benchmark_runs_at_a_tiny_shape():
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--tiny", "--minutes", "1000"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    names = [
        line.split("|")[1].strip() for line in run.stdout.splitlines() if line.startswith("| ")
    ][2:]
    for wanted in (
        "published loop / ours, full, batch 16",
        "recording and observing",
        "time saved / forwards saved",
        "Parquet / JSON lines",
    ):
        assert any(wanted in name for name in names), (wanted, names)
    (whole,) = re.findall(r"sum of phases / run \| ([0-9.]+)", run.stdout)
    assert 0 < float(whole) <= 1  # what is timed is part of the run
    assert (
        sum(float(share) for share in re.findall(r"share of a step[^|]*\| ([0-9.]+)", run.stdout))
        > 0.99
    )
