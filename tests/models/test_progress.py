"""What a reader of a log sees of training."""

from types import SimpleNamespace

import pytest

from tracedlm.models import progress
from tracedlm.models.progress import TrainingProgress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    # One module: tracedlm.progress sees it too.
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def run(shown, clock, steps=40, first=0, every=1, rank_zero=True):
    """Training of `steps` steps of 300 tokens and two seconds on two processes, logged `every` so
    many.
    """
    args, state = (
        SimpleNamespace(world_size=2),
        SimpleNamespace(global_step=first, max_steps=steps, is_world_process_zero=rank_zero),
    )
    shown.on_train_begin(args, state, None)
    for step in range(first + 1, steps + 1):
        shown.tokens += 300
        clock[0] += 2.0
        state.global_step = step
        if step % every == 0:
            shown.on_log(
                args, state, None, logs={"loss": 2.0, "learning_rate": 1e-4, "grad_norm": 0.25}
            )
    shown.on_log(args, state, None, logs={"train_runtime": 1.0})
    shown.on_train_end(args, state, None)


def test_a_log_gets_all_that_matters(clock, capsys):
    run(TrainingProgress(), clock)
    lines = capsys.readouterr().err.splitlines()
    known = "loss 2, gradient norm 0.25, lr 0.0001, tokens per second 300, 0.5 steps/s"
    assert lines[0] == f"training: 1/40 steps, {known}, 01:18 left"
    assert lines[-1] == f"training: 40/40 steps, {known}, 00:00 left"


def test_steps_that_are_not_logged_count_too(clock, capsys):
    run(TrainingProgress(), clock, every=20)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "training: 20/40 steps",
        "training: 40/40 steps",
    ]


def test_a_resumed_run_counts_its_own_steps_only(clock, capsys):
    run(TrainingProgress(), clock, first=30)
    assert capsys.readouterr().err.startswith("training: 31/40 steps, loss 2,") is True


def test_other_processes_are_silent(clock, capsys):
    run(TrainingProgress(), clock, rank_zero=False)
    assert capsys.readouterr().err == ""
