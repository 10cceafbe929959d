"""Snapshots of a fine-tuning measured.

The map's growth against its definition, LoRA's curvature in its place, and gaps by name.
"""

import numpy as np
import pytest

from tracedlm.config import Rrm, Sft
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.lora import attach_lora
from tracedlm.records.manifest import write_manifest
from tracedlm.records.measures import chosen, read_measures
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.report.pages.fine_tuning import make_sft_dynamics
from tracedlm.stages.dynamics.fine_tuning import BUDGET, map_measures, measure_fine_tuning
from tracedlm.tasks import get_task

STEPS = (0, 1, 2, 4)
SETTINGS = Sft(rank=2, alpha=4, steps=4, canvas=192, snapshot_every=2)


def update(step):
    return np.random.default_rng(step).normal(size=(32, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def snapshots(checkpoint, tmp_path_factory):
    """Four snapshots as fine-tuning writes them; that of step 2 is half-written."""
    folder = tmp_path_factory.mktemp("snapshots")
    width = load_denoiser(checkpoint, device="cpu").model.config.hidden_size
    for step in STEPS:
        adapted = attach_lora(load_denoiser(checkpoint, device="cpu").model, 2, 4, 0.0)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.data.add_(0.02 * step)
        adapted.save_pretrained(folder / str(step), save_embedding_layers=False)
        if step:
            updates = {
                f"1.{name}.B/{variant}": update(step)[:width]
                for name in "qkv"
                for variant in VARIANTS
            }
            Moments(updates, step, 1e-8, (0.9, 0.999)).write(
                folder / str(step) / "moments.safetensors"
            )
    (folder / "2/adapter_model.safetensors").write_bytes(b"half")
    write_manifest(folder / "manifest.json", "sft.fine_tune", steps=4)
    return folder


@pytest.fixture(scope="module")
def measured(checkpoint, snapshots, tmp_path_factory):
    folder, task = tmp_path_factory.mktemp("measured"), get_task("countdown")
    files = {part: {"countdown": folder / f"{part}.txt"} for part in ("train", "validation")}
    for part, named in files.items():
        task.write(task.sample(part, 4, 0), named["countdown"])
    model, manifest = {"path": str(checkpoint), "device": "cpu"}, snapshots / "manifest.json"
    measure_fine_tuning(
        model, SETTINGS, Rrm(), 2, files, snapshots, manifest, 0, 1, folder / "measures.parquet"
    )
    return read_measures([folder / "measures.parquet"]), folder


def test_the_map_is_compared_with_the_final_one(snapshots):
    found = map_measures(
        {step: snapshots / str(step) / "moments.safetensors" for step in STEPS}, Rrm()
    )
    values = {
        step: {(row.module, row.metric): row.value for row in rows} for step, rows in found.items()
    }
    energy = [np.linalg.norm(update(step), axis=1) for step in (1, 4)]
    assert values[1]["1.q.B", "map_cosine"] == pytest.approx(
        energy[0] @ energy[1] / np.prod([np.linalg.norm(one) for one in energy])
    )
    assert values[4]["1.q.B", "map_cosine"] == pytest.approx(1) and values[4][
        "1.q.B", "captured"
    ] == pytest.approx(1)
    assert values[1]["1.q.B", "update_rms"] == pytest.approx(np.sqrt(np.mean(update(1) ** 2)))
    assert 1 <= values[1]["1.q.B", "effective_rank"] <= 2 and 0 < values[1]["1.q.B", "captured"] < 1
    assert {row.reason for row in found[0]} == {"no optimiser step yet"}


def test_curvature_is_by_lora_alone_on_both_batches_within_its_cap(measured):
    rows = chosen(measured[0], metric="products", step=4)
    assert {(row["module"], row["label"]) for row in rows} == {
        ("lora", "train"),
        ("lora", "validation"),
    }
    assert all(0 < row["value"] <= BUDGET.products for row in rows)
    norms = {
        row["label"]: row["value"]
        for row in chosen(measured[0], metric="gradient_norm", step=4, module="lora")
    }
    again = {
        row["label"]: row["value"]
        for row in chosen(measured[0], metric="gradient_norm", step=4, module="")
    }
    assert norms == pytest.approx(again, rel=1e-5) and norms["train"] != norms["validation"]
    for name in ("accuracy", "entropy", "ece"):
        assert {row["module"] for row in chosen(measured[0], metric=name, step=4)} == {
            "train",
            "validation",
        }


def test_a_half_written_snapshot_is_skipped_by_name(measured):
    (row,) = chosen(measured[0], step=2)
    assert (
        row["value"] is None
        and "snapshots" in row["reason"]
        and row["reason"].startswith("no usable snapshot")
    )


def test_table_and_figure_say_how_curves_move_with_the_map(measured, tmp_path):
    make_sft_dynamics(measured[1] / "measures.parquet", tmp_path / "tables", tmp_path / "figures")
    shown = (tmp_path / "tables/dynamics_sft.tex").read_text()
    assert "Skipped for want of a usable snapshot: step 2" in shown and "cosine" in shown
    assert (tmp_path / "figures/dynamics_sft.png").stat().st_size > 10_000
