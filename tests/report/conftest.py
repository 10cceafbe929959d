"""A synthetic study, written through the real record writers.

12 samples, two datasets, one canvas of 128 tokens.
"""

import json
from functools import partial

import numpy as np
import pytest

from map_study import write_maps, write_task_maps
from tracedlm.config import load_yaml
from tracedlm.records import trace
from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import GRADIENTS, GRID, QUARTILES, TEMPERATURE
from tracedlm.records.parquet import write_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.report.contents import FIGURES, TABLES, TIMED_TABLES, pseudo_gradient_figures
from tracedlm.report.evidence import read_evidence
from tracedlm.report.figures.draw import make_figures
from tracedlm.report.pages.report import make_page
from tracedlm.report.tables.costs import make_costs
from tracedlm.report.write import make_tables
from tracedlm.theory.certificate import BOUNDS
from tracedlm.theory.resampling import clopper_pearson

N, STEPS, LENGTH = 12, 64, 128
DATASETS, READOUTS = ["countdown", "sudoku"], ["q", "k", "v", "qkv_mean", "qkv_max"]
HOSTILE = r"rad(\input{/etc/passwd}, <script>alert(1)</script>, 50% & $x$ ~ a_b^c #1 \\ ü)"

# Solved samples and forwards of each run. At 16 forwards rad is right on 4 samples, truncate and
# threshold on all 12, random on 3; rank_softmax has no run of a baseline at its side.
RUNS = {
    "full": [("full", 12, 64)],
    "rad": [
        (HOSTILE, 4, 16),
        ("rad(delta=0.1, omega=6, later_delta=0.25, later_omega=8, tau=1)", 9, 24),
        ("rad(delta=0.05, omega=8, tau=1)", 6, 20),
    ],
    "rank_softmax": [("rank_softmax(0.05/6 of 6)", 8, 40)],
    "threshold": [("threshold(confidence=0.9)", 12, 16)],
    "truncate": [(f"truncate(forwards={forwards})", 12, forwards) for forwards in (16, 24, 20, 32)],
    "random": [
        ("random(forwards=16, stop_seed=1)", 3, 16),
        ("random(forwards=24, stop_seed=1)", 3, 24),
    ],
}
RULES = list(RUNS)
CHOSEN = {
    "countdown": {
        "polish": 0,
        "delta": 0.1,
        "omega": 6,
        "later_delta": 0.25,
        "later_omega": 8,
        "tau": 1.0,
    },
    "sudoku": {
        "polish": 0,
        "delta": 0.05,
        "omega": 8,
        "later_delta": None,
        "later_omega": None,
        "tau": 1.0,
    },
}
"""What tuning chose for rad: the second and the third of its runs."""
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
        "output_tokens": 32,
        "seconds": nfe / 100,
        "token_flips": 64 - nfe,
        "answer_flip": not correct,
        "rule": label,
    }


def coverage(paper: int, pinsker: int) -> dict:
    return {
        bound: share(n)
        for bound, n in zip(BOUNDS, (paper, pinsker, pinsker, pinsker, N), strict=True)
    }


