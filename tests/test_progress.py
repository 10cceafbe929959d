"""What a reader of a log, a user at a terminal and a program see of a job's progress."""

import json
import os
import sys
import threading

import pytest

from tracedlm import progress
from tracedlm.progress import EVENTS, Progress, counted, emit, read_events


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def events(monkeypatch, tmp_path):
    path = tmp_path / "job.jsonl"
    monkeypatch.setenv(
        EVENTS, json.dumps({"path": str(path), "job": {"rule": "trace", "shard": "3"}})
    )
    return path


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(clock, capsys):
    with Progress("trace", 40, "sample") as counting:
        for _ in range(40):
            clock[0] += 2
            counting.add(loss=0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "trace: 1/40 samples, loss 0.5, 0.5 samples/s, 01:18 left"
    assert lines[-1] == "trace: 40/40 samples, loss 0.5, 0.5 samples/s, 00:00 left"
    assert [line.split()[1].split("/")[0] for line in lines] == [
        "1",
        "9",
        "17",
        "25",
        "33",
        "40",
    ], "every 15 seconds, and the last"


def test_what_an_earlier_run_has_done_does_not_count_into_the_rate(clock, capsys):
    counting = Progress("training", 40, "step", done=30)
    clock[0] += 2
    counting.add()
    assert capsys.readouterr().err == "training: 31/40 steps, 0.5 steps/s, 00:18 left\n"


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(counted(iter("abc"), "letters", "letter", 3)) == ["a", "b", "c"]
    shown = capsys.readouterr().err
    assert "letters: 100%" in shown and "3/3" in shown and "letters: 3/3 letters" not in shown


def test_events_say_whose_they_are_and_how_far_it_has_come(clock, events, capsys):
    with Progress("trace", 4, "sample") as counting:
        clock[0] += 8
        counting.add(2, loss=0.5)
        clock[0] += 8
        counting.add(2, loss=float("nan"))
    first, last = read_events(events)
    assert first.pop("time") <= last.pop("time")
    job = {
        "rule": "trace",
        "shard": "3",
        "event": "progress",
        "what": "trace",
        "total": 4,
        "unit": "sample",
        "rate": 0.25,
    }
    assert first == {**job, "step": 2, "seconds_left": 8.0, "loss": 0.5}
    assert last == {**job, "step": 4, "seconds_left": 0.0, "loss": None}, "NaN is no JSON"


def test_outside_a_job_there_is_no_event_log(monkeypatch, tmp_path):
    monkeypatch.delenv(EVENTS, raising=False)
    monkeypatch.chdir(tmp_path)
    emit("start")
    assert not list(tmp_path.iterdir())


def test_lines_of_several_writers_do_not_mix(events):
    writers = [
        threading.Thread(
            target=lambda n=n: [emit("progress", writer=n, text="x" * 2000) for _ in range(50)]
        )
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seen = read_events(events)
    assert sorted(line["writer"] for line in seen) == sorted(list(range(4)) * 50) and {
        len(line["text"]) for line in seen
    } == {2000}


def test_a_process_that_a_job_starts_writes_into_its_log(events):
    if os.fork() == 0:
        emit("progress", step=1)
        os._exit(0)
    os.wait()
    assert [line["step"] for line in read_events(events)] == [1]
