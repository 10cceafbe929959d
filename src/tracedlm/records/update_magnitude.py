"""How large the mean updates of LoRA-B and LoRA-A are, cell by cell.

`rrm/update_magnitude.parquet`.
"""

import pyarrow as pa

from tracedlm.records.parquet import column

UPDATE_MAGNITUDE = pa.schema(
    [
        column("run", pa.string(), "fine-tuning run: the study's, or <task>-<number>"),
        column("module", pa.string(), "layer.projection.matrix"),
        column("row", pa.int32(), "row of the grid the matrix is folded into, from 0"),
        column("column", pa.int32(), "column of that grid, from 0"),
        column(
            "magnitude",
            pa.float64(),
            "mean of |update| over the parameters of the cell, in the unit of the source: none for"
            " moments",
        ),
        column("scaled", pa.float64(), "the same from 0 to 255, the largest cell of the module"),
    ]
)
