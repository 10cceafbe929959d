"""The workflow as a user sees it.

What a run makes, what an edit makes again, and what a crash costs.

All tests share one run of the smoke study (conftest.py).
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from smoke_study import (
    RESULTS,
    ROOT,
    SNAKEMAKE,
    command,
    configure,
    environment,
    prepare,
    snakemake,
)


def planned(where, config=None):
    """Jobs that a dry run lists, by rule; `config` is used for this run only."""
    before = (where / "smoke.yaml").read_text()
    if config is not None:
        configure(where, config)
    text = snakemake(where, "--dry-run").stdout
    (where / "smoke.yaml").write_text(before)
    return {
        rule: int(count)
        for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)
        if rule != "total"
    }


def edited(where, section, **values):
    raw = yaml.safe_load((where / "smoke.yaml").read_text())
    raw[section] = {**raw.get(section, {}), **values} if values else raw[section]
    return raw


def test_a_bare_run_makes_the_whole_study(tmp_path):
    run = subprocess.run(
        [*SNAKEMAKE, "--dry-run", "--directory", str(prepare(tmp_path))],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout, re.MULTILINE))
    assert int(jobs["total"]) > 20 and {
        "data",
        "sft",
        "rrm",
        "trace",
        "certify",
        "exits",
        "tables",
        "page",
    } <= set(jobs)


def rules():
    """(file, name, body) of every rule that runs something."""
    found = []
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for part in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            name, _, body = part.partition(":")
            if re.search(r"^    (script|shell|run):", body, re.MULTILINE):
                found.append(pytest.param(body, id=f"{path.stem}.{name}"))
    return found


@pytest.mark.parametrize("body", rules())
def test_every_rule_has_a_log_and_a_benchmark(body):
    assert re.search(r"^    log:", body, re.MULTILINE) and re.search(
        r"^    benchmark:", body, re.MULTILINE
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem
)
def test_scripts_hold_no_science(path):
    code = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(code) <= 40 and "with logged(snakemake" in path.read_text()


def test_a_bad_key_is_one_clear_line(tmp_path):
    where = prepare(tmp_path)
    configure(where, edited(where, "certify", detlas=[1e-6]))
    run = snakemake(where, "--dry-run", check=False)
    assert run.returncode != 0 and "Traceback" not in run.stderr
    (line,) = [line for line in run.stderr.splitlines() if "detlas" in line]
    assert line.strip().startswith("certify.detlas: unknown key. Did you mean 'deltas'?")


@pytest.mark.slow
def test_a_finished_study_has_nothing_left_to_do(study):
    assert planned(study) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        "certify/sudoku/64/q/summary.json",
        "figures/pareto.csv",
        "traces/sudoku/64/validation/steps/part-0.parquet",
        "sft/adapter",
    ],
)
def test_what_a_failed_job_took_with_it_is_made_again(study, file):
    """Though all that read it look up to date; its seal is still there."""
    made = study / RESULTS / file
    away = made.rename(made.with_name("away"))
    jobs = planned(study)
    away.rename(made)
    rule = {"traces": "trace"}.get(file.split("/")[0], file.split("/")[0])
    assert rule in jobs
    assert planned(study) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "values", "stale", "fresh"),
    [
        (
            "certify",
            {"deltas": [1e-6, 1e-5]},
            {"select", "certify"},
            {"data", "sft", "rrm", "trace", "readout", "exits"},
        ),
        (
            "readout",
            {"tau": 0.5},
            {"readout", "select", "certify"},
            {"data", "sft", "rrm", "trace", "exits"},
        ),
        (
            "exits",
            {"budgets": [0.25]},
            {"exits"},
            {"data", "sft", "rrm", "trace", "readout", "select", "certify"},
        ),
        (
            "trace",
            {"refine_steps": 7},
            {"trace", "readout", "select", "certify"},
            {"data", "sft", "rrm", "exits"},
        ),
        (
            "pretrain",
            {"steps": 10},
            set(),
            {"data", "sft", "rrm", "trace", "readout", "select", "certify", "exits"},
        ),
    ],
)
def test_editing_a_section_reruns_what_depends_on_it_and_nothing_else(
    study, section, values, stale, fresh
):
    jobs = set(planned(study, config=edited(study, section, **values)))
    assert stale <= jobs and not fresh & jobs


def contents(folder, pattern):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob(pattern))}


@pytest.mark.slow
def test_running_a_job_again_gives_the_same_bytes(study):
    """Measured seconds are the only column of a trace that may differ."""
    trace, certify = (
        study / RESULTS / "traces/sudoku/64/test",
        study / RESULTS / "certify/sudoku/64/q",
    )
    tables = {path.relative_to(trace): pq.read_table(path) for path in trace.rglob("*.parquet")}
    files = {
        **contents(certify, "*"),
        **{Path("readout"): (study / RESULTS / "readouts/sudoku/64/test/q.parquet").read_bytes()},
    }
    snakemake(
        study,
        str(RESULTS / "certify/sudoku/64/q/summary.json"),
        "--forcerun",
        str(RESULTS / "traces/sudoku/64/test/manifests/0.json"),
    )
    assert len(tables) == 3
    for path, before in tables.items():
        after = pq.read_table(trace / path)
        timed = [name for name in before.column_names if name == "seconds"]
        assert after.drop_columns(timed).equals(before.drop_columns(timed), check_metadata=True), (
            path
        )
    assert {
        **contents(certify, "*"),
        Path("readout"): (study / RESULTS / "readouts/sudoku/64/test/q.parquet").read_bytes(),
    } == files


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_next_one_with_the_same_results(study, tmp_path):
    where, target = prepare(tmp_path), str(RESULTS / "certify/countdown/64/q/summary.json")
    shutil.rmtree(where / "base")
    (where / "smoke.yaml").write_text((study / "smoke.yaml").read_text())
    moment = random.Random().uniform(8, 30)
    process = subprocess.Popen(
        command(where, target),
        env=environment(),
        cwd=where,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    snakemake(where, "--unlock")
    snakemake(where, target, "--rerun-incomplete")
    for name in (
        "certify/countdown/64/q/summary.json",
        "certify/countdown/64/q/grid.parquet",
        "sft/moments.safetensors",
        "rrm/q.safetensors",
    ):
        assert (where / RESULTS / name).read_bytes() == (study / RESULTS / name).read_bytes(), (
            f"{name} differs after a kill at {moment:.1f} s"
        )


@pytest.mark.slow
def test_every_result_has_a_log_a_benchmark_and_a_manifest(study):
    made = study / RESULTS
    assert {path.name for path in (made / "logs").iterdir()} >= {
        "sft.log",
        "rrm.log",
        "select.log",
        "trace",
        "certify",
        "exits",
    }
    assert (made / "benchmarks/sft.jsonl").exists() and (
        made / "benchmarks/certify/sudoku-64.jsonl"
    ).exists()
    for manifest in (
        "sft/manifest.json",
        "rrm/manifest.json",
        "traces/sudoku/64/test/manifests/0.json",
        "exits/countdown/64/manifest.json",
    ):
        assert json.loads((made / manifest).read_text())["code"]
