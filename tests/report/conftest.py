"""A synthetic study, written through the real record writers: 12 samples, two datasets, one canvas of 128 tokens."""

import json

import numpy as np
import pytest

from tracedlm.records import trace
from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import GRADIENTS, GRID
from tracedlm.records.parquet import write_table
from tracedlm.report.evidence import read_evidence
from tracedlm.theory.certificate import BOUNDS
from tracedlm.theory.resampling import clopper_pearson

N, STEPS, LENGTH = 12, 64, 128
DATASETS, READOUTS, RULES = ["countdown", "sudoku"], ["q", "k", "v", "qkv_mean", "qkv_max"], ["full", "rad", "truncate"]
HOSTILE = r"rad(\input{/etc/passwd}, <script>alert(1)</script>, 50% & $x$ ~ a_b^c #1 \\ ü)"

# Solved samples and forwards of each run; rad is right on 4 samples, truncate at the same forwards on all 12.
RUNS = {
    "full": [("full", 12, 64)],
    "rad": [(HOSTILE, 4, 16)],
    "truncate": [("truncate(steps=16.00)", 12, 16), ("truncate(steps=32.00)", 12, 32)],
}
PINSKER = {"q": 3, "k": 6, "v": 0, "qkv_mean": 6, "qkv_max": 2}


def share(certified: int, n: int = N) -> dict:
    low, high = clopper_pearson(certified, n)
    return {"certified": certified, "n": n, "share": certified / n, "low": low, "high": high}


def exit_row(sample: int, label: str, correct: bool, nfe: int) -> dict:
    return {
        "sample_id": sample,
        "split": "test",
        "prompt": "p",
        "text": "<script>alert(2)</script>",
        "correct": correct,
        "score": float(correct),
        "score_d1": float(correct),
        "nfe": nfe,
        "token_forwards": nfe * 150,
        "seconds": nfe / 100,
        "token_flips": 64 - nfe,
        "answer_flip": not correct,
        "rule": label,
    }


def write_set(root, dataset: str) -> None:
    exits, certify = root / f"exits/{dataset}/{LENGTH}", root / f"certify/{dataset}/{LENGTH}"
    for rule, runs in RUNS.items():
        # Rows of the runs are interleaved and in descending order: readers must sort, and pair samples by their id.
        rows = [exit_row(sample, label, sample < solved, nfe) for sample in reversed(range(N)) for label, solved, nfe in runs]
        write_table(exits / f"{rule}.parquet", rows, trace.EXITS, {"steps": str(STEPS)})
    write_manifest(exits / "manifest.json", "exits")
    for readout in READOUTS:
        count = PINSKER[readout] if dataset == "countdown" else 0
        ladder = dict(zip(BOUNDS, (count, count, count, count, N), strict=True))
        summary = {
            "n": N,
            "tau": 1.0,
            "delta": 3e-6,
            "omega": 3,
            "coverage": {bound: share(value) for bound, value in ladder.items()},
            "strict": {"tau": 1.0, "delta": 1e-8, "omega": 1, "paper": share(9), "pinsker": share(5)},
            "calibrated": {"tau": 0.5, "delta": 1e-8, "omega": 1, "paper": share(1), "pinsker": share(0)},
            "profile": {
                "concentration": {"mean": 1.75e-4, "median": 1.7e-4, "n": N, "undefined": 0},
                "lscr_tv": {"mean": 2.25, "median": 2.0, "n": 10, "undefined": 2},
                "lscr_kl": {"mean": None, "median": None, "n": 0, "undefined": N},
                "margin": {"mean": 1e-4, "median": 1e-4, "n": N, "undefined": 0},
            },
            "spearman": {"rho": None, "low": None, "high": None, "n": N, "dropped": 0, "degenerate": 0, "reason": "y constant"},
        }
        write_manifest(certify / readout / "summary.json", "certify", **summary)
        cells = [
            {"bound": bound, "tau": 1.0, "delta": delta, "omega": omega, "certified": count, "n": N, "feasible": delta < 0.05}
            for bound in BOUNDS
            for delta in (1e-6, 0.05)
            for omega in (1, 6)
        ]
        write_table(certify / readout / "grid.parquet", cells, GRID)


def readout_rows() -> list[dict]:
    """Four denoising steps in two blocks, then a refine step; the first step sees nothing, KL is 0 at the last."""
    rng, rows = np.random.default_rng(0), []
    for sample in range(3):
        for step in range(1, 6):
            seen = list(range(16 * (step - 1)))
            known = step > 2
            row = {
                "sample_id": sample,
                "step": step,
                "block": (step - 1) // 2 if step < 5 else -1,
                "phase": "denoise" if step < 5 else "refine",
            }
            row |= {"position": seen, "similarity": rng.normal(size=len(seen)) / 10}
            row |= {"kl": (0.0 if step == 5 else 10.0**-step) if known else None, "tv": 0.1 if known else None}
            rows.append({**row, "margin": 1e-3 / step if known else None, "concentration": 1e-4 if step > 1 else None})
    return rows


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Results folder of the synthetic study."""
    root = tmp_path_factory.mktemp("results")
    for dataset in DATASETS:
        write_set(root, dataset)
        write_table(root / f"readouts/{dataset}/{LENGTH}/test/q.parquet", readout_rows(), trace.READOUT, {"gen_length": str(LENGTH)})
    (root / "certify/selection.json").write_text(json.dumps({"delta": 3e-6, "omega": 3, "coverage": 0.25}))
    (root / "rrm").mkdir()
    facts = {"layers": 2, "width": 64, "model_bytes": 10**6, "map_file_bytes": {"q": 500, "k": 500, "v": 500}}
    (root / "rrm/storage.json").write_text(json.dumps(facts))
    log = [
        {"step": step, "module": f"{layer}.{projection}.{matrix}", "rms": 10.0 ** (layer - 4), "loss": 1 / step, "lr": 1e-4}
        for step in (1, 2)
        for layer in (0, 1)
        for projection in "qkv"
        for matrix in "AB"
    ]
    write_table(root / "sft/gradients.parquet", log, GRADIENTS)
    return root


@pytest.fixture(scope="session")
def evidence(study):
    """The synthetic study's metrics."""
    return read_evidence(study, DATASETS, [LENGTH], READOUTS, RULES, seed=0)
