import gc
import os
from types import SimpleNamespace

import pytest

from tracedlm.progress import EVENTS, Progress, read_events
from tracedlm.records.seal import seal_of
from tracedlm.stages.job import logged, startup


def a_job(log, reads=(), writes=(), **wildcards):
    """What a script finds under the name `snakemake`."""
    return SimpleNamespace(
        log=[str(log)],
        rule="trace",
        wildcards=wildcards,
        input=[*map(str, reads)],
        output=[*map(str, writes)],
    )


def test_a_users_mistake_is_one_line_and_a_bug_is_a_traceback(tmp_path, capfd):
    with pytest.raises(SystemExit), logged(a_job(tmp_path / "logs/job.log")):
        print("working")
        raise ValueError("sft.canvas: too short")
    assert (tmp_path / "logs/job.log").read_text() == "working\nerror: sft.canvas: too short\n"
    with pytest.raises(KeyError), logged(a_job(tmp_path / "logs/job.log")):
        raise KeyError("bug")


def test_events_beside_the_log_tell_every_attempt_from_start_to_end(tmp_path, monkeypatch):
    monkeypatch.delenv(EVENTS, raising=False)
    job = a_job(tmp_path / "logs/trace/sudoku-0.log", shard="0")
    with pytest.raises(KeyError), logged(job):
        raise KeyError("bug")
    with logged(job), Progress("trace", 1, "sample") as progress:
        progress.add()
    found = read_events(tmp_path / "logs/trace/sudoku-0.jsonl")
    assert [line["event"] for line in found] == ["start", "error", "start", "progress", "end"]
    assert all((line["rule"], line["shard"]) == ("trace", "0") for line in found)
    assert (found[1]["kind"], found[1]["message"]) == ("KeyError", "'bug'")
    assert "trace: 1/1 samples" in (tmp_path / "logs/trace/sudoku-0.log").read_text()
    assert EVENTS not in os.environ


def test_what_a_job_wrote_is_sealed_and_the_next_one_refuses_it_if_it_changed(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    made = tmp_path / "results/part"
    with logged(a_job("logs/first.log", writes=["results/part"])):
        made.write_text("numbers")
    reader = a_job("logs/second.log", reads=["results/part", "results/part"])
    with logged(reader):
        pass
    made.write_text("numbero")
    with pytest.raises(SystemExit), logged(reader):
        pytest.fail("a job read what it should have refused")
    with logged(reader, skippable=["results/part"]):
        pass
    with pytest.raises(SystemExit), logged(reader):
        pytest.fail("a job read what it should have refused")
    assert (
        (tmp_path / "logs/second.log")
        .read_text()
        .startswith("error: results/part: damaged or edited since it was written")
    )


def test_a_failed_job_and_copies_from_storage_are_not_sealed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / ".snakemake/storage/fs/part"
    copy.parent.mkdir(parents=True)
    with logged(a_job("logs/job.log", writes=[copy.relative_to(tmp_path), copy])):
        copy.touch()
    with pytest.raises(KeyError), logged(a_job("logs/job.log", writes=["part"])):
        (tmp_path / "part").touch()
        raise KeyError("bug")
    assert not seal_of(copy).exists() and not seal_of(tmp_path / "part").exists()


def test_imports_at_startup_are_not_looked_through_for_garbage():
    with startup():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
