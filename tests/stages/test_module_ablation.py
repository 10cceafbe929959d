"""The metrics of every map against a naive twin.

Own hooks, one sample at a time, D_t in decimal arithmetic.
"""

import json
import math

import numpy as np
import pytest
import torch

from oracles import cosine, step_statistics
from tracedlm.config import Ablation, Certify, Decode, ReadoutSettings
from tracedlm.generation import encode, generate
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.records.rrm import Rrm, write_maps
from tracedlm.stages.rrm.module_ablation import ablate, summarised
from tracedlm.tasks import get_task

WHICH = [("q", "A", 0), ("q", "B", 1), ("q", "B", 2), ("v", "B", 3)]
"""Projection, matrix and seed of each map; two are of one module."""
SHAPE = {"gen_length": 16, "block_length": 8, "steps": 8}


def maps():
    made = []
    for projection, matrix, seed in WHICH:
        u = np.abs(np.random.default_rng(seed).normal(size=32)).astype(np.float32)
        u /= np.linalg.norm(u)
        made.append(Rrm(u, u[:, None], 1, projection, matrix, "moments", f"variant {seed}"))
    return made


@pytest.fixture(scope="module", autouse=True)
def no_mask_is_ever_predicted():
    """A random model with tied embeddings predicts at a masked position what it sees there.

    Nothing would become visible.
    """
    call = Denoiser.__call__

    def without_mask(self, *inputs):
        return call(self, *inputs).index_fill(-1, torch.tensor([self.mask_id]), -torch.inf)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Denoiser, "__call__", without_mask)
        yield


@pytest.fixture(scope="module")
def measured(checkpoint, adapter, tmp_path_factory):
    """(metrics by visible set, problems used)."""
    folder = tmp_path_factory.mktemp("ablation")
    task = get_task("sudoku")
    task.write(task.sample("validation", 4, 0), folder / "validation.txt")
    write_maps(folder / "modules.safetensors", maps())
    model = {"path": str(checkpoint), "device": "cpu", "dtype": "float32"}
    found = {}
    for visible in ("response", "block"):
        out = folder / f"{visible}.json"
        ablate(
            model,
            adapter,
            folder / "modules.safetensors",
            "projection",
            "sudoku",
            folder / "validation.txt",
            16,
            Decode(block_length=8, batch_size=2),
            ReadoutSettings(visible=visible),
            Ablation(samples=3),
            Certify(),
            0,
            1,
            out,
        )
        found[visible] = json.loads(out.read_text())
    return found, task.read(folder / "validation.txt")[:3], task


def naive(checkpoint, adapter, problems, task, visible):
    """D_t of every step of every sample under each map."""
    denoiser = load_denoiser(checkpoint, adapter, device="cpu", merge=True)
    attention = denoiser.causal_lm.model.layers[1].self_attn
    divergences = [[] for _ in WHICH]
    for problem in problems:
        seen, steps = [], []
        handles = [
            getattr(attention, f"{name}_proj").register_forward_hook(
                lambda _, inputs, output, name=name, seen=seen: seen.append(
                    (name, inputs[0][0, -16:].double(), output[0, -16:].double())
                )
            )
            for name in "qv"
        ]
        generate(denoiser, encode(denoiser, [task.prompt(problem)]), **SHAPE, record=steps.append)
        for handle in handles:
            handle.remove()
        for n, (projection, matrix, _) in enumerate(WHICH):
            acts = [
                (given if matrix == "A" else made)
                for name, given, made in seen
                if name == projection
            ]
            similarity = [
                [float(cosine(f.tolist(), maps()[n].u.tolist())) for f in act] for act in acts
            ]
            sets = [step.visible_rg[0].tolist() for step in steps]
            if visible == "block":
                sets = [
                    [flag and at // 8 == int(step.block_r[0]) for at, flag in enumerate(one)]
                    for one, step in zip(sets, steps, strict=True)
                ]
            divergences[n] += [one["kl"] for one in step_statistics(similarity, sets)]
    return divergences


@pytest.mark.parametrize("visible", ["response", "block"])
def test_every_map_has_the_mean_kl_of_its_own_module(visible, measured, checkpoint, adapter):
    found, problems, task = measured
    for one, expected in zip(
        found[visible]["maps"], naive(checkpoint, adapter, problems, task, visible), strict=True
    ):
        defined = [float(value) for value in expected if value is not None]
        assert (one["n"], one["undefined"]) == (len(defined), len(expected) - len(defined)) and one[
            "undefined"
        ]
        assert one["mean"] == pytest.approx(np.mean(defined), rel=1e-2)
        assert one["sd"] == pytest.approx(np.std(defined, ddof=1), rel=1e-2)
        assert one["low"] <= one["high"] and 0 <= one["certified"] <= one["samples"] == 3


def test_metrics_say_what_they_are_of(measured):
    found = measured[0]["response"]
    assert [(one["projection"], one["matrix"], one["variant"]) for one in found["maps"]] == [
        (p, m, f"variant {s}") for p, m, s in WHICH
    ]
    assert (found["samples"], found["dataset"], found["stage"]) == (
        3,
        "sudoku",
        "rrm.module_ablation",
    ) and found["code"]


def test_too_few_defined_steps_give_no_number():
    found = summarised([np.array([math.nan, 1e-6]), np.array([math.nan])], seed=0)
    assert found["mean"] is None and (found["n"], found["undefined"]) == (1, 2)


def test_a_sample_without_a_defined_step_is_left_out_of_the_interval():
    found = summarised([np.array([2.0, 2.0]), np.array([math.nan])], seed=0)
    assert (found["mean"], found["low"], found["high"]) == (2.0, 2.0, 2.0)
