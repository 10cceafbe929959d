"""Fine-tuning as the workflow runs it.

What it publishes, and that no way of running it changes what is learnt.
"""

import json
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sft_processes import exit_codes, start, train_as, train_until
from tracedlm.config import Sft
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.moment_recorder import MomentRecorder
from tracedlm.records.metrics import GRADIENTS
from tracedlm.records.moments import Moments
from tracedlm.records.parquet import read_table
from tracedlm.stages.sft import fine_tune as sft
from tracedlm.stages.sft import worker as sft_worker
from tracedlm.tasks import get_task

SETTINGS = {
    "rank": 2,
    "alpha": 4,
    "steps": 5,
    "batch_size": 4,
    "canvas": 192,
    "checkpoint_every": 2,
    "micro_batch": 2,
    "learning_rate": 1e-3,
}


class Run:
    """Arguments of one run in a folder of its own, and what came out of it."""

    def __init__(self, checkpoint, files, folder):
        self.out = {name: folder / name for name in ("adapter", "moments", "gradients", "manifest")}
        self.scratch = folder / "work"
        self.fixed = {"path": str(checkpoint), "device": "cpu"}, files

    def arguments(self, **settings):
        model, files = self.fixed
        return model, Sft(**SETTINGS | settings), files, 0, 1, self.scratch, self.out

    def train(self, **settings):
        sft.train(*self.arguments(**settings))
        return self

    def results(self):
        log = read_table(self.out["gradients"], GRADIENTS, "the gradient log").to_pylist()
        return (
            Moments.read(self.out["moments"]),
            load_file(self.out["adapter"] / "adapter_model.safetensors"),
            log,
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, task = tmp_path_factory.mktemp("data"), get_task("sudoku")
    task.write(task.sample("train", 12, 0), folder / "train.txt")
    return {"sudoku": folder / "train.txt"}


@pytest.fixture
def a_run(checkpoint, files, tmp_path):
    return lambda name="run": Run(checkpoint, files, tmp_path / name)


@pytest.fixture(scope="module")
def whole(checkpoint, files, tmp_path_factory):
    """An uninterrupted run."""
    return Run(checkpoint, files, tmp_path_factory.mktemp("whole")).train()


def same_bits(one, other):
    (m, adapter, log), (n, adapter_, log_) = one.results(), other.results()
    assert (m.steps, m.eps, m.betas) == (n.steps, n.eps, n.betas) and log == log_
    for ours, theirs in ((m.mean_updates, n.mean_updates), (adapter, adapter_)):
        assert ours.keys() == theirs.keys() and all(
            np.array_equal(ours[name], theirs[name]) for name in ours
        )


def test_a_tracker_sees_every_step_and_changes_nothing(a_run, whole, monkeypatch):
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watched = a_run()
    folder = watched.out["moments"].parent / "runs"
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(folder))
    watched.train(report_to=["tensorboard"])
    same_bits(watched, whole)
    seen = EventAccumulator(str(folder))
    seen.Reload()
    assert [event.step for event in seen.Scalars("train/loss")] == [1, 2, 3, 4, 5]


def close(one, other, tolerance):
    """Equal up to rounding, which AdamW magnifies where a gradient is near zero.

    So by cosine, module by module.
    """
    (m, adapter, log), (n, adapter_, log_) = one.results(), other.results()
    for ours, theirs in ((m.mean_updates, n.mean_updates), (adapter, adapter_)):
        for name, a in ours.items():
            a, b = a.ravel().astype(float), theirs[name].ravel().astype(float)
            assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) == pytest.approx(
                1, abs=tolerance
            ), name
    np.testing.assert_allclose(
        [row["rms"] for row in log], [row["rms"] for row in log_], rtol=tolerance
    )
    np.testing.assert_allclose(
        [row["loss"] for row in log], [row["loss"] for row in log_], rtol=tolerance
    )


