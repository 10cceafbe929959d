"""Rule `convergence`: when pseudo-gradients settle in the band of fine-tuning's gradients, beside the steps exit rules stop at."""

from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import GRADIENTS
from tracedlm.records.parquet import read_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.records.trace import EXITS
from tracedlm.theory.pseudo_gradient import convergence_step, nearest_step, stable_band
from tracedlm.theory.resampling import spearman

LEFT = "the last step's pseudo-gradient lies outside the band"


def summarise(pseudo_gradients: Path, gradients: Path, exits: dict[str, Path], dataset: str, seq_len: int, seed: int, out: Path) -> None:
    """Write bands, convergence steps, and their rank correlation with where each exit rule stopped in the same block.

    Args:
        pseudo_gradients: Table of rule `pseudo_gradient`.
        gradients: Gradient log of fine-tuning.
        exits: Exit rule -> its runs on the same samples.
        dataset: Task name.
        seq_len: Canvas length, tokens.
        seed: Seed of the bootstrap.
        out: JSON to write.
    """
    table = read_table(pseudo_gradients, PSEUDO_GRADIENTS, "pseudo-gradients")
    layer, rows = int(table.schema.metadata[b"layer"]), table.to_pylist()
    log = read_table(gradients, GRADIENTS, "the gradient log").to_pylist()
    modules, steps = [f"{layer}.{projection}.B" for projection in "qkv"], []
    bands = {module: stable_band(np.array([row["rms"] for row in log if row["module"] == module])) for module in modules}
    for module in modules:
        for sample, block in sorted({(row["sample_id"], row["block"]) for row in rows}):
            own = sorted(
                (row["block_step"], row["rms"])
                for row in rows
                if (row["sample_id"], row["block"], row["module"]) == (sample, block, module)
            )
            rms = np.array([value for _, value in own])
            step = convergence_step(rms, bands[module])
            steps.append(
                {"module": module, "sample_id": sample, "block": block, "step": step, "reason": "" if step else LEFT}
                | {"nearest": nearest_step(rms, bands[module].mean), "steps": len(own)}
            )
    settled = [row for row in steps if row["module"] == modules[0]]
    converged = [row["step"] for row in settled if row["step"] is not None]
    write_manifest(
        out, "convergence", dataset=dataset, seq_len=seq_len, module=modules[0], steps=steps, blocks=len(settled), converged=len(converged),
        bands={name: {**vars(band), "low": band.low, "high": band.high} for name, band in bands.items()},
        median_step=float(np.median(converged)) if converged else None,
        correlation=[found for rule, path in exits.items() for found in _correlations(rule, path, settled, seed)],
    )  # fmt: skip


def _correlations(rule: str, path: Path, settled: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Spearman's rho of convergence and exit steps over (sample, block), for each run of a rule."""
    table = read_table(path, EXITS, f"the exit runs of {rule}", ["sample_id", "stopped_at", "rule"]).to_pylist()
    found = []
    for label in dict.fromkeys(row["rule"] for row in table):
        stopped = {row["sample_id"]: row["stopped_at"] for row in table if row["rule"] == label}
        pairs = [(row["step"], stopped[row["sample_id"]][row["block"]]) for row in settled if row["sample_id"] in stopped]
        x, y = np.array(pairs, dtype=float).reshape(-1, 2).T
        measured = spearman(x, y, np.random.default_rng(seed))
        numbers = {name: None if np.isnan(value := getattr(measured, name)) else value for name in ("rho", "low", "high")}
        reason = measured.reason.replace("x constant", "the convergence step is constant").replace(
            "y constant", "the exit step is constant"
        )
        found.append({"rule": rule, "label": label, **numbers, "n": measured.n, "dropped": measured.dropped, "reason": reason})
    return found
