"""The summary of one readout.

Coverage with exact intervals, diagnostics, and for everything undefined how often and why.
"""

import math
from typing import Any

import numpy as np

from tracedlm.stages.certify.setup import Columns, Setup
from tracedlm.stages.certify.stops import FORWARD
from tracedlm.theory.certificate import BOUNDS, feasible
from tracedlm.theory.resampling import clopper_pearson, spearman

WHY = {
    "concentration": "fewer than two tokens are visible at the last denoising step",
    "lscr_tv": (
        "the readout did not change in the late window, or fewer than two of its steps can be"
        " compared"
    ),
    "lscr_kl": (
        "the readout did not change in the late window, or fewer than two of its steps can be"
        " compared"
    ),
    "margin": "fewer than two tokens are visible throughout the late window",
    "kl": "a sample has no two successive steps with two tokens in common",
    "entropy": "a sample never sees two tokens",
    "visible": "",
    "window": "the late window holds no step with two tokens in common with the one before",
}
"""Why a statistic can be undefined."""

ROUNDING = 1e-12
"""Nats by which an entropy of a few thousand tokens can be off."""


def summary(columns: Columns, setup: Setup, seed: int) -> dict[str, Any]:
    """All of it, as JSON: undefined is null."""
    correlation = spearman(
        columns["concentration"], columns["score"].astype(float), np.random.default_rng(seed)
    )
    window = {"undefined": int(columns["window_undefined"].sum())}
    return _nullable(
        {
            "n": len(columns["sample_id"]),
            "tau": setup.tau,
            "delta": setup.delta,
            "omega": setup.omega,
            "feasible": feasible(setup.delta, setup.omega),
            "window": {**window, "reason": WHY["window"] if window["undefined"] else ""},
            "coverage": _coverage(columns, setup, setup.tau, setup.delta, setup.omega),
            "dual": _dual(columns, setup),
            "digest": {
                name: _statistic(columns[f"{name}_mean"], WHY[name])
                for name in ("kl", "entropy", "visible")
            },
            "profile": {
                name: _statistic(columns[name], WHY[name])
                for name in ("concentration", "lscr_tv", "lscr_kl", "margin")
            },
            "spearman": vars(correlation),
            "stops": _stops(columns),
            "forward": {name: _forward(columns, name) for name in FORWARD},
            "observables": {
                name: _observable(columns, name) for name in ("entropy", "concentration")
            },
            "calibration": setup.calibration,
            "exits": _exits(columns, setup),
        }
    )


def _coverage(
    columns: Columns, setup: Setup, tau: float, delta: float, omega: int
) -> dict[str, Any]:
    return {bound: share(setup.held(columns, bound, tau, delta, omega)) for bound in BOUNDS}


def _dual(columns: Columns, setup: Setup) -> list[dict[str, Any]]:
    """Strict and calibrated coverage side by side (TRACE App. F, step 7).

    At the papers' pairs and at the selected one.
    """
    settings = setup.settings
    fixed = (settings.calibrated_tau, settings.calibrated_gamma)
    pairs = {
        "TRACE Table 2": (settings.strict_delta, settings.strict_omega, fixed),
        "TRACE Table 4": (settings.fixed_delta, settings.fixed_omega, fixed),
        "selected": (setup.delta, setup.omega, setup.calibrated),
    }
    rows = []
    for pair, (delta, omega, (tau, gamma)) in pairs.items():
        variants = {"strict": (setup.tau, None), "tau": (tau, None), "gamma": (setup.tau, gamma)}
        for variant, (at, power) in variants.items():
            if at is None or (variant == "gamma" and power is None):
                continue  # the study sweeps no temperatures, or no powers
            where = {
                "pair": pair,
                "variant": variant,
                "tau": at,
                "gamma": power,
                "delta": delta,
                "omega": omega,
            }
            found = _coverage(columns, setup, at / (power or 1), delta, omega)
            rows.append({**where, "feasible": feasible(delta, omega), "coverage": found})
    return rows