def test_a_run_publishes_adapter_moments_gradients_and_last_a_manifest(whole, checkpoint):
    moments, adapter, log = whole.results()
    assert moments.steps == 5 and len(moments.modules()) == 12 and len(log) == 5 * 12
    assert any(np.abs(weight).max() > 0 for name, weight in adapter.items() if "lora_B" in name)
    load_denoiser(checkpoint, whole.out["adapter"], device="cpu")
    record = json.loads(whole.out["manifest"].read_text())
    assert (record["stage"], record["steps"], record["examples"], record["corrupted"]) == (
        "sft.fine_tune",
        5,
        12,
        0,
    )
    assert {path.name for path in whole.out["adapter"].parent.iterdir()} == set(whole.out)
    others = [path for path in whole.out.values() if path != whole.out["manifest"]]
    assert all(
        path.stat().st_mtime_ns <= whole.out["manifest"].stat().st_mtime_ns for path in others
    )


@pytest.mark.parametrize(
    ("where", "step", "kept"), [("between forwards", 3, [2]), ("while saving", 4, [2, 4])]
)
def test_a_run_killed_at_any_step_and_started_again_gives_the_same_bits(
    whole, a_run, where, step, kept
):
    run = a_run()

    process = start(train_until, where, step, run.arguments())
    assert exit_codes(process) == [-signal.SIGKILL]
    assert not any(path.exists() for path in run.out.values())
    (work,) = run.scratch.iterdir()
    assert sorted(path.name for path in work.glob("checkpoint-*")) == [
        f"checkpoint-{number}" for number in kept
    ]
    same_bits(run.train(), whole)
    assert not run.scratch.exists()


def test_snapshots_are_kept_on_the_way_and_change_no_bit(whole, a_run):
    run = a_run()
    run.out["snapshots"] = run.out["adapter"].with_name("snapshots")
    # Killed, and resumed from step 2.
    process = start(train_until, "between forwards", 3, run.arguments(snapshot_every=2))
    assert exit_codes(process) == [-signal.SIGKILL]
    same_bits(run.train(snapshot_every=2), whole)
    moments, adapter, _ = run.results()
    assert sorted(path.name for path in run.out["snapshots"].iterdir()) == ["0", "1", "2", "4", "5"]
    last = run.out["snapshots"] / "5"
    kept = load_file(last / "adapter_model.safetensors")
    assert all(np.array_equal(kept[name], weight) for name, weight in adapter.items())
    ours = Moments.read(last / "moments.safetensors")
    assert ours.steps == 5 and all(
        np.array_equal(ours.mean_updates[name], update)
        for name, update in moments.mean_updates.items()
    )
    assert not (run.out["snapshots"] / "0/moments.safetensors").exists()  # nothing was updated yet


def test_how_a_batch_is_split_into_forwards_changes_nothing_but_rounding(a_run):
    settings = {"dropout": 0, "steps": 2}
    close(
        a_run("whole").train(**settings, micro_batch=None),
        a_run("split").train(**settings, micro_batch=1),
        1e-4,
    )


