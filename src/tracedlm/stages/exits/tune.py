"""Rule `tune`: settings of exit rules, chosen on the validation split and never on test.

Source: EDIT App. B.1.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.decode.settings import settings_of
from tracedlm.progress import counted
from tracedlm.records.atomic import write_text
from tracedlm.records.manifest import code_digest
from tracedlm.stages.exits.decoding import Bench, Setup

LATER = {"delta": "later_delta", "omega": "later_omega"}
"""Settings that hold for the first block, and their twins for the others (EDIT Table 3)."""


def tune(setup: Setup, threads: int, out: Path) -> None:
    """Try every combination of each tuned rule's values, then those of the later blocks alone.

    Write all of it and the choice.
    """
    torch.set_num_threads(threads)
    setup = setup.of_set()
    bench, exits = Bench(setup, "validation"), setup.exits
    chosen, tried = {}, {}
    for name, values in exits.tune.items():
        base, rows = exits.settings(name), []
        best = _search(bench, name, base, values, rows)
        later = {
            LATER[key]: options
            for key, options in values.items()
            if key in LATER and LATER[key] in base
        }
        chosen[name] = _search(bench, name, best, later, rows) if later else best
        tried[name] = rows
    record = {
        "dataset": setup.dataset,
        "seq_len": setup.seq_len,
        "n": len(bench.prompts),
        "chosen": chosen,
        "tried": tried,
        "code": code_digest("exits.tune"),
    }
    write_text(out, json.dumps(record, indent=1) + "\n")


def _search(
    bench: Bench,
    name: str,
    base: dict[str, Any],
    values: dict[str, tuple[Any, ...]],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """The settings with the largest accuracy per forward.

    Ties go to the more accurate, then to the first tried.
    """
    tried = []
    for combination in counted(list(product(*values.values())), f"tune {name}", "setting"):
        settings = settings_of(name, **(base | dict(zip(values, combination, strict=True))))
        done = bench.run(name, settings.model_dump())
        accuracy = float(np.mean([row["correct"] for row in bench.rows(done)]))
        forwards = float(np.mean([one.nfe for one in done]))
        tried.append(
            {
                "settings": settings.model_dump(),
                "accuracy": accuracy,
                "forwards": forwards,
                "objective": accuracy / forwards,
            }
        )
    rows += tried
    return max(tried, key=lambda row: (row["objective"], row["accuracy"]))["settings"]
