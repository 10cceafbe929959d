"""How large the update of each part of a LoRA matrix was (EDIT Figures 3 to 5).

Part of rules `rrm` and `task_maps`.
"""

from typing import Any

from tracedlm.records.footprint import Footprint, find_module
from tracedlm.theory.magnitude import eight_bits, magnitude_grid

PROJECTION = "q"
"""The one EDIT shows."""


def magnitude_rows(
    footprint: Footprint, run: str, layer: int, variant: str
) -> list[dict[str, Any]]:
    """Rows of `records.update_magnitude` for LoRA-B of the queries.

    And for LoRA-A where it is there.

    Args:
        footprint: What the run left.
        run: Its name.
        layer: Transformer block; negative counts from the end.
        variant: Variant of the mean update.

    Raises:
        ValueError: There is no LoRA-B of this layer.
    """
    module = find_module(footprint, layer, PROJECTION, "B")
    modules = [name for name in (module, f"{module[:-1]}A") if name in footprint.modules()]
    rows = []
    for name, update in footprint.matrices(modules, [variant]).items():
        grid = magnitude_grid(update)
        scaled = eight_bits(grid)
        rows += [
            {
                "run": run,
                "module": name.split("/")[0],
                "row": i,
                "column": j,
                "magnitude": float(grid[i, j]),
                "scaled": float(scaled[i, j]),
            }
            for i in range(grid.shape[0])
            for j in range(grid.shape[1])
        ]
    return rows
