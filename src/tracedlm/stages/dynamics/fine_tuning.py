"""Rule `dynamics_sft`.

How the map grows over fine-tuning's snapshots, beside loss, gradients, curvature and outputs on
fixed batches.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm import dynamics
from tracedlm.config import Rrm as RrmSettings
from tracedlm.config import Sft
from tracedlm.dynamics import Batch, Budget
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.training import IGNORED, NoisyBatches
from tracedlm.progress import counted
from tracedlm.records.footprint import find_module
from tracedlm.records.measures import Measure, write_measures
from tracedlm.records.metrics import read_json
from tracedlm.records.moments import MOMENTS_FILE, Moments
from tracedlm.records.rrm import PROJECTIONS
from tracedlm.stages.dynamics.measure import with_rest
from tracedlm.stages.rrm.maps import configured_maps, configured_variant
from tracedlm.stages.sft.examples import read_examples
from tracedlm.theory.dimension import participation_ratio
from tracedlm.theory.map_comparison import cosines
from tracedlm.theory.subspaces import captured_energy, rank_of, subspace

RATIO = 0.5
"""Probability that a response token of the fixed batches is masked.

With t ~ U(eps, 1) and weights 1 / t, which few examples are drawn with a small t would decide
everything.
"""

BUDGET = Budget(probes=4, continued=1, steps=4)
"""Hessian-vector products of one batch: a model that is fine-tuned is larger than the toys."""

SUBSPACE = 3
"""Dimensions of the final subspace map (EDIT App. D).

