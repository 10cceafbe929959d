"""Flip audits: one row for each exit that was undone, `flip_audit/<dataset>-<seq_len>.parquet`."""

import pyarrow as pa

from tracedlm.records.parquet import column
from tracedlm.theory.certificate import BOUNDS

FLIPS = pa.schema(
    [
        column("rule", pa.string(), "exit rule"),
        column("label", pa.string(), "exit rule with its settings"),
        column("sample_id", pa.int32(), "index in the split"),
        column("block", pa.int32(), "block that was stopped, from 0"),
        column("block_step", pa.int32(), "forward of the block after which it was stopped, from 1"),
        column("scheduled", pa.int32(), "forwards the block would have taken"),
        column("filled", pa.int32(), "masks that the stop had to fill, at once or by polishing"),
        column(
            "token_flips",
            pa.int32(),
            "those among them that going on without this exit made other tokens",
        ),
        column(
            "answer_flip",
            pa.bool_(),
            "the answer with this exit, and none after it, differs from the answer without it",
        ),
        *(
            column(
                f"certified_{bound}",
                pa.bool_(),
                f"the stop is certified by `{bound}`; null where the rule reads no alignment",
            )
            for bound in BOUNDS
        ),
    ]
)
