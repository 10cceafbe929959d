"""Rule `readout`: similarities of one projection or of an aggregate.

With their stability statistics.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracedlm.config import ReadoutSettings
from tracedlm.progress import counted
from tracedlm.records import trace as tables
from tracedlm.records.parquet import read_groups, table_writer
from tracedlm.records.rrm import PROJECTIONS
from tracedlm.records.series import Series, to_series
from tracedlm.theory.rad import aggregate
from tracedlm.theory.stability import step_statistics


def make_readout(
    steps_files: list[Path],
    readouts_files: list[Path],
    readout: str,
    settings: ReadoutSettings,
    out: Path,
) -> None:
    """Write one readout's table.

    Visible positions, similarities, KL, TV, margin and concentration per step.

    Memory is that of one batch of samples: the parts of a trace are read a row group at a time.
    """
    length = tables.read_plan(readouts_files[0])[0]["gen_length"]
    facts = {
        "readout": readout,
        "tau": repr(settings.tau),
        "visible": settings.visible,
        "gen_length": str(length),
    }
    facts["trace_code"] = _one_version(readouts_files)
    with table_writer(out, tables.READOUT, facts) as writer:
        parts = list(zip(steps_files, readouts_files, strict=True))
        for steps_file, readouts_file in counted(parts, f"readout {readout}", "part"):
            columns = ["sample_id", "step", "block", "phase"]
            batches = (
                read_groups(steps_file, tables.STEPS, "trace steps", columns),
                read_groups(readouts_file, tables.READOUTS, "trace readouts"),
            )
            for steps, raw in zip(*batches, strict=True):
                writer.write(_rows(steps, raw, readout, settings, length))


def _one_version(shards: list[Path]) -> str:
    """Digest of the code that collected the shards, which must be the same in all of them."""
    codes = {
        (pq.read_schema(shard).metadata or {}).get(b"code", b"unknown").decode() for shard in shards
    }
    if len(codes) > 1:
        named = ", ".join(sorted(codes))
        raise ValueError(
            f"{shards[0].parent}: shards by {len(codes)} versions of the code ({named}); run"
            " snakemake again"
        )
    return codes.pop()


def _rows(
    steps: pa.Table, raw: pa.Table, readout: str, settings: ReadoutSettings, length: int
) -> list[dict[str, Any]]:
    projections = PROJECTIONS if readout.startswith("qkv_") else (readout,)
    series = [_joined(raw, steps, projection, length) for projection in projections]
    similarity = (
        series[0].similarity
        if len(series) == 1
        else aggregate(np.stack([one.similarity for one in series]), readout.removeprefix("qkv_"))
    )
    visible = visible_sets(series[0], settings.visible)
    statistics = step_statistics(similarity, visible, settings.tau)
    rows = []
    for n, t in zip(*np.nonzero(series[0].recorded), strict=True):
        seen = np.flatnonzero(visible[n, t])
        measured = {
            name: float(getattr(statistics, name)[n, t])
            for name in ("kl", "tv", "margin", "concentration")
        }
        rows.append(
            {
                "sample_id": int(series[0].sample_id[n]),
                "step": int(t) + 1,
                "block": int(series[0].block[n, t]),
                "phase": "refine" if series[0].refine[n, t] else "denoise",
                "position": seen,
                "similarity": similarity[n, t, seen].astype(np.float32),
                **{name: None if np.isnan(value) else value for name, value in measured.items()},
            }
        )
    return rows


def visible_sets(series: Series, visible: str) -> np.ndarray:
    """S_t of every step: visible tokens of the response or of the active block.

    Refine steps share what all of them see.
    """
    shared = series.on_common_support(series.refine)
    if visible == "response":
        return shared
    length = shared.shape[-1] // (int(series.block.max()) + 1)
    in_block = np.arange(shared.shape[-1]) // length == series.block[:, :, None]
    return shared & (in_block | series.refine[:, :, None])


def _joined(raw: pa.Table, steps: pa.Table, projection: str, length: int) -> Series:
    """One projection's rows with the block and phase of their step."""
    chosen = raw.filter(pc.field("projection") == projection)
    if not len(chosen):
        raise ValueError(
            f"the traces hold no readout of projection {projection!r}; they hold"
            f" {sorted(raw['projection'].unique().to_pylist())}"
        )
    order = [("sample_id", "ascending"), ("step", "ascending")]
    chosen, steps = chosen.sort_by(order), steps.sort_by(order)
    if not (
        chosen["sample_id"].equals(steps["sample_id"]) and chosen["step"].equals(steps["step"])
    ):
        raise ValueError(
            f"trace tables disagree: {len(chosen)} readout rows of {projection!r} against"
            f" {len(steps)} steps; collect the trace anew"
        )
    return to_series(
        chosen.append_column("block", steps["block"]).append_column("phase", steps["phase"]), length
    )