def summary(count: int) -> dict:
    """A readout's summary; `count` samples are certified at the selected pair.

    (0.05, 6) stands for a pair that can certify nothing.
    """
    pairs = {
        "TRACE Table 2": (1e-8, 1, (9, 5)),
        "TRACE Table 4": (0.05, 6, (N - count - 1, 0)),
        "selected": (3e-6, 3, (count, count)),
    }
    variants = {"strict": (1.0, None), "tau": (0.5, None), "gamma": (1.0, 1.5)}
    calibrated = {"tau": (1, 0), "gamma": (9, 0)}
    known = {"n": N, "undefined": 0, "reason": ""}
    nothing = {
        "mean": None,
        "median": None,
        "max": None,
        "n": 0,
        "undefined": N,
        "reason": "nothing moved",
    }
    return {
        "n": N,
        "tau": 1.0,
        "delta": 3e-6,
        "omega": 3,
        "window": {"undefined": 0, "reason": ""},
        "dual": [
            {
                "pair": pair,
                "variant": variant,
                "tau": tau,
                "gamma": gamma,
                "delta": delta,
                "omega": omega,
                "feasible": delta < 0.05,
            }
            | {"coverage": coverage(*calibrated.get(variant, strict))}
            for pair, (delta, omega, strict) in pairs.items()
            for variant, (tau, gamma) in variants.items()
        ],
        "digest": {name: always(1.0) for name in ("kl", "entropy", "visible")},
        "profile": {
            "concentration": {"mean": 1.75e-4, "median": 1.7e-4, "max": 2e-4, **known},
            "lscr_tv": {
                "mean": 2.25,
                "median": 2.0,
                "max": 3.0,
                "n": 10,
                "undefined": 2,
                "reason": "nothing moved",
            },
            "lscr_kl": nothing,
            "margin": {"mean": 1e-4, "median": 1e-4, "max": 2e-4, **known},
        },
        "spearman": {
            "rho": None,
            "low": None,
            "high": None,
            "n": N,
            "dropped": 0,
            "degenerate": 0,
            "reason": "y constant",
        },
        "stops": {
            **share(6),
            "contraction": {"mean": 1.5, "median": 1.5, "max": 2.5, **known},
            "standstill": 1,
        }
        | {"contracting": share(4), "dobrushin_contracting": share(3, 10)},
        "forward": {
            "forward": {
                **share(2, 4),
                "excluded": {"no stop": 6, "no contraction": 2},
                "reason": "",
            },
            "forward_dobrushin": {
                **share(1, 3),
                "excluded": {"no stop": 6, "no contraction": 3},
                "reason": "",
            },
            "forward_trace": {
                **unshared(0),
                "excluded": {"no stop": 6, "no contraction": 6},
                "reason": "not certifiable: 6 with no stop",
            },
        },
        "observables": {
            name: {
                "moved": always(1e-6),
                "bound": always(1.0),
                "broken": 0,
                "later": always(2e-6),
                "later_bound": nothing,
            }
            | {"later_broken": 0}
            for name in ("entropy", "concentration")
        },
        "calibration": CALIBRATION,
        "exits": {
            "exits": 20,
            "samples": 10,
            **unshared(0),
            "reason": f"not certifiable: {CALIBRATION['reason']}",
        },
    }


def always(value: float) -> dict:
    return {"mean": value, "median": value, "max": value, "n": N, "undefined": 0, "reason": ""}


def unshared(n: int) -> dict:
    return {"certified": 0, "n": n, "share": None, "low": None, "high": None}


CALIBRATION = {
    "alpha": 2.5,
    "quantile": 1e-5,
    "paper_quantile": 2e-4,
    "required": None,
    "largest_delta": None,
    "holds": False,
}
CALIBRATION |= {"paper_holds": False, "failure": 0.2, "n": 9, "n_alpha": 9, "excluded": 3}
CALIBRATION |= {"reason": "no contraction: alpha_hat = 2.5 is not below 1"}


def selection() -> dict:
    """What validation decided, and its late window at three temperatures: sharper is larger."""
    windows = [
        {
            "tau": tau,
            "kl_median": 1e-6 / tau**2,
            "margin_median": 1e-4 / tau,
            "late_steps": 72,
            "undefined": 3,
            "stopped": 1,
            "n": 3,
        }
        | {"coverage": 0.25}
        for tau in (0.5, 1.0, 2.0)
    ]
    sets = [
        {
            "dataset": dataset,
            "seq_len": LENGTH,
            "n": 3,
            "calibration": CALIBRATION,
            "temperature": windows,
        }
        for dataset in DATASETS
    ]
    return {"delta": 3e-6, "omega": 3, "coverage": 0.25, "tau": 1.0, "gamma": 1.25, "sets": sets}


def temperature_rows() -> list[dict]:
    return [
        {"dataset": dataset, "seq_len": LENGTH, "tau": tau, "statistic": statistic, "step": step}
        | {
            "phase": "refine" if step == 5 else "denoise",
            "undefined": 3 if step == 1 else 0,
            "n": 0 if step == 1 else 3,
        }
        | dict.fromkeys(QUARTILES, None if step == 1 else 10.0**-step / tau)
        for dataset in DATASETS
        for tau in (0.5, 1.0, 2.0)
        for statistic in ("kl", "margin")
        for step in range(1, 6)
    ]