def _stops(columns: Columns) -> dict[str, Any]:
    """Where Algorithm 1 would have stopped in the late window.

    And whether the steps there contract.
    """
    contraction = columns["contraction"]
    known = contraction[~np.isnan(contraction)]
    return {
        **share(np.array([stop is not None for stop in columns["stop"]])),
        "contraction": _statistic(
            np.where(np.isinf(contraction), np.nan, contraction),
            "a sample moves after a standstill, or has no two steps",
        ),
        "contracting": share(known < 1),
        "dobrushin_contracting": share(columns["dobrushin"][~np.isnan(columns["dobrushin"])] < 1),
        "standstill": int(np.isinf(known).sum()),
    }


def _forward(columns: Columns, name: str) -> dict[str, Any]:
    flags = [flag for flag in columns[name] if flag is not None]
    stopped = sum(stop is not None for stop in columns["stop"])
    excluded = {"no stop": len(columns["stop"]) - stopped, "no contraction": stopped - len(flags)}
    return {
        **share(np.array(flags, dtype=bool)),
        "excluded": excluded,
        "reason": _reason(len(flags), excluded),
    }


def _observable(columns: Columns, name: str) -> dict[str, Any]:
    """Changes of entropy or AC at the stop and after it beside their bounds (TRACE Thm B.1).

    A bound that is broken is counted.
    """
    unit = columns["concentration_per_entropy"] if name == "concentration" else 1.0
    moved, bound, later, later_bound = (
        columns[column] * unit
        for column in ("entropy_moved", "entropy_bound", "entropy_later", "entropy_later_bound")
    )
    return {
        "moved": _statistic(moved, "a sample has no stop"),
        "bound": _statistic(bound, "a sample has no stop"),
        "broken": int((moved > bound + ROUNDING).sum()),
        "later": _statistic(later, "a sample has no stop"),
        "later_bound": _statistic(
            later_bound, "not certifiable: a sample has no stop, or no contraction"
        ),
        "later_broken": int((later > later_bound + ROUNDING).sum()),
    }


def _exits(columns: Columns, setup: Setup) -> dict[str, Any]:
    """Share of the exits that Algorithm 1 would have made whose margin satisfies TRACE Cor. B.2.

    Source: EDIT reports 72.3 %.
    """
    made, alpha = int(columns["exits"].sum()), setup.calibration["alpha"]
    blocks = {"exits": made, "samples": int((columns["exits"] > 0).sum())}
    if alpha is None or not alpha < 1:
        return {
            **blocks,
            **share(np.zeros(0, dtype=bool)),
            "reason": f"not certifiable: {setup.calibration['reason']}",
        }
    certified = int(columns["exits_certified"].sum())
    return {
        **blocks,
        **share(np.arange(made) < certified),
        "reason": "" if made else "no block would have been left early",
    }


def share(flags: np.ndarray) -> dict[str, Any]:
    """Count and share with its Clopper-Pearson interval; no share of nothing."""
    certified, n = int(flags.sum()), len(flags)
    low, high = clopper_pearson(certified, n) if n else (None, None)
    return {
        "certified": certified,
        "n": n,
        "share": certified / n if n else None,
        "low": low,
        "high": high,
    }


def _statistic(values: np.ndarray, why: str) -> dict[str, Any]:
    """Mean, median and maximum of the defined values; how many are undefined, and why."""
    defined = values[~np.isnan(values)]
    shown = (
        [float(how(defined)) for how in (np.mean, np.median, np.max)]
        if len(defined)
        else [None] * 3
    )
    undefined = len(values) - len(defined)
    return {
        **dict(zip(("mean", "median", "max"), shown, strict=True)),
        "n": len(defined),
        "undefined": undefined,
        "reason": why if undefined else "",
    }


def _reason(n: int, excluded: dict[str, int]) -> str:
    """Why there is no share at all; "" where there is one."""
    return (
        ""
        if n
        else "not certifiable: "
        + ", ".join(f"{count} with {why}" for why, count in excluded.items() if count)
    )


def _nullable(value: Any) -> Any:
    """NaN as null, all the way down: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _nullable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nullable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
