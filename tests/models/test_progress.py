"""What a reader of a log file and a user at a terminal see of training."""

import re
import sys
from types import SimpleNamespace

import pytest

from tracedlm.models import progress
from tracedlm.models.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def run(shown, clock, steps=40, first=0, seconds=2.0, rank_zero=True):
    """Training of `steps` steps of 300 tokens on two processes."""
    args, state = SimpleNamespace(world_size=2), SimpleNamespace(global_step=first, max_steps=steps, is_world_process_zero=rank_zero)
    shown.on_train_begin(args, state, None)
    for step in range(first + 1, steps + 1):
        shown.tokens += 300
        clock[0] += seconds
        state.global_step = step
        shown.on_step_end(args, state, None)
        shown.on_log(args, state, None, logs={"loss": 2.0, "learning_rate": 1e-4, "grad_norm": 0.25})
    shown.on_log(args, state, None, logs={"train_runtime": 1.0})
    shown.on_train_end(args, state, None)


def test_a_log_file_gets_a_line_now_and_then_with_all_that_matters(clock, capsys):
    run(Progress(), clock)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step 1/40, loss 2, gradient norm 0.25, lr 0.0001, 300 tokens/s, 0:01:18 left"
    assert lines[-1].startswith("step 40/40, ") and lines[-1].endswith(", 0:00:00 left")
    steps = [int(re.match(r"step (\d+)/", line)[1]) for line in lines]
    assert steps == [1, 9, 17, 25, 33, 40], "every 15 seconds, and the last"


def test_a_resumed_run_counts_its_own_steps_only(clock, capsys):
    run(Progress(), clock, first=30)
    assert capsys.readouterr().err.splitlines()[0] == "step 31/40, loss 2, gradient norm 0.25, lr 0.0001, 300 tokens/s, 0:00:18 left"


def test_a_terminal_gets_a_bar(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(Progress(), clock, steps=3)
    shown = capsys.readouterr().err
    assert "training: 100%" in shown and "3/3" in shown and "loss 2, 300 tokens/s" in shown and "\nstep" not in shown


def test_other_processes_are_silent(clock, capsys):
    run(Progress(), clock, rank_zero=False)
    assert capsys.readouterr().err == ""
