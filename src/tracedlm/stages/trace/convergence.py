"""Rule `convergence`.

When pseudo-gradients settle in the band of fine-tuning's gradients, beside the steps exit rules
stop at.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import GRADIENTS
from tracedlm.records.parquet import read_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.records.trace import EXITS, exit_block_lengths
from tracedlm.theory.pseudo_gradient import convergence_step, nearest_step, stable_band
from tracedlm.theory.resampling import spearman

LEFT = "the last step's pseudo-gradient lies outside the band"
OTHER_BLOCKS = (
    "the runs were decoded in blocks of {exits} tokens, the trace in blocks of {trace}; "
    "exits.block_length = decode.block_length makes them the same"
)


def summarise(
    pseudo_gradients: Path,
    gradients: Path,
    exits: dict[str, Path],
    dataset: str,
    seq_len: int,
    seed: int,
    out: Path,
) -> None:
    """Write bands, convergence steps, and their rank correlation with exit steps.

    Exit steps of each rule, in the same block.

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
    trace_blocks = _trace_blocks(json.loads(table.schema.metadata[b"plan"]))
    log = read_table(gradients, GRADIENTS, "the gradient log").to_pylist()
    modules, steps = [f"{layer}.{projection}.B" for projection in "qkv"], []
    bands = {
        module: stable_band(np.array([row["rms"] for row in log if row["module"] == module]))
        for module in modules
    }
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
                {
                    "module": module,
                    "sample_id": sample,
                    "block": block,
                    "step": step,
                    "reason": "" if step else LEFT,
                }
                | {"nearest": nearest_step(rms, bands[module].mean), "steps": len(own)}
            )
    settled = [row for row in steps if row["module"] == modules[0]]
    converged = [row["step"] for row in settled if row["step"] is not None]
    correlations = []
    for rule, path in exits.items():
        correlations += _correlations(rule, path, trace_blocks, settled, seed)
    write_manifest(
        out,
        "trace.convergence",
        dataset=dataset,
        seq_len=seq_len,
        module=modules[0],
        steps=steps,
        blocks=len(settled),
        converged=len(converged),
        bands={
            name: {**vars(band), "low": band.low, "high": band.high} for name, band in bands.items()
        },
        median_step=float(np.median(converged)) if converged else None,
        correlation=correlations,
    )


def _correlations(
    rule: str, path: Path, trace_blocks: list[int], settled: list[dict[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """Spearman's rho of convergence and exit steps over (sample, block), for each run of a rule.

    Undefined, with the reason, where the runs were cut into other blocks than the trace: no block
    of theirs is one that was replayed.
    """
    exit_blocks = exit_block_lengths(path)
    columns = ["sample_id", "stopped_at", "rule"]
    table = read_table(path, EXITS, f"the exit runs of {rule}", columns).to_pylist()
    correlations = []
    for label in dict.fromkeys(row["rule"] for row in table):
        stopped = {row["sample_id"]: row["stopped_at"] for row in table if row["rule"] == label}
        replayed = [row for row in settled if row["sample_id"] in stopped]
        if exit_blocks == trace_blocks:
            correlation = _correlation(replayed, stopped, seed)
        else:
            reason = OTHER_BLOCKS.format(exits=exit_blocks, trace=trace_blocks)
            undefined = {"rho": None, "low": None, "high": None}
            correlation = {**undefined, "n": 0, "dropped": len(replayed), "reason": reason}
        correlations.append({"rule": rule, "label": label, **correlation})
    return correlations


def _correlation(
    settled: list[dict[str, Any]], stopped: dict[int, list[int]], seed: int
) -> dict[str, Any]:
    """Spearman's rho of one run, whose blocks are the trace's."""
    pairs = [(row["step"], stopped[row["sample_id"]][row["block"]]) for row in settled]
    convergence_steps, exit_steps = np.array(pairs, dtype=float).reshape(-1, 2).T
    measured = spearman(convergence_steps, exit_steps, np.random.default_rng(seed))
    correlation: dict[str, Any] = {}
    for name in ("rho", "low", "high"):
        value = getattr(measured, name)
        correlation[name] = None if np.isnan(value) else value
    reason = measured.reason.replace("x constant", "the convergence step is constant")
    correlation["n"] = measured.n
    correlation["dropped"] = measured.dropped
    correlation["reason"] = reason.replace("y constant", "the exit step is constant")
    return correlation


def _trace_blocks(plan: dict[str, Any]) -> list[int]:
    """Tokens of each block of the replayed trace, from how it was decoded."""
    length = plan["block_length"]
    if isinstance(length, list):
        return length
    return [length] * (plan["gen_length"] // length)
