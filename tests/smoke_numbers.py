"""The smoke study's main numbers, of which golden/smoke.json is the record.

`python tests/smoke_numbers.py results/smoke`, after `make smoke`, writes the record anew: when a
change of numbers is meant.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from tracedlm.records.metrics import read_json
from tracedlm.records.rrm import PROJECTIONS, Rrm

RECORD = Path(__file__).parent / "golden/smoke.json"


def numbers(results):
    """Name -> a number or a list of them.

    Times are no part of it, nor is anything that is derived from what is here.
    """
    gradients = pq.read_table(
        results / "sft/gradients.parquet", columns=["step", "loss"]
    ).to_pylist()
    found = {
        "loss": [
            round(loss, 6) for _, loss in sorted({(row["step"], row["loss"]) for row in gradients})
        ]
    }
    for projection in PROJECTIONS:
        found[f"map/{projection}"] = [
            round(float(x), 6) for x in Rrm.read(results / f"rrm/{projection}.safetensors").u
        ]
    for exits in sorted(results.glob("exits/*/*")):
        where = "/".join(exits.parts[-2:])
        readout = pq.read_table(
            results / f"readouts/{where}/test/q.parquet", columns=["sample_id", "kl"]
        )
        found[f"kl/{where}"] = [
            float(f"{row['kl']:.6g}")
            for row in readout.to_pylist()
            if row["sample_id"] == 0 and row["kl"] is not None
        ]
        for run in sorted(exits.glob("*.parquet")):
            rows = pq.read_table(run, columns=["rule", "nfe", "correct", "token_flips"]).to_pylist()
            for label in dict.fromkeys(row["rule"] for row in rows):
                own = [row for row in rows if row["rule"] == label]
                totals = {
                    name: sum(row[column] for row in own) for name, column in MEASURED.items()
                }
                found |= {f"{name}/{where}/{label}": total for name, total in totals.items()}
        for grid in sorted(results.glob(f"certify/{where}/*/grid.parquet")):
            rows = pq.read_table(grid, columns=["bound", "certified"]).to_pylist()
            for bound in dict.fromkeys(row["bound"] for row in rows):
                found[f"certified/{where}/{grid.parent.name}/{bound}"] = sum(
                    row["certified"] for row in rows if row["bound"] == bound
                )
    selection = read_json(results / "certify/selection.json", ("delta", "omega"))
    return {**found, "selected": [selection["delta"], selection["omega"]]}


MEASURED = {"forwards": "nfe", "solved": "correct", "token_flips": "token_flips"}

if __name__ == "__main__":
    lines = [
        f"{json.dumps(name)}: {json.dumps(value)}"
        for name, value in numbers(Path(sys.argv[1])).items()
    ]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
