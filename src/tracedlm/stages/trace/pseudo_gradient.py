"""Rule `pseudo_gradient`.

Recorded traces replayed with gradients, to see what each step's change pulls at (EDIT App. G).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.prompts import left_padded
from tracedlm.generation import encode
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.pseudo_gradient import pseudo_gradients
from tracedlm.progress import counted
from tracedlm.records import trace
from tracedlm.records.parquet import read_table, write_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.records.rrm import PROJECTIONS


@dataclass(frozen=True)
class Pair:
    """Two successive forwards of one block.

    Attributes:
        sample: Index in the split.
        block: Block, from 0.
        block_step: First of the two, from 1.
        before: int64 [canvas], what the first was given.
        after: int64 [canvas], what the second was given.
    """

    sample: int
    block: int
    block_step: int
    before: torch.Tensor
    after: torch.Tensor


def replay_traces(
    model: dict[str, Any],
    adapter: Path,
    layer: int,
    tables: dict[str, dict[str, Sequence[Path]]],
    samples: int,
    batch_size: int,
    threads: int,
    out: dict[str, Path],
) -> None:
    """Write the pseudo-gradients of the first samples of each dataset's traces.

    For LoRA-B of q, k and v in one layer.

    Args:
        model: Path, precision and device of the base checkpoint.
        adapter: LoRA adapter the traces were made with.
        layer: Transformer block; negative counts from the end.
        tables: Dataset -> parts of its trace tables `samples` and `steps`.
        samples: Samples of each dataset, at most.
        batch_size: Canvases in one forward.
        threads: CPU threads.
        out: Dataset -> table to write.
    """
    torch.set_num_threads(threads)
    denoiser = load_denoiser(**model, adapter=adapter)
    layer += denoiser.causal_lm.config.num_hidden_layers if layer < 0 else 0
    for dataset, parts in tables.items():
        plan, prompts, pairs = _read(denoiser, parts, samples)
        rows = []
        for start in counted(
            range(0, len(pairs), max(1, batch_size // 2)), f"pseudo-gradients {dataset}", "part"
        ):
            rows += _rows(
                denoiser, layer, plan, prompts, pairs[start : start + max(1, batch_size // 2)]
            )
        rows.sort(key=lambda row: (row["sample_id"], row["block"], row["block_step"]))
        write_table(
            out[dataset],
            rows,
            PSEUDO_GRADIENTS,
            {"dataset": dataset, "layer": str(layer), "plan": json.dumps(asdict(plan))},
        )


def _read(
    denoiser: Denoiser, parts: dict[str, Sequence[Path]], samples: int
) -> tuple[Plan, dict[int, list[int]], list[Pair]]:
    """How the traces were decoded, their prompts, and their pairs of forwards.

    Pairs of the first samples.
    """
    decoded = [
        row
        for path in parts["samples"]
        for row in read_table(path, trace.SAMPLES, "traces", ["sample_id", "prompt"]).to_pylist()
    ]
    chosen = sorted(decoded, key=lambda row: row["sample_id"])[:samples]
    prompts = dict(
        zip(
            [row["sample_id"] for row in chosen],
            encode(denoiser, [row["prompt"] for row in chosen]),
            strict=True,
        )
    )
    steps = [read_table(path, trace.STEPS, "trace steps") for path in parts["steps"]]
    plan = _plan(json.loads(steps[0].schema.metadata[b"plan"]))
    recorded: dict[int, list[dict[str, Any]]] = {sample: [] for sample in prompts}
    for row in (row for table in steps for row in table.to_pylist()):
        if row["sample_id"] in recorded and row["phase"] == "denoise":
            recorded[row["sample_id"]].append(row)
    return (
        plan,
        prompts,
        [
            pair
            for rows in recorded.values()
            for pair in replay(rows, plan.gen_length, denoiser.mask_id)
        ],
    )


def _plan(stored: dict[str, Any]) -> Plan:
    known = {field.name: stored[field.name] for field in fields(Plan)}
    length = known["block_length"]
    return Plan(**{**known, "block_length": tuple(length) if isinstance(length, list) else length})


def replay(steps: list[dict[str, Any]], canvas: int, mask_id: int) -> Iterator[Pair]:
    """The pairs of successive forwards of each block of one sample.

    From what was committed after every forward.
    """
    tokens = torch.full((canvas,), mask_id)
    given = []
    for row in sorted(steps, key=lambda row: row["step"]):
        given.append((row, tokens.clone()))
        tokens[torch.tensor(row["committed_position"], dtype=torch.long)] = torch.tensor(
            row["committed_token"], dtype=torch.long
        )
    for (row, before), (following, after) in pairwise(given):
        if row["block"] == following["block"]:
            yield Pair(row["sample_id"], row["block"], row["block_step"], before, after)


def _rows(
    denoiser: Denoiser, layer: int, plan: Plan, prompts: dict[int, list[int]], pairs: list[Pair]
) -> list[dict[str, Any]]:
    """Rows of a few pairs, from one forward and backward."""
    prompt, real = left_padded(
        [prompts[pair.sample] for pair in pairs], denoiser.tokenizer.pad_token_id
    )
    before, after = (
        torch.cat([prompt, torch.stack(canvases)], 1)
        for canvases in zip(*((p.before, p.after) for p in pairs), strict=True)
    )
    attention = torch.cat([real, torch.ones(len(pairs), plan.gen_length, dtype=torch.long)], 1)
    width, offset = prompt.shape[1], torch.arange(max(plan.lengths))
    begins, lengths = (
        torch.tensor([values[pair.block] for pair in pairs])[:, None]
        for values in (plan.begins, plan.lengths)
    )
    positions = (width + begins + offset).clamp(max=before.shape[1] - 1)
    visible = (offset < lengths) & (after.gather(1, positions) != denoiser.mask_id)
    arrays = [array.to(denoiser.device) for array in (before, after, attention, positions, visible)]
    divergence, rms = pseudo_gradients(denoiser, layer, PROJECTIONS, *arrays)
    facts = zip(
        pairs,
        visible.sum(1).tolist(),
        divergence.tolist(),
        zip(*(rms[name].tolist() for name in PROJECTIONS), strict=True),
        strict=True,
    )
    return [
        {
            "sample_id": pair.sample,
            "block": pair.block,
            "block_step": pair.block_step,
            "module": f"{layer}.{name}.B",
            "visible": seen,
            "kl": kl,
            "rms": value,
        }
        for pair, seen, kl, values in facts
        for name, value in zip(PROJECTIONS, values, strict=True)
    ]
