"""What tables and figures are made of.

Schemas of certificates and gradients, and the reader of JSON results.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from tracedlm.records.formats import refuse_newer
from tracedlm.records.json_text import parse_json
from tracedlm.records.parquet import column
from tracedlm.theory.certificate import BOUNDS

# Names of columns, in the order in which the quartiles are computed.
QUARTILES = ("lower_quartile", "median", "upper_quartile")

GRID = pa.schema(
    [
        column("bound", pa.string(), "paper, pinsker, measured, tv or observed"),
        column(
            "calibration",
            pa.string(),
            "tau: the RAD at this temperature; gamma: the RAD at this temperature to the power"
            " gamma",
        ),
        column("tau", pa.float64(), "readout temperature"),
        column("gamma", pa.float64(), "power; null with calibration tau"),
        column("delta", pa.float64(), "KL threshold, nats"),
        column("omega", pa.int32(), "window length, steps"),
        column("certified", pa.int32(), "samples with a certified step in the late window"),
        column("n", pa.int32(), "samples"),
        column(
            "undefined",
            pa.int32(),
            "samples among them without a defined step there; they count as not certified",
        ),
        # Pinsker: a step of KL delta moves the distribution by sqrt(delta / 2) at most.
        column(
            "feasible",
            pa.bool_(),
            "omega * sqrt(delta / 2) < 1/2: the papers' inequality can hold at all",
        ),
    ]
)

SAMPLES = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("correct", pa.bool_(), "the problem is solved"),
        column(
            "score",
            pa.float64(),
            "share of the problem that is right, 0 to 1 (Sudoku: of the blank cells)",
        ),
        column("steps", pa.int32(), "recorded forwards"),
        *(
            column(
                f"{name}_{statistic}",
                pa.float64(),
                f"{statistic} over steps of {meaning}; null where no step has it",
            )
            for name, meaning in {
                "kl": "D_t, nats",
                "entropy": "H(P_t), nats",
                "visible": "|S_t|, tokens",
            }.items()
            for statistic in ("mean", "median")
        ),
        column(
            "kl_undefined",
            pa.int32(),
            "steps without D_t: the first, and those with fewer than two tokens in common with the"
            " one before",
        ),
        column(
            "concentration", pa.float64(), "AC at the last denoising step; null where undefined"
        ),
        column("lscr_tv", pa.float64(), "late-step change ratio with TV; null where undefined"),
        column("lscr_kl", pa.float64(), "late-step change ratio with KL; null where undefined"),
        column(
            "margin",
            pa.float64(),
            "top-2 margin at the last step of the late window; null where undefined",
        ),
        *(
            column(
                f"certified_{bound}",
                pa.bool_(),
                f"certified by `{bound}` at the selected delta and omega",
            )
            for bound in BOUNDS
        ),
        column(
            "certified_at",
            pa.int32(),
            "first step certified by `pinsker`, from 1; null where there is none",
        ),
        column(
            "stop",
            pa.int32(),
            "first late step, from 1, that ends a run of omega KLs below delta; null where there is"
            " none",
        ),
        column("stop_margin", pa.float64(), "top-2 margin at the stop"),
        # After a step that moved nothing the quotient of two TVs is a division by zero.
        column(
            "contraction",
            pa.float64(),
            "largest quotient of successive TVs of the late window; inf after a standstill; null"
            " where undefined",
        ),
        column("dobrushin", pa.float64(), "largest quotient over all pairs of its steps; likewise"),
        # Null is not false: without a stop there is nothing that could hold after it.
        column(
            "forward",
            pa.bool_(),
            "the argmax holds ever after the stop, by the sharp tail; null: no stop, or no"
            " contraction",
        ),
        column("forward_trace", pa.bool_(), "the same by TRACE Eq. 12; null likewise"),
        column(
            "forward_dobrushin",
            pa.bool_(),
            "the same by the sharp tail with `dobrushin`; null likewise",
        ),
        column("entropy_moved", pa.float64(), "change of entropy over the stop's window, nats"),
        column("entropy_bound", pa.float64(), "bound of it (TRACE Eq. 17), nats"),
        column(
            "entropy_later",
            pa.float64(),
            "largest change of entropy after the stop, late window, nats",
        ),
        column(
            "entropy_later_bound",
            pa.float64(),
            "bound of it (TRACE Eq. 18), nats; null without a contraction",
        ),
        column(
            "concentration_per_entropy",
            pa.float64(),
            "1 / log |C|: what turns changes of entropy into those of AC",
        ),
        column(
            "exits",
            pa.int32(),
            "blocks in which Algorithm 1 would have exited at the selected delta and omega",
        ),
        column(
            "exits_certified",
            pa.int32(),
            "those whose margin satisfies TRACE Cor. B.2; null where there is no contraction",
        ),
    ]
)

TEMPERATURE = pa.schema(
    [
        column("dataset", pa.string(), "task"),
        column("seq_len", pa.int32(), "canvas, tokens"),
        column("tau", pa.float64(), "readout temperature"),
        column("statistic", pa.string(), "kl (D_t, nats) or margin"),
        column("step", pa.int32(), "forward, from 1"),
        column("phase", pa.string(), "denoise or refine"),
        *(
            column(
                name, pa.float64(), f"{name} over validation samples; null where no sample has it"
            )
            for name in QUARTILES
        ),
        column("n", pa.int32(), "samples that have it"),
        column("undefined", pa.int32(), "samples that do not"),
    ]
)

GRADIENTS = pa.schema(
    [
        column("step", pa.int32(), "optimiser step, from 1"),
        column("module", pa.string(), "layer.projection.matrix"),
        # Clipped, as the optimiser sees them (`models.moment_recorder`).
        column("rms", pa.float64(), "root mean square of the gradient, after clipping"),
        column("loss", pa.float64(), "training loss of the step, nats per token"),
        column("lr", pa.float64(), "learning rate of the step"),
    ]
)


def read_json(path: str | Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON result and check its keys.

    For example a certificate summary, `selection.json`, `storage.json` or a manifest.

    Raises:
        ValueError: The file is missing or unreadable, or lacks a key; the message says what to do.
    """
    try:
        record = parse_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found; run the rule that makes it, or correct the path"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: not valid JSON ({error}); correct the path, or delete it and run snakemake"
            " again"
        ) from error
    # A list or a number is JSON too, and has no keys.
    refuse_newer(path, record.get("format") if isinstance(record, dict) else None)
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; correct the path, or delete it and run snakemake"
            " again"
        )
    return record