def write_set(root, dataset: str) -> None:
    exits, certify = root / f"exits/{dataset}/{LENGTH}", root / f"certify/{dataset}/{LENGTH}"
    for rule, runs in RUNS.items():
        # Rows of the runs are interleaved and in descending order: readers must sort, and pair
        # samples by their id.
        rows = [
            exit_row(sample, label, sample < solved, nfe)
            for sample in reversed(range(N))
            for label, solved, nfe in runs
        ]
        write_table(exits / f"{rule}.parquet", rows, trace.EXITS, {"steps": str(STEPS)})
    write_manifest(exits / "manifest.json", "exits.compare")
    tried = [
        {"settings": settings, "accuracy": 0.75, "forwards": 24.0, "objective": 0.03125}
        for settings in CHOSEN.values()
    ]
    tried.append(
        {
            "settings": CHOSEN["sudoku"] | {"omega": 6},
            "accuracy": 0.25,
            "forwards": 16.0,
            "objective": 0.015625,
        }
    )
    (exits / "tuned.json").write_text(
        json.dumps(
            {"n": 8, "chosen": {"rad": CHOSEN[dataset]}, "tried": {"rad": tried}, "code": "c"}
        )
    )
    for readout in READOUTS:
        count = PINSKER[readout] if dataset == "countdown" else 0
        write_manifest(certify / readout / "summary.json", "certify.certify", **summary(count))
        cells = [
            {
                "bound": bound,
                "calibration": "gamma" if gamma else "tau",
                "tau": 1.0,
                "gamma": gamma,
                "delta": delta,
                "omega": omega,
            }
            | {"certified": 0 if gamma else count, "n": N, "undefined": 0, "feasible": delta < 0.05}
            for bound in BOUNDS
            for gamma in (None, 2.0)
            for delta in (1e-6, 0.05)
            for omega in (1, 6)
        ]
        write_table(certify / readout / "grid.parquet", cells, GRID)


NOISY_RUNS = ["clean", "share-0.5", "other-seed"]
CURVES = {
    (0, 0): [2.0, 1.0, 3.0],
    (0, 1): [9.0, 2.0, 2.0],
    (1, 0): [2.0, 9.0, 0.0],
    (1, 1): [9.0, 9.0, 2.0],
}
"""Pseudo-gradients of q by sample and block, in units of the mean of training's gradients.

Its band is from 1 to 3.
"""


def write_training(root) -> None:
    """Runs with corrupted labels, each a tenth further from the clean map.

    pseudo-gradients that settle at step 1, 2, never and 3.
    """
    for place, run in enumerate(NOISY_RUNS):
        maps = {
            name: {
                "cosine": 1 - place / 10,
                "correlation": None if name == "v" else 0.5,
                "angles": [10.0 * place, 5.0],
            }
            for name in "qkv"
        }
        sets = [
            {
                "dataset": dataset,
                "seq_len": LENGTH,
                "n": 8,
                "kl": {"mean": 1e-6 * (place + 1), "low": 0.0, "high": 1e-5},
            }
            | {"forwards": 29.0, "full_forwards": STEPS, "solved_full": 6, "solved_rad": 4 - place}
            for dataset in DATASETS
        ]
        write_manifest(
            root / f"noise/{run}.json",
            "exits.noise",
            run={"name": run, "share": place / 2, "seed": 0},
            sets=sets,
            maps=maps,
        )
    for dataset in DATASETS:
        steps = [
            {"module": "1.q.B", "sample_id": sample, "block": block, "step": step}
            for (sample, block), step in zip(CURVES, (1, 2, None, 3), strict=True)
        ]
        bands = {
            "1.q.B": {"mean": 2e-4, "deviation": 1e-4, "width": 1.0, "low": 1e-4, "high": 3e-4}
        }
        found = [
            {
                "rule": "rad",
                "label": HOSTILE,
                "rho": -0.5,
                "low": -1.0,
                "high": 1.0,
                "n": 3,
                "dropped": 1,
                "reason": "",
            },
            {
                "rule": "full",
                "label": "full",
                "rho": None,
                "low": None,
                "high": None,
                "n": 3,
                "dropped": 1,
                "reason": "constant",
            },
        ]
        facts = {
            "dataset": dataset,
            "seq_len": LENGTH,
            "module": "1.q.B",
            "blocks": 4,
            "converged": 3,
            "median_step": 2.0,
        }
        folder = root / f"pseudo_gradients/{dataset}"
        write_manifest(
            folder / f"{LENGTH}.json",
            "trace.convergence",
            **facts,
            steps=steps,
            bands=bands,
            correlation=found,
        )
        rows = [
            {
                "sample_id": sample,
                "block": block,
                "block_step": step,
                "module": module,
                "visible": 2,
                "kl": 0.1,
                "rms": 1e-4 * value,
            }
            for (sample, block), curve in CURVES.items()
            for step, value in enumerate(curve, start=1)
            for module in ("1.k.B", "1.q.B")
        ]
        write_table(folder / f"{LENGTH}.parquet", rows[::-1], PSEUDO_GRADIENTS, {"layer": "1"})


