import os

import pytest

from tracedlm.progress import EVENTS, Progress, read_events
from tracedlm.stages.job_log import logged


def test_a_users_mistake_is_one_line_and_a_bug_is_a_traceback(tmp_path, capfd):
    with pytest.raises(SystemExit), logged(str(tmp_path / "logs/job.log")):
        print("working")
        raise ValueError("sft.canvas: too short")
    assert (tmp_path / "logs/job.log").read_text() == "working\nerror: sft.canvas: too short\n"
    with pytest.raises(KeyError), logged(str(tmp_path / "logs/job.log")):
        raise KeyError("bug")


def test_events_beside_the_log_tell_every_attempt_from_start_to_end(tmp_path, monkeypatch):
    monkeypatch.delenv(EVENTS, raising=False)
    path = str(tmp_path / "logs/trace/sudoku-0.log")
    with pytest.raises(KeyError), logged(path, rule="trace", shard="0"):
        raise KeyError("bug")
    with logged(path, rule="trace", shard="0"), Progress("trace", 1, "sample") as progress:
        progress.add()
    found = read_events(tmp_path / "logs/trace/sudoku-0.jsonl")
    assert [line["event"] for line in found] == ["start", "error", "start", "progress", "end"]
    assert all((line["rule"], line["shard"]) == ("trace", "0") for line in found)
    assert (found[1]["kind"], found[1]["message"]) == ("KeyError", "'bug'")
    assert "trace: 1/1 samples" in (tmp_path / "logs/trace/sudoku-0.log").read_text()
    assert EVENTS not in os.environ