@pytest.mark.parametrize("shard", [False, True], ids=["DDP", "FSDP2"])
def test_two_processes_learn_what_one_does(a_run, shard):
    """Sharded states are gathered.

    The published files have the shapes and, up to rounding, the values of one process.
    """
    settings = {"dropout": 0, "micro_batch": 1, "shard": shard, "processes": 2, "steps": 2}
    run, port = a_run("two"), str(free_port())

    processes = [start(train_as, rank, port, shard, run.arguments(**settings)) for rank in range(2)]
    assert exit_codes(*processes) == [0, 0]
    close(run, a_run("one").train(dropout=0, micro_batch=1, steps=2), 1e-3)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_several_processes_are_launched_and_their_mistakes_are_reported(whole, a_run, monkeypatch):
    run, started = a_run(), []

    def launched(command, **_):
        started.append(command)
        return type("Done", (), {"returncode": sft_worker.main(Path(command[-1]))})

    (model, files), settings = run.fixed, Sft(**SETTINGS, processes=2)
    monkeypatch.setattr(sft.subprocess, "run", launched)
    monkeypatch.setattr(sft_worker, "train", lambda *arguments: run.__setattr__("got", arguments))
    sft.fine_tune(model, settings, files, 7, 4, run.scratch, run.out)
    assert started[0][:4] == [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    assert started[0][4:7] == ["--nproc_per_node=2", "-m", "tracedlm.stages.sft.worker"]
    assert run.got == (model, settings, files, 7, 2, run.scratch, run.out)
    monkeypatch.setattr(
        sft_worker, "train", lambda *_: (_ for _ in ()).throw(ValueError("sft.canvas: too short"))
    )
    with pytest.raises(ValueError, match=r"sft\.canvas: too short"):
        sft.fine_tune(model, settings, files, 7, 4, run.scratch, run.out)
    monkeypatch.setattr(
        sft.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": -9})
    )
    with pytest.raises(RuntimeError, match="2 processes ended with code -9"):
        sft.fine_tune(model, settings, files, 7, 4, run.scratch, run.out)


def test_more_processes_than_accelerators_are_refused(a_run, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    run = a_run()
    model, files = {**run.fixed[0], "device": "auto"}, run.fixed[1]
    with pytest.raises(ValueError, match=r"sft\.processes = 2: this machine has 1 accelerators"):
        sft.fine_tune(model, Sft(**SETTINGS, processes=2), files, 0, 1, run.scratch, run.out)


def test_sharding_on_a_cpu_is_refused(a_run):
    run = a_run()
    with pytest.raises(ValueError, match=r"sft\.shard: on a CPU accelerate copies the weights"):
        sft.fine_tune(
            run.fixed[0],
            Sft(**SETTINGS, processes=2, shard=True),
            run.fixed[1],
            0,
            1,
            run.scratch,
            run.out,
        )


@pytest.mark.parametrize(("fp32_moments", "kept"), [(True, torch.float32), (False, torch.bfloat16)])
def test_bfloat16_keeps_moments_in_float32_unless_told_not_to(
    a_run, fp32_moments, kept, monkeypatch
):
    seen = set()

    class Watched(MomentRecorder):
        def on_optimizer_step(self, args, state, control, model, optimizer, **more):
            seen.update(
                (weight.dtype, weight.requires_grad)
                for name, weight in model.named_parameters()
                if weight.ndim == 2
            )
            seen.update(
                (tensor.dtype, None)
                for state_of in optimizer.state.values()
                for tensor in (state_of["exp_avg"],)
            )
            super().on_optimizer_step(args, state, control, optimizer=optimizer, **more)

    monkeypatch.setattr(sft, "MomentRecorder", Watched)
    run = a_run().train(
        precision="bfloat16", fp32_moments=fp32_moments, steps=2, gradient_checkpointing=True
    )
    assert seen == {(torch.bfloat16, False), (kept, True), (kept, None)}
    assert all(
        update.dtype == np.float32
        for update in Moments.read(run.out["moments"]).mean_updates.values()
    )


def test_a_fine_tuning_that_diverges_ends_at_its_step_and_publishes_nothing(a_run):
    run = a_run("diverging")
    with pytest.raises(
        ValueError,
        match=(
            r"fine-tuning diverged: the loss is nan at step 2; nothing is published; lower"
            r" sft\.learning_rate"
        ),
    ):
        run.train(learning_rate=1e20)
    assert not any(path.exists() for path in run.out.values())


def test_an_adapter_that_the_last_step_broke_is_not_published(a_run, monkeypatch):
    run = a_run("broken")
    whole = sft.lora_state
    monkeypatch.setattr(
        sft,
        "lora_state",
        lambda model: {name: weight * torch.nan for name, weight in whole(model).items()},
    )
    with pytest.raises(
        ValueError,
        match=r"lora_A\S* of the trained adapter is not finite after step 5; nothing is published",
    ):
        run.train()
    assert not any(path.exists() for path in run.out.values())
