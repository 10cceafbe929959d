"""Maps of two runs compared by hand, and exits of a run counted by decoding again without the
stage.
"""

import json

import numpy as np
import pytest

from tracedlm.config import Decode, Exits, ReadoutSettings
from tracedlm.config import Rrm as RrmSettings
from tracedlm.generation import generate
from tracedlm.models.denoiser import load_denoiser
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.rrm import Rrm
from tracedlm.stages.exits.noise import compare_run, difference
from tracedlm.stages.rrm.maps import build_rrm
from tracedlm.tasks import get_task


def moments(seed):
    rng = np.random.default_rng(seed)
    names = [
        f"{layer}.{projection}.B/{variant}"
        for layer in range(2)
        for projection in "qkv"
        for variant in VARIANTS
    ]
    return Moments(
        {name: rng.normal(size=(32, 3)).astype(np.float32) for name in names}, 4, 1e-8, (0.9, 0.999)
    )


@pytest.fixture(scope="module")
def compared(checkpoint, adapter, tmp_path_factory):
    """What the stage says of a run whose moments have seed 1, against a clean one with seed 0.

    And the file of problems.
    """
    folder, task = tmp_path_factory.mktemp("noise"), get_task("sudoku")
    for seed in (0, 1):
        moments(seed).write(folder / f"{seed}.safetensors")
    task.write(task.sample("test", 5, 0), folder / "test.txt")
    out = {"map": folder / "map.safetensors", "summary": folder / "summary.json"}
    compare_run(
        {"path": str(checkpoint), "device": "cpu", "dtype": "float32"},
        adapter,
        folder / "1.safetensors",
        folder / "0.safetensors",
        RrmSettings(placement="inside"),
        {"sudoku": folder / "test.txt"},
        3,
        32,
        Decode(block_length=16, batch_size=2),
        ReadoutSettings(),
        Exits(rad={"delta": 1e-3, "omega": 2}),
        {"name": "share-0.5", "share": 0.5, "seed": 0},
        1,
        out,
    )
    return json.loads(out["summary"].read_text()), Rrm.read(out["map"]), folder / "test.txt"


def test_maps_are_compared_at_the_configured_variant(compared):
    summary, written, _ = compared
    for projection, found in summary["maps"].items():
        updates = [
            moments(seed).mean_updates[f"1.{projection}.B/inside_raw"].astype(float)
            for seed in (1, 0)
        ]
        a, b = (np.linalg.norm(update, axis=1) for update in updates)
        assert found["cosine"] == pytest.approx(
            a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5
        )
        assert found["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-3)
        one, other = (np.linalg.svd(update, full_matrices=False)[0] for update in updates)
        cosines = np.linalg.svd(one.T @ other, compute_uv=False)
        assert sorted(found["angles"]) == pytest.approx(np.degrees(np.arccos(cosines)), abs=1e-2)
    assert (written.projection, written.layer, written.variant) == ("q", 1, "inside_raw")
    assert summary["run"] == {"name": "share-0.5", "share": 0.5, "seed": 0}


def test_exits_are_those_of_the_runs_own_model_and_map(compared, checkpoint, adapter):
    summary, written, file = compared
    (found,) = summary["sets"]
    denoiser, task = (
        load_denoiser(checkpoint, adapter, device="cpu", merge=True),
        get_task("sudoku"),
    )
    problems = task.read(file)[:3]
    shape = {"gen_length": 32, "block_length": 16, "steps": 16}
    prompts = [task.prompt(problem) for problem in problems]
    rad = generate(denoiser, prompts, **shape, exit="rad", rrm=written, delta=1e-3, omega=2)
    full = generate(denoiser, prompts, **shape)
    assert (found["n"], found["full_forwards"], found["forwards"]) == (
        3,
        16,
        pytest.approx(rad.nfe.mean()),
    )
    for name, run in (("full", full), ("rad", rad)):
        assert found[f"solved_{name}"] == sum(
            task.score(problem, text).correct
            for problem, text in zip(problems, run.text, strict=True)
        )
    assert found["kl"]["n"] + found["kl"]["undefined"] == 3 * 16


def test_a_run_compared_with_itself_has_not_moved():
    rrm = build_rrm(moments(0), "q")
    found = difference(rrm, rrm)
    assert (
        found["cosine"] == pytest.approx(1)
        and found["correlation"] == pytest.approx(1)
        and max(found["angles"]) < 0.1
    )
