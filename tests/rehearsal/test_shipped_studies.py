"""Each shipped study reaches its last target at tiny size, with nothing overridden but sizes and
places: `make rehearsals`.

At the shortest canvas: the longer ones take the same paths, and minutes.
"""

import csv
import subprocess
import sys

import pytest

from tracedlm.resources import ROOT

EDIT = "exits={rules: [full, skip_noop, rank_softmax, truncate]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the papers' study is rehearsed.

    EDIT's settings are laid over it afterwards, as its users do.
    """
    return tmp_path_factory.mktemp("rehearsal")


def rehearse(folder, files, *arguments):
    command = [
        sys.executable,
        "-m",
        "tracedlm",
        "rehearse",
        *(f"config/{name}.yaml" for name in files),
        "--folder",
        str(folder),
    ]
    run = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-5000:]
    return run.stdout


def rows(folder, study, table):
    with (folder / f"results/{study}/tables/{table}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.rehearsal
def test_the_papers_study_reaches_its_page(folder):
    said = rehearse(folder, ["paper"], "--config", "seq_lens=[128]")
    assert "paper: the rehearsal reached its end" in said and "a random LLaDA" in said
    assert (folder / "results/paper/report.html").stat().st_size > 100_000
    benchmarks = {"gsm8k", "math500", "gpqa", "countdown", "sudoku"}
    for table in (
        "efficiency",
        "accuracy",
        "exit_rules",
        "equal_cost",
        "certificate_grid",
        "module_ablation",
        "template_sensitivity",
    ):
        assert {row["dataset"] for row in rows(folder, "paper", table)} == benchmarks, table
    # Exits are decoded in blocks of 64, traces in blocks of 32: the correlation is undefined, and
    # says why.
    reasons = {row["reason"] for row in rows(folder, "paper", "pseudo_gradients")}
    assert (
        len(reasons) == 1
        and "decoded in blocks of [64, 64] tokens, the trace in blocks of [32, 32, 32, 32]"
        in reasons.pop()
    )


@pytest.mark.rehearsal
def test_the_full_study_fills_every_table_and_figure(tmp_path):
    # Two, so that settings can be carried over.
    sets = [
        "seq_lens=[128]",
        "datasets=[countdown, algebra]",
    ]
    said = rehearse(tmp_path, ["full"], "--random-model", "--config", *sets)
    assert "left empty" not in said


@pytest.mark.rehearsal
def test_edits_settings_over_the_papers_study_reach_its_page(folder):
    rehearse(folder, ["paper", "edit"], "--config", "seq_lens=[128]", EDIT)
    run = {row["rule"] for row in rows(folder, "paper", "exit_rules")}
    assert any(rule.startswith("rank_softmax") for rule in run) and not any(
        rule.startswith("rad") for rule in run
    )


@pytest.mark.rehearsal
def test_the_third_papers_study_runs_its_branch_and_nothing_else(tmp_path):
    rehearse(tmp_path, ["dynamics"], "--targets", "dynamics")
    made = {
        path.name
        for path in (tmp_path / "results/dynamics").iterdir()
        if not path.name.startswith(".")
    }
    assert made == {"dynamics", "tables", "figures", "logs", "benchmarks"}
    assert rows(tmp_path, "dynamics", "dynamics_claims")