Its share of an update's energy is measured.
"""


def measure_fine_tuning(
    model: dict[str, Any],
    sft: Sft,
    rrm: RrmSettings,
    examples: int,
    files: dict[str, dict[str, Path]],
    snapshots: Path,
    manifest: Path,
    seed: int,
    threads: int,
    out: Path,
) -> None:
    """Write what each snapshot measures.

    One that is missing or half-written has a row that says so, and no number.

    Args:
        model: Path and device of the base checkpoint (`config.Model`); it is read in float32.
        sft: How it was fine-tuned.
        rrm: Which map the study makes.
        examples: Of each of the two batches.
        files: `train` and `validation`: file of each dataset that was trained on.
        snapshots: Folder with one snapshot a step.
        manifest: Of the fine-tuning; says how many steps it took.
        seed: Of the fine-tuning, and of the masks.
        threads: CPU threads.
        out: Table of `records.measures.MEASURES`; its run is `sft`.

    Raises:
        ValueError: An example, a setting or the base checkpoint is unusable.
    """
    torch.set_num_threads(threads)
    model = {**model, "dtype": "float32"}
    steps = sft.snapshots(int(read_json(manifest, ("steps",))["steps"]))
    grown = map_measures({step: snapshots / str(step) / MOMENTS_FILE for step in steps}, rrm)
    rows: dict[tuple[int, int], list[Measure]] = {}
    before: dict[str, dict[str, np.ndarray]] = {}
    base = load_denoiser(**model)
    batches = {name: fixed_batch(base, part, sft, examples, seed) for name, part in files.items()}
    started = time.process_time()
    for step, denoiser in counted(
        _denoisers(model, snapshots, steps), "snapshots", "snapshot", len(steps)
    ):
        if isinstance(denoiser, str):
            print(f"skipped: {denoiser}", flush=True)
            rows[seed, step] = [
                Measure(
                    "",
                    None,
                    metric="snapshot",
                    label="",
                    value=None,
                    stderr=None,
                    n=0,
                    seconds=0.0,
                    reason=denoiser,
                )
            ]
            continue
        found = [*grown[step], *_model_measures(denoiser.model, batches, before)]
        ended = time.process_time()
        rows[seed, step], started = with_rest(found, ended - started), ended
    write_measures(out, "sft", rows)


def fixed_batch(
    denoiser: Denoiser, files: dict[str, Path], sft: Sft, n: int, seed: int
) -> list[Batch]:
    """Some worked examples, spread evenly over the files.

    Under noise that is the same at every snapshot.
    """
    encoded = read_examples(
        denoiser.tokenizer, files, sft.model_copy(update={"label_noise": 0.0}), seed
    ).encoded
    chosen = [encoded[place * len(encoded) // n] for place in range(min(n, len(encoded)))]
    pad, longest = denoiser.tokenizer.pad_token_id, max(len(response) for _, response in chosen)
    padded = [(prompt, response + [pad] * (longest - len(response))) for prompt, response in chosen]
    item = NoisyBatches(lambda _: padded, 1, denoiser.mask_id, pad, seed, ratio=RATIO)[0]
    tokens = torch.where(item["labels"] == IGNORED, item["input_ids"], item["labels"])
    shift = getattr(denoiser.causal_lm.config, "logit_shift", 0)
    return [
        Batch(
            item["input_ids"],
            item["attention_mask"],
            tokens,
            item["loss_weights"] / len(chosen),
            shift,
        )
    ]


def map_measures(files: Mapping[int, Path], settings: RrmSettings) -> dict[int, list[Measure]]:
    """How far the map of each projection had come at each step.

    Compared with that of the last step that has one.

    Args:
        files: Step -> moments recorded up to it; those that cannot be read give undefined measures.
        settings: Which map the study makes.

    Returns:
        Step -> measures; module = LoRA-B of the map's layer, `5.q.B`: `update_rms`, root mean
            square of the mean update's entries;
        `effective_rank`, participation ratio of its squared singular values; `map_cosine` to the
            final map; `captured`, share of its
        energy in the final subspace map.
    """
    opened = {step: _moments(path) for step, path in files.items()}
    known = {step: one for step, one in opened.items() if isinstance(one, Moments)}
    if not known:
        return {step: [_undefined("", None, str(why))] for step, why in opened.items()}
    final = known[max(known)]
    modules = {name: find_module(final, settings.layer, name, "B") for name in PROJECTIONS}
    last = {name: _update(final, module, settings) for name, module in modules.items()}
    bases = {
        name: subspace(update, min(SUBSPACE, rank_of(update))) for name, update in last.items()
    }
    maps = {step: configured_maps(one, settings) for step, one in known.items()}
    found: dict[int, list[Measure]] = {}
    for step, one in opened.items():
        found[step] = []
        for name, module in modules.items():
            layer = int(module.split(".")[0]) + 1
            if not isinstance(one, Moments):
                found[step].append(_undefined(module, layer, one))
                continue
            update = _update(one, module, settings)
            values = {
                "update_rms": float(np.sqrt(np.mean(update**2))),
                "effective_rank": participation_ratio(np.linalg.svd(update, compute_uv=False) ** 2),
                "map_cosine": float(
                    cosines(np.stack([maps[step][name].u, maps[max(known)][name].u]))[0, 1]
                ),
                "captured": captured_energy(update, bases[name]),
            }
            found[step] += [
                Measure(
                    module,
                    layer,
                    metric=metric,
                    label="",
                    value=value,
                    stderr=None,
                    n=one.steps,
                    seconds=0.0,
                )
                for metric, value in values.items()
            ]
    return found


def _undefined(module: str, layer: int | None, why: str) -> Measure:
    return Measure(
        module,
        layer,
        metric="map_cosine",
        label="",
        value=None,
        stderr=None,
        n=0,
        seconds=0.0,
        reason=why,
    )


def _moments(path: Path) -> Moments | str:
    """What was recorded, or why there is nothing."""
    if path.parent.name == "0":
        return "no optimiser step yet"
    try:
        return Moments.read(path)
    except ValueError as error:
        return str(error)


def _update(opened: Moments, module: str, settings: RrmSettings) -> np.ndarray:
    """Mean update of a module as configured, float64."""
    variant = configured_variant(opened, settings)
    return opened.matrices([module], [variant])[f"{module}/{variant}"].astype(np.float64)


def _model_measures(
    model: Any, batches: Mapping[str, list[Batch]], before: dict[str, dict[str, np.ndarray]]
) -> list[Measure]:
    """Outputs, gradients and curvature by the LoRA parameters on each batch.

    `before` keeps the gradients for the next snapshot.
    """
    measures = dynamics.curvature_measures(model, batches, scope="lora", budget=BUDGET)
    for name, part in batches.items():
        measures += dynamics.output_measures(model, part, {}, module=name)
        gradients = dynamics.loss_gradients(model, part, scope="lora")
        measures += dynamics.gradient_measures(gradients, before.get(name), name)
        before[name] = gradients
    return measures


def _denoisers(
    model: dict[str, Any], snapshots: Path, steps: list[int]
) -> Iterator[tuple[int, Denoiser | str]]:
    """Each snapshot's model, or why there is none."""
    for step in steps:
        try:
            yield step, load_denoiser(**model, adapter=snapshots / str(step))
        except ValueError as error:
            yield step, f"no usable snapshot: {error}"
