"""What the grid of certificates costs.

A whole process from start to end, its memory, and the same answers from a loop over samples.

    python benchmarks/certificate_grid.py [--samples 64] [--repeats 7]

Prints one row of a markdown table. Times are CPU seconds of the process and its interpreter's
start, reading the readouts included.
"""

import argparse
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from tracedlm.records.parquet import table_writer
from tracedlm.records.series import read_late
from tracedlm.records.trace import READOUT
from tracedlm.theory.certificate import BOUNDS, grid

TAUS, DELTAS, OMEGAS = (1.0, 0.75, 0.5, 0.35), (1e-6, 3e-6, 1e-5), (1, 2, 3, 4)
STEPS, LATE, POSITIONS, BATCH = 64, 24, 256, 16
JOB = f"""
import sys
from pathlib import Path
from tracedlm.records.series import read_late
from tracedlm.theory.certificate import grid
for path in sys.argv[1:]:
    for series, visible, late in read_late(Path(path), "refine", {LATE}):
        grid(series.similarity, visible, {TAUS}, {DELTAS}, {OMEGAS}, late)
"""


def write_readout(path: Path, samples: int, seed: int) -> Path:
    """Cosines that wobble by 3e-4.

    Tokens are unmasked over 40 steps, then 24 refine steps see them all.
    """
    rng = np.random.default_rng(seed)
    with table_writer(path, READOUT, {"gen_length": str(POSITIONS)}) as writer:
        for first in range(0, samples, BATCH):
            rows = []
            for sample in range(first, min(first + BATCH, samples)):
                level, order = rng.uniform(-0.2, 0.2, POSITIONS), rng.permutation(POSITIONS)
                for t in range(STEPS):
                    seen = np.flatnonzero(order < POSITIONS * t // (STEPS - LATE))
                    facts = {
                        "sample_id": sample,
                        "step": t + 1,
                        "block": 0,
                        "phase": "denoise" if t < STEPS - LATE else "refine",
                    }
                    similarity = (level + 3e-4 * rng.standard_normal(POSITIONS))[seen].astype(
                        np.float32
                    )
                    rows.append({**facts, "position": seen, "similarity": similarity})
            writer.write(rows)
    return path


def process(paths: list[Path]) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a process that certifies readouts."""
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-c", JOB, *map(str, paths)], os.environ
    )
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"the job failed with status {status}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def loop(similarity: np.ndarray, visible: np.ndarray, late: np.ndarray) -> dict[str, np.ndarray]:
    """One sample's grid the straightforward way: every setting by itself, step by step."""
    held = {name: np.zeros((len(TAUS), len(DELTAS), len(OMEGAS)), dtype=bool) for name in BOUNDS}
    for i, tau in enumerate(TAUS):
        for j, delta in enumerate(DELTAS):
            for k, omega in enumerate(OMEGAS):
                for t in np.flatnonzero(late):
                    if t >= omega:
                        for name, flag in certified(
                            similarity, visible, t, tau, delta, omega
                        ).items():
                            held[name][i, j, k] |= flag
    return held


def certified(
    similarity: np.ndarray, visible: np.ndarray, t: int, tau: float, delta: float, omega: int
) -> dict[str, bool]:
    own, own_margin = [], np.nan
    for r in range(t - omega + 1, t + 1):
        matched = visible[r] & visible[r - 1]
        if matched.sum() < 2:
            own.append(np.nan)
            continue
        p, q = rad(similarity[r][matched], tau), rad(similarity[r - 1][matched], tau)
        own.append(np.sum(p * np.log(p / q)))
        own_margin = margin(p)
    common = visible[t - omega : t + 1].all(axis=0)
    if common.sum() < 2:
        return dict.fromkeys(BOUNDS, False)
    ps = [rad(similarity[r][common], tau) for r in range(t - omega, t + 1)]
    kls = [max(np.sum(p * np.log(p / q)), 0.0) for q, p in pairwise(ps)]
    half, radius = margin(ps[-1]) / 2, omega * np.sqrt(delta / 2)
    still = len({int(p.argmax()) for p in ps}) == 1
    tv = still and max(np.abs(ps[-1] - p).sum() / 2 for p in ps[:-1]) < half
    measured = tv and sum(np.sqrt(kl / 2) for kl in kls) < half
    pinsker = measured and max(kls) <= delta and radius < half
    return dict(
        zip(
            BOUNDS,
            (max(own) <= delta and radius < own_margin / 2, pinsker, measured, tv, still),
            strict=True,
        )
    )


def rad(similarity: np.ndarray, tau: float) -> np.ndarray:
    weights = np.exp((similarity - similarity.max()) / tau)
    return weights / weights.sum()


def margin(p: np.ndarray) -> float:
    second, first = np.sort(p)[-2:]
    return first - second


def speedup(path: Path, sample: int) -> float:
    """CPU seconds of the loop over those of the grid, on one batch.

    The loop is timed on one sample of it and must agree there.
    """
    series, visible, late = next(read_late(path, "refine", LATE))
    start = time.process_time()
    found = grid(series.similarity, visible, TAUS, DELTAS, OMEGAS, late)
    middle = time.process_time()
    slow = loop(series.similarity[sample], visible[sample], late[sample])
    end = time.process_time()
    assert all((slow[name] == found[name][..., sample]).all() for name in BOUNDS)
    return (end - middle) / ((middle - start) / len(late))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--readouts", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_readout(Path(folder) / f"{n}.parquet", options.samples, n)
            for n in range(options.readouts)
        ]
        large = write_readout(Path(folder) / "large.parquet", 8 * options.samples, 0)
        speedup(paths[0], 0)  # imports and caches
        times, ratios = [], []
        for n in range(options.repeats):  # in turn, so that both see the same machine
            times.append(process(paths)[0])
            ratios.append(speedup(paths[n % len(paths)], n % min(BATCH, options.samples)))
        memory = [process([path])[1] for path in (paths[0], large)]
    size = (
        f"{options.samples} x {STEPS} x {POSITIONS}, {options.readouts} readouts, {len(TAUS)} x"
        f" {len(DELTAS)} x {len(OMEGAS)}"
    )
    shown = [
        f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        for values in (times, ratios)
    ]
    print(
        "| samples x steps x positions, readouts, tau x delta x omega | process, CPU s | loop /"
        " grid | peak MB at n and 8 n |"
    )
    print("| --- | --- | --- | --- |")
    print(f"| {size} | {shown[0]} | {shown[1]} | {memory[0]:.0f}, {memory[1]:.0f} |")


if __name__ == "__main__":
    main()
