"""What a study took, added up by hand."""

import csv
import json

import pytest

from tracedlm.report.tables.costs import (
    DISK_USE,
    STAGE_COSTS,
    disk_rows,
    make_costs,
    stage_rows,
    took,
)
from tracedlm.report.write import read_csv


@pytest.fixture
def study(tmp_path):
    jobs = {
        "sft.jsonl": [{"s": 70.0, "cpu_time": 60.0, "max_rss": 900.0}],
        "trace/a.jsonl": [{"s": 40.0, "cpu_time": 30.0, "max_rss": 500.0}],
        "trace/b.jsonl": [{"s": 50.0, "cpu_time": 45.0, "max_rss": 700.5}],
        "data/a.jsonl": [{"s": 0.4, "cpu_time": None, "max_rss": None}],
    }
    for name, lines in jobs.items():
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, size in {
        "traces/sudoku/64/test/steps/part-0.parquet": 3000,
        "traces/countdown/64/test/steps/part-0.parquet": 500,
        "traces/sudoku/64/test/readouts/part-0.parquet": 2**20,
        "rrm/q.safetensors": 10,
        "rrm/.q.safetensors.17.part": 999,
        "report.html": 5000,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return tmp_path


def test_time_and_memory_of_each_stage_longest_first(study):
    rows = {row["stage"]: row for row in stage_rows(study)}
    assert list(rows) == ["trace", "sft", "data", "all"]
    trace = {
        "jobs": 2,
        "mean_seconds": 45.0,
        "longest_seconds": 50.0,
        "seconds": 90.0,
        "cpu_seconds": 75.0,
        "max_rss_mib": 700.5,
    }
    assert trace.items() <= rows["trace"].items()
    assert (rows["all"]["jobs"], rows["all"]["seconds"], rows["all"]["max_rss_mib"]) == (
        4,
        pytest.approx(160.4),
        900.0,
    )


def test_memory_that_was_not_measured_is_undefined_with_a_reason(study):
    (row,) = (row for row in stage_rows(study) if row["stage"] == "data")
    assert (row["max_rss_mib"], row["reason"]) == (None, "ended before its memory was measured")


def test_bytes_of_each_kind_of_artefact_largest_first(study):
    rows = {row["artefact"]: (row["files"], row["bytes"]) for row in disk_rows(study)}
    kinds = {kind: size for kind, size in rows.items() if kind not in ("benchmarks", "all")}
    assert list(kinds.items()) == [
        ("traces: readouts", (1, 2**20)),
        ("traces: steps", (2, 3500)),
        ("rrm", (1, 10)),
    ]
    assert rows["all"] == tuple(
        sum(size[n] for kind, size in rows.items() if kind != "all") for n in (0, 1)
    )


def test_the_sentence_says_what_the_csvs_say(study):
    make_costs(study, study / "tables")
    tables = {
        spec.name: read_csv(study / f"tables/{spec.name}.csv", spec)
        for spec in (STAGE_COSTS, DISK_USE)
    }
    assert (
        took(tables)
        == "The 4 jobs of this study took 160 s in sum, trace the longest (90 s); its files take"
        " 1.0 MiB."
    )
    assert took({"stage_costs": [], "disk_use": []}) == ""
    with (study / "tables/disk_use.csv").open() as file:
        assert list(csv.DictReader(file))[-1]["artefact"] == "all"
