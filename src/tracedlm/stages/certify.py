"""Rules `select` and `certify`: which stops can be certified, from stored readouts. No torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.config import Certify
from tracedlm.records import trace as tables
from tracedlm.records.atomic import write_text
from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import GRID, SAMPLES
from tracedlm.records.parquet import read_table, write_table
from tracedlm.records.series import Series, to_series
from tracedlm.theory.calibration import select_pair
from tracedlm.theory.certificate import BOUNDS, certificates, feasible, first_certified, grid
from tracedlm.theory.resampling import clopper_pearson, spearman
from tracedlm.theory.stability import lscr, step_statistics


def select(readouts: list[Path], settings: Certify, tau: float, out: Path) -> None:
    """Choose (delta*, omega*) for the whole study: largest mean coverage of `pinsker` on the validation q readouts (TRACE App. G)."""
    coverage = []
    for path in readouts:
        series, visible, late = load_late(path, settings)
        coverage.append(grid(series.similarity, visible, settings.deltas, settings.omegas, tau, late)["pinsker"].mean(axis=-1))
    mean = np.mean(coverage, axis=0)
    i, j = select_pair(mean, settings.deltas, settings.omegas)
    record = {
        "delta": settings.deltas[i],
        "omega": settings.omegas[j],
        "coverage": float(mean[i, j]),
        "grid": mean.tolist(),
        "deltas": settings.deltas,
        "omegas": settings.omegas,
        "sets": len(readouts),
    }
    write_text(out, json.dumps(record, indent=1) + "\n")


def certify_readout(
    readout_file: Path, samples_file: Path, selection_file: Path, settings: Certify, tau: float, seed: int, out: dict[str, Path]
) -> None:
    """Write per-sample certificates, the coverage grid and a summary of one readout on the test split."""
    series, visible, late = load_late(readout_file, settings)
    labels = read_table(samples_file, tables.SAMPLES, "trace samples", columns=["sample_id", "correct", "score"]).sort_by("sample_id")
    if labels["sample_id"].to_pylist() != series.sample_id.tolist():
        raise ValueError(f"{samples_file} and {readout_file} hold different samples; collect the trace anew")
    chosen = json.loads(selection_file.read_text())
    flags = certificates(series.similarity, visible, chosen["delta"], chosen["omega"], tau)
    held = {bound: (getattr(flags, bound) & late).any(axis=1) for bound in BOUNDS}
    profile = _profile(series, visible, late, tau)
    first = first_certified(flags.pinsker, late)
    rows = [
        {
            "sample_id": int(sample),
            "correct": labels["correct"][n].as_py(),
            "score": labels["score"][n].as_py(),
            **{name: _or_none(values[n]) for name, values in profile.items()},
            **{f"certified_{bound}": bool(held[bound][n]) for bound in BOUNDS},
            "certified_at": None if first[n] < 0 else int(first[n]) + 1,
        }
        for n, sample in enumerate(series.sample_id)
    ]
    write_table(out["samples"], rows, SAMPLES)
    write_table(out["grid"], _grid_rows(series, visible, late, settings, tau), GRID)
    correlation = spearman(profile["concentration"], np.array(labels["score"].to_pylist()), np.random.default_rng(seed))
    summary = {
        "n": len(rows),
        "tau": tau,
        "delta": chosen["delta"],
        "omega": chosen["omega"],
        "feasible": feasible(chosen["delta"], chosen["omega"]),
        "coverage": {bound: _share(held[bound]) for bound in BOUNDS},
        "strict": _coverage_at(series, visible, late, settings, tau),
        "calibrated": _coverage_at(series, visible, late, settings, settings.calibrated_tau),
        "profile": {name: _summary(values) for name, values in profile.items()},
        "spearman": vars(correlation),
    }
    write_manifest(out["summary"], "certify", settings=settings.model_dump(), **_nullable(summary))


def load_late(path: Path, settings: Certify) -> tuple[Series, np.ndarray, np.ndarray]:
    """A readout's series, its visible sets with the late window on its common support, and the late steps (bool [n, steps])."""
    table = read_table(path, tables.READOUT, "a readout")
    facts = table.schema.metadata or {}
    if b"gen_length" not in facts:
        raise ValueError(f"{path}: does not say its canvas length (metadata gen_length); make it anew with rule readout")
    series = to_series(table, int(facts[b"gen_length"]))
    late = series.late(settings.window, settings.late_window)
    return series, series.on_common_support(late), late


def _profile(series: Series, visible: np.ndarray, late: np.ndarray, tau: float) -> dict[str, np.ndarray]:
    """TRACE section 4.4 per sample: final AC, LSCR with TV and KL, final margin; NaN where undefined."""
    statistics = step_statistics(series.similarity, visible, tau)
    n = np.arange(len(series.sample_id))
    last_denoise = np.where(series.recorded & ~series.refine, np.arange(late.shape[1]), -1).max(axis=1)
    last_late = np.where(late, np.arange(late.shape[1]), -1).max(axis=1)
    return {
        "concentration": statistics.concentration[n, last_denoise],
        "lscr_tv": lscr(np.where(late, statistics.tv, np.nan)),
        "lscr_kl": lscr(np.where(late, statistics.kl, np.nan)),
        "margin": statistics.margin[n, last_late],
    }


def _grid_rows(series: Series, visible: np.ndarray, late: np.ndarray, settings: Certify, tau: float) -> list[dict[str, Any]]:
    held = grid(series.similarity, visible, settings.deltas, settings.omegas, tau, late)
    return [
        {
            "bound": bound,
            "tau": tau,
            "delta": delta,
            "omega": omega,
            "certified": int(held[bound][i, j].sum()),
            "n": len(series.sample_id),
            "feasible": feasible(delta, omega),
        }
        for bound in BOUNDS
        for i, delta in enumerate(settings.deltas)
        for j, omega in enumerate(settings.omegas)
    ]


def _coverage_at(series: Series, visible: np.ndarray, late: np.ndarray, settings: Certify, tau: float) -> dict[str, Any]:
    """Coverage at TRACE Table 2's (delta, omega), under the papers' rule and the sound one."""
    flags = certificates(series.similarity, visible, settings.strict_delta, settings.strict_omega, tau)
    shares = {bound: _share((getattr(flags, bound) & late).any(axis=1)) for bound in ("paper", "pinsker")}
    return {"tau": tau, "delta": settings.strict_delta, "omega": settings.strict_omega, **shares}


def _share(flags: np.ndarray) -> dict[str, float]:
    low, high = clopper_pearson(int(flags.sum()), len(flags))
    return {"certified": int(flags.sum()), "n": len(flags), "share": float(flags.mean()), "low": low, "high": high}


def _summary(values: np.ndarray) -> dict[str, Any]:
    """Mean and median of the defined values, and how many are undefined; null where none is defined."""
    defined = values[~np.isnan(values)]
    mean, median = (float(defined.mean()), float(np.median(defined))) if len(defined) else (None, None)
    return {"mean": mean, "median": median, "n": len(defined), "undefined": len(values) - len(defined)}


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _nullable(value: Any) -> Any:
    """NaN as null, all the way down: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _nullable(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
