"""Rule `select`: what validation decides.

(delta*, omega*), one calibration, what may be promised; and how much the temperature matters.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.config import Certify
from tracedlm.records.atomic import write_text
from tracedlm.records.metrics import QUARTILES, TEMPERATURE
from tracedlm.records.parquet import write_table
from tracedlm.records.series import read_late
from tracedlm.stages.certify.stops import late_stops
from tracedlm.theory.calibration import pac_calibration, select_pair
from tracedlm.theory.certificate import grid
from tracedlm.theory.stability import step_statistics


@dataclass(frozen=True)
class Validation:
    """The validation readout of one dataset and canvas length."""

    dataset: str
    seq_len: int
    path: Path


def select(sets: list[Validation], settings: Certify, tau: float, out: dict[str, Path]) -> None:
    """Choose (delta*, omega*) for the whole study.

    Largest mean coverage of `pinsker` on the validation q readouts (TRACE App. G).

    At that pair, the temperature and the power of largest coverage are the study's one calibration;
    margins at the stops and contraction rates say what it may promise on a set (TRACE Cor. B.2);
    and coverage at other temperatures, how much hangs on the readout's own.
    """
    groups = {
        "strict": [tau],
        "taus": settings.taus,
        "gammas": [tau / gamma for gamma in settings.gammas],
        "temperatures": settings.temperatures,
    }
    coverages = [
        _coverage(one, settings, [value for group in groups.values() for value in group])
        for one in sets
    ]
    mean = np.mean(coverages, axis=0)
    i, j = select_pair(mean[0], settings.deltas, settings.omegas)
    delta, omega = settings.deltas[i], settings.omegas[j]
    ends = np.cumsum([len(group) for group in groups.values()])[:-1]
    _, taus, gammas, _ = (part.tolist() for part in np.split(mean[:, i, j], ends))
    curves, facts = [], []
    for one, coverage in zip(sets, coverages, strict=True):
        rows, windows = _temperatures(one, settings, delta, omega)
        curves += rows
        shares = coverage[-len(settings.temperatures) :, i, j].tolist()
        windows = [
            {**window, "coverage": share} for window, share in zip(windows, shares, strict=True)
        ]
        where = {"dataset": one.dataset, "seq_len": one.seq_len, "n": windows[0]["n"]}
        facts.append(
            {
                **where,
                "calibration": _calibration(one, settings, tau, delta, omega),
                "temperature": windows,
            }
        )
    record = {
        "delta": delta,
        "omega": omega,
        "coverage": float(mean[0, i, j]),
        "grid": mean[0].tolist(),
        "deltas": settings.deltas,
        "omegas": settings.omegas,
        "tau": _best(settings.taus, taus),
        "taus": settings.taus,
        "tau_coverage": taus,
        "gamma": _best(settings.gammas, gammas),
        "gammas": settings.gammas,
        "gamma_coverage": gammas,
        "beta": settings.beta,
        "sets": facts,
    }
    write_table(out["temperature"], curves, TEMPERATURE)
    write_text(out["selection"], json.dumps(record, indent=1, allow_nan=False) + "\n")


def _best(values: Sequence[float], coverage: list[float]) -> float | None:
    """The calibration of largest coverage, the first of equals; None where none is configured."""
    return values[int(np.argmax(coverage))] if values else None


def _coverage(one: Validation, settings: Certify, taus: list[float]) -> np.ndarray:
    """Share of samples that `pinsker` certifies: [taus, deltas, omegas]."""
    held = [
        grid(
            series.similarity,
            visible,
            taus=taus,
            deltas=settings.deltas,
            omegas=settings.omegas,
            window=late,
        )["pinsker"]
        for series, visible, late in read_late(one.path, settings.window, settings.late_window)
    ]
    return np.concatenate(held, axis=-1).mean(axis=-1)


def _calibration(
    one: Validation, settings: Certify, tau: float, delta: float, omega: int
) -> dict[str, Any]:
    """What the stops of these samples let (delta, omega) promise.

    `PacCalibration`, undefined values as null.
    """
    stops = [
        late_stops(*batch, tau, delta, omega)
        for batch in read_late(one.path, settings.window, settings.late_window)
    ]
    margins, alphas = (
        np.concatenate([getattr(batch, name) for batch in stops]) for name in ("margin", "alpha")
    )
    pairs = len(settings.deltas) * len(settings.omegas)
    found = asdict(
        pac_calibration(margins, alphas, delta=delta, omega=omega, beta=settings.beta, pairs=pairs)
    )
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in found.items()
    }


def _temperatures(
    one: Validation, settings: Certify, delta: float, omega: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of TEMPERATURE, and what the late window looks like at each temperature.

    Source: TRACE App. C.
    """
    found: dict[tuple[float, str], list[np.ndarray]] = defaultdict(list)
    phases = []
    for series, visible, late in read_late(one.path, settings.window, settings.late_window):
        # Two flags in one array, so that one padding serves both: 1, 2, or 3.
        phases.append(series.refine + 2.0 * late)
        for tau in settings.temperatures:
            statistics = step_statistics(series.similarity, visible, tau)
            found[tau, "kl"].append(statistics.kl)
            found[tau, "margin"].append(statistics.margin)
            found[tau, "stop"].append(
                late_stops(series, visible, late=late, tau=tau, delta=delta, omega=omega).step[
                    :, None
                ]
            )
    phase = _stacked(phases)
    refine, late = np.isin(phase, (1, 3)), phase >= 2
    curves, windows = [], []
    for tau in settings.temperatures:
        kl, margin = (_stacked(found[tau, name]) for name in ("kl", "margin"))
        curves += [
            row
            for name, values in (("kl", kl), ("margin", margin))
            for row in _curve(one, tau, name, values, refine)
        ]
        stopped = sum(int((steps >= 0).sum()) for steps in found[tau, "stop"])
        medians = {"kl_median": _median(kl[late]), "margin_median": _median(margin[late])}
        undefined = int(np.isnan(kl[late]).sum())
        windows.append(
            {
                "tau": tau,
                **medians,
                "late_steps": int(late.sum()),
                "undefined": undefined,
                "stopped": stopped,
                "n": len(late),
            }
        )
    return curves, windows


def _stacked(batches: list[np.ndarray]) -> np.ndarray:
    """Batches [n, steps] under one another, NaN where a batch has fewer steps."""
    longest = max(batch.shape[1] for batch in batches)
    return np.concatenate(
        [
            np.pad(batch, ((0, 0), (0, longest - batch.shape[1])), constant_values=np.nan)
            for batch in batches
        ]
    )


def _curve(
    one: Validation, tau: float, name: str, values: np.ndarray, refine: np.ndarray
) -> list[dict[str, Any]]:
    rows = []
    for step in range(values.shape[1]):
        defined = values[~np.isnan(values[:, step]), step]
        quartiles = np.quantile(defined, [0.25, 0.5, 0.75]).tolist() if defined.size else [None] * 3
        where = {
            "dataset": one.dataset,
            "seq_len": one.seq_len,
            "tau": tau,
            "statistic": name,
            "step": step + 1,
        }
        phase = "refine" if refine[:, step].any() else "denoise"
        counts = {"n": defined.size, "undefined": len(values) - defined.size}
        rows.append(
            {**where, "phase": phase, **dict(zip(QUARTILES, quartiles, strict=True)), **counts}
        )
    return rows


def _median(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if defined.size else None