def readout_rows() -> list[dict]:
    """Four denoising steps in two blocks, then a refine step.

    The first step sees nothing, KL is 0 at the last.
    """
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
            row |= {
                "kl": (0.0 if step == 5 else 10.0**-step) if known else None,
                "tv": 0.1 if known else None,
            }
            rows.append(
                {
                    **row,
                    "margin": 1e-3 / step if known else None,
                    "concentration": 1e-4 if step > 1 else None,
                }
            )
    return rows


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Results folder of the synthetic study."""
    root = tmp_path_factory.mktemp("results")
    for dataset in DATASETS:
        write_set(root, dataset)
        write_table(
            root / f"readouts/{dataset}/{LENGTH}/test/q.parquet",
            readout_rows(),
            trace.READOUT,
            {"gen_length": str(LENGTH)},
        )
    (root / "certify/selection.json").write_text(json.dumps(selection()))
    write_table(root / "certify/temperature.parquet", temperature_rows(), TEMPERATURE)
    profile = {
        "label": "rad(delta=0.05)",
        "forward": 6.0,
        "head_and_softmax": 2.0,
        "rule": 1.0,
        "commit": 0.5,
        "host": 0.5,
    }
    (root / f"exits/countdown/{LENGTH}/profile.json").write_text(json.dumps(profile))
    (root / "rrm").mkdir()
    facts = {
        "layers": 2,
        "width": 64,
        "model_bytes": 10**6,
        "map_file_bytes": {"q": 500, "k": 500, "v": 500},
    }
    (root / "rrm/storage.json").write_text(json.dumps(facts))
    write_maps(root, DATASETS, LENGTH)
    write_training(root)
    write_task_maps(root)
    (root / "benchmarks").mkdir()
    (root / "benchmarks/sft.jsonl").write_text('{"s": 71.94, "cpu_time": 45.3, "max_rss": 991.0}\n')
    log = [
        {
            "step": step,
            "module": f"{layer}.{projection}.{matrix}",
            "rms": 10.0 ** (layer - 4),
            "loss": 1 / step,
            "lr": 1e-4,
        }
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
    return read_evidence(
        study,
        DATASETS,
        [LENGTH],
        READOUTS,
        RULES,
        seed=0,
        tuned=True,
        noise=NOISY_RUNS,
        pseudo_gradients=True,
    )


@pytest.fixture(scope="session")
def untuned(study):
    """The same without settings chosen on validation."""
    return read_evidence(study, DATASETS, [LENGTH], READOUTS, RULES, seed=0)


@pytest.fixture(scope="session")
def draw(study, evidence):
    """Draws every figure of the synthetic study into a folder."""
    return partial(draw_figures, study, evidence)


def draw_figures(study, evidence, folder):
    readouts = {
        dataset: study / f"readouts/{dataset}/{LENGTH}/test/q.parquet" for dataset in DATASETS
    }
    replayed = {
        dataset: study / f"pseudo_gradients/{dataset}/{LENGTH}.parquet" for dataset in DATASETS
    }
    drawn = [*FIGURES, *pseudo_gradient_figures(DATASETS, len(replayed)).values()]
    maps = (
        [study / f"{folder}/update_magnitude.parquet" for folder in ("rrm", "task_maps")],
        study / "task_maps/similarity.json",
    )
    make_figures(
        evidence,
        readouts,
        study / "sft/gradients.parquet",
        replayed,
        *maps,
        {name: folder / f"{name}.png" for name in drawn},
    )
    return folder


@pytest.fixture(scope="session")
def report(study, evidence, draw, tmp_path_factory):
    """A folder with its tables, figures and page."""
    root = tmp_path_factory.mktemp("report")
    draw(root / "figures")
    make_tables(evidence, TABLES + TIMED_TABLES, root / "tables")
    make_costs(study, root / "tables")
    (root / "explorer.html").touch()  # rule explorer writes it
    settings = load_yaml("config/smoke.yaml").model_dump(mode="json")
    settings["model"]["path"] = "<script>alert(3)</script>"
    make_page(
        settings,
        root / "tables",
        root / "figures",
        [study / f"exits/countdown/{LENGTH}/manifest.json"],
        root / "report.html",
    )
    return root
