"""What tables and figures are made of: schemas of certificates and gradients, and the reader of JSON results."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracedlm.records.parquet import column
from tracedlm.theory.certificate import BOUNDS

GRID = pa.schema(
    [
        column("bound", pa.string(), "paper, pinsker, measured, tv or observed"),
        column("tau", pa.float64(), "readout temperature"),
        column("delta", pa.float64(), "KL threshold, nats"),
        column("omega", pa.int32(), "window length, steps"),
        column("certified", pa.int32(), "samples with a certified step in the late window"),
        column("n", pa.int32(), "samples"),
        column("feasible", pa.bool_(), "omega * sqrt(delta / 2) < 1/2: the papers' inequality can hold at all"),
    ]
)

SAMPLES = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("correct", pa.bool_(), "the problem is solved"),
        column("score", pa.float64(), "share of the problem that is right, 0 to 1"),
        column("concentration", pa.float64(), "AC at the last denoising step; null where undefined"),
        column("lscr_tv", pa.float64(), "late-step change ratio with TV; null where undefined"),
        column("lscr_kl", pa.float64(), "late-step change ratio with KL; null where undefined"),
        column("margin", pa.float64(), "top-2 margin at the last step of the late window; null where undefined"),
        *(column(f"certified_{bound}", pa.bool_(), f"certified by `{bound}` at the selected delta and omega") for bound in BOUNDS),
        column("certified_at", pa.int32(), "first step certified by `pinsker`, from 1; null where there is none"),
    ]
)

GRADIENTS = pa.schema(
    [
        column("step", pa.int32(), "optimiser step, from 1"),
        column("module", pa.string(), "layer.projection.matrix"),
        column("rms", pa.float64(), "root mean square of the gradient, after clipping"),
        column("loss", pa.float64(), "training loss of the step, nats per token"),
        column("lr", pa.float64(), "learning rate of the step"),
    ]
)


def read_json(path: str | Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON result (a certificate summary, `selection.json`, `storage.json`, a manifest) and check its keys.

    Raises:
        ValueError: The file is missing or unreadable, or lacks a key; the message says what to do.
    """
    try:
        record = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; run the rule that makes it, or correct the path") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete it and run snakemake again") from error
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; delete it and run snakemake again")
    return record
