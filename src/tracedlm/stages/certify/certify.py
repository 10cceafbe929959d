"""Rule `certify`: which stops of the test split can be certified, from stored readouts.

All readouts of a set in one job. No torch.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracedlm.progress import counted
from tracedlm.records import trace as tables
from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import GRID, SAMPLES
from tracedlm.records.parquet import read_table, row_groups, write_table
from tracedlm.records.rrm import Rrm
from tracedlm.records.series import Series, read_late
from tracedlm.stages.certify.setup import Columns, Setup
from tracedlm.stages.certify.stops import (
    block_exits,
    entropy_bounds,
    forward_certificates,
    late_stops,
)
from tracedlm.stages.certify.summary import summary
from tracedlm.theory.certificate import BOUNDS, certificates, feasible, first_certified, grid
from tracedlm.theory.contraction import required_forward_margin
from tracedlm.theory.stability import lscr, step_statistics


def certify_set(
    readouts: dict[str, Path],
    samples_files: list[Path],
    maps: list[Path],
    setup: Setup,
    seed: int,
    out: dict[str, dict[str, Path]],
) -> None:
    """Write per-sample certificates, the coverage grid and a summary.

    Of every readout of one set's test split.

    Args:
        readouts: Readout name -> its table.
        samples_files: The trace's parts of the table `samples`.
        maps: The maps that the readouts were made with; reading one checks its unit norm.
        setup: What to certify at.
        seed: Seed of the bootstrap.
        out: Readout name -> paths of `samples`, `grid` and `summary`.
    """
    norms = {
        rrm.projection: float(np.linalg.norm(rrm.u.astype(np.float64)))
        for rrm in map(Rrm.read, maps)
    }
    labels = pa.concat_tables(
        [
            read_table(path, tables.SAMPLES, "trace samples", ["sample_id", "correct", "score"])
            for path in samples_files
        ]
    )
    labels = labels.sort_by("sample_id")
    for readout, path in readouts.items():
        columns = _columns(path, setup)
        if labels["sample_id"].to_pylist() != columns["sample_id"].tolist():
            raise ValueError(
                f"{samples_files[0].parent} and {path} hold different samples; collect the trace"
                " anew"
            )
        columns |= {name: labels[name].to_numpy() for name in ("correct", "score")}
        write_table(out[readout]["samples"], _rows(columns, setup), SAMPLES)
        write_table(out[readout]["grid"], _grid_rows(columns, setup), GRID)
        write_manifest(
            out[readout]["summary"],
            "certify.certify",
            settings=setup.settings.model_dump(),
            inputs=[str(path), *map(str, samples_files)],
            map_norms=norms,
            trace_code=_trace_code(path),
            **summary(columns, setup, seed),
        )


def _trace_code(readout: Path) -> str:
    """Digest of the code that collected the traces of a readout."""
    return (pq.read_schema(readout).metadata or {}).get(b"trace_code", b"unknown").decode()


def _columns(path: Path, setup: Setup) -> Columns:
    """Everything that is known of each sample, in the order of sample_id.

    In memory is one row group of the readout at a time.
    """
    read = read_late(path, setup.settings.window, setup.settings.late_window)
    batches = [
        _batch(*batch, setup)
        for batch in counted(read, f"certify {path.stem}", "group", row_groups(path, "a readout"))
    ]
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.argsort(joined["sample_id"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def _batch(series: Series, visible: np.ndarray, late: np.ndarray, setup: Setup) -> Columns:
    tau, delta, omega = setup.tau, setup.delta, setup.omega
    held = grid(
        series.similarity,
        visible,
        taus=setup.taus,
        deltas=setup.deltas,
        omegas=setup.omegas,
        window=late,
    )
    stops = late_stops(series, visible, late=late, tau=tau, delta=delta, omega=omega)
    bounds = entropy_bounds(stops, tau, delta, omega)
    alpha = setup.calibration["alpha"]
    asked = (
        required_forward_margin(delta, omega, alpha) if alpha is not None and alpha < 1 else None
    )
    left = block_exits(series, tau, delta, omega)
    return {
        "sample_id": series.sample_id,
        **_statistics(series, visible, late, tau),
        **{f"held_{bound}": np.moveaxis(held[bound], -1, 0) for bound in BOUNDS},
        "certified_at": _first_pinsker(
            series, visible, late=late, tau=tau, delta=delta, omega=omega
        ),
        "stop": _from_one(stops.step),
        "stop_margin": stops.margin,
        "contraction": stops.alpha,
        "dobrushin": stops.dobrushin,
        **{
            name: np.array(flags, dtype=object)
            for name, flags in forward_certificates(stops, delta, omega).items()
        },
        "entropy_moved": stops.entropy_moved,
        "entropy_bound": bounds["window"],
        "entropy_later": stops.entropy_later,
        "entropy_later_bound": bounds["forward"],
        "concentration_per_entropy": bounds["per_nat"],
        "exits": np.array([len(margins) for margins in left]),
        "exits_certified": np.array(
            [None if asked is None else sum(m >= asked for m in margins) for margins in left],
            dtype=object,
        ),
    }


def _first_pinsker(
    series: Series, visible: np.ndarray, late: np.ndarray, tau: float, delta: float, omega: int
) -> np.ndarray:
    """First late step that `pinsker` certifies, from 1; None where there is none."""
    start = max(int(late.any(axis=0).argmax()) - omega, 0)
    flags = certificates(series.similarity[:, start:], visible[:, start:], delta, omega, tau)
    first = first_certified(flags.pinsker, late[:, start:])
    return _from_one(np.where(first < 0, -1, first + start))


def _from_one(step: np.ndarray) -> np.ndarray:
    """Step numbers from indices; None where there is none."""
    return np.array([None if index < 0 else index + 1 for index in step.tolist()], dtype=object)


def _statistics(series: Series, visible: np.ndarray, late: np.ndarray, tau: float) -> Columns:
    """TRACE App. F, steps 2 and 3, per sample.

    The digest, final AC, LSCR with TV and KL, final margin; NaN where undefined.
    """
    found = step_statistics(series.similarity, visible, tau)
    n, steps = np.arange(len(late)), np.arange(late.shape[1])
    last_denoise = np.where(series.recorded & ~series.refine, steps, -1).max(axis=1)
    last_late = np.where(late, steps, -1).max(axis=1)
    entropy = (1 - found.concentration) * np.log(np.maximum(found.visible_count, 1))
    counted = np.where(series.recorded, found.visible_count, np.nan)
    digests = {"kl": found.kl, "entropy": entropy, "visible": counted}
    return {
        "steps": series.recorded.sum(axis=1),
        **{
            f"{name}_{how.__name__}": np.array(
                [how(row) if row.size else np.nan for row in _defined(values)]
            )
            for name, values in digests.items()
            for how in (np.mean, np.median)
        },
        "kl_undefined": (series.recorded & np.isnan(found.kl)).sum(axis=1),
        "concentration": found.concentration[n, last_denoise],
        "lscr_tv": lscr(np.where(late, found.tv, np.nan)),
        "lscr_kl": lscr(np.where(late, found.kl, np.nan)),
        "margin": found.margin[n, last_late],
        "window_undefined": ~(late & ~np.isnan(found.margin)).any(axis=1),
    }


def _defined(values: np.ndarray) -> list[np.ndarray]:
    return [row[~np.isnan(row)] for row in values]


def _rows(columns: Columns, setup: Setup) -> list[dict[str, Any]]:
    """Rows of SAMPLES, what is undefined as null."""
    selected = {
        f"certified_{bound}": setup.held(columns, bound, setup.tau, setup.delta, setup.omega)
        for bound in BOUNDS
    }
    values = [
        [None if value != value else value for value in {**columns, **selected}[name].tolist()]
        for name in SAMPLES.names
    ]
    return [dict(zip(SAMPLES.names, row, strict=True)) for row in zip(*values, strict=True)]


def _grid_rows(columns: Columns, setup: Setup) -> list[dict[str, Any]]:
    settings, undefined = setup.settings, int(columns["window_undefined"].sum())
    swept = [("tau", tau, None) for tau in dict.fromkeys([setup.tau, *settings.taus])]
    swept += [("gamma", setup.tau, gamma) for gamma in settings.gammas]
    return [
        {
            "bound": bound,
            "calibration": calibration,
            "tau": tau,
            "gamma": gamma,
            "delta": delta,
            "omega": omega,
            "certified": int(setup.held(columns, bound, tau / (gamma or 1), delta, omega).sum()),
            "n": len(columns["sample_id"]),
            "undefined": undefined,
            "feasible": feasible(delta, omega),
        }
        for bound in BOUNDS
        for calibration, tau, gamma in swept
        for delta in settings.deltas
        for omega in settings.omegas
    ]
