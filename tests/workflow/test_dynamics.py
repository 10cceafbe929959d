"""The branch on training dynamics in the workflow.

One job a metric, or one a checkpoint and metric, and none where it is switched off.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tracedlm.config import load_yaml

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))


def planned(where, changes, *targets, config="config.yaml", **sections):
    (where / "changes.yaml").write_text(yaml.safe_dump({"dynamics": changes, **sections}))
    files = [str(ROOT / "config" / config), str(where / "changes.yaml")]
    line = [
        SNAKEMAKE,
        *targets,
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(where),
        "--dry-run",
        "--configfile",
        *files,
    ]
    run = subprocess.run(line, capture_output=True, text=True, cwd=where, check=True)
    return {
        rule: int(count)
        for rule, count in re.findall(r"^(dynamics\w*) +(\d+)$", run.stdout, re.MULTILINE)
    }


@pytest.mark.slow
def test_one_job_a_metric_or_one_a_checkpoint_and_metric(tmp_path):
    made = load_yaml(ROOT / "config/config.yaml").dynamics
    checkpoints = len(made.checkpoints()) * made.seeds
    fixed = {
        "dynamics_corpus": 1,
        "dynamics_train": len(made.runs) * made.seeds,
        "dynamics_summary": 1,
        "dynamics_report": 1,
        "dynamics_sft": 1,
        "dynamics_sft_report": 1,
        "dynamics": 1,
    }
    for per_job, parts in ((made.checkpoints_per_job, 1), (1, checkpoints)):
        jobs = planned(tmp_path, {"checkpoints_per_job": per_job}, "dynamics")
        assert jobs == {**fixed, "dynamics_measure": len(made.runs) * len(made.metrics) * parts}


@pytest.mark.slow
def test_the_published_size_is_planned_one_job_a_checkpoint(tmp_path):
    made = load_yaml(ROOT / "config/dynamics.yaml").dynamics
    assert (made.sentences, made.batch_size, made.interval, made.seeds) == (
        25_000,
        128,
        500,
        5,
    ) and made.checkpoints_per_job == 1
    jobs = planned(tmp_path, {}, "dynamics", config="dynamics.yaml")
    assert jobs["dynamics_train"] == 2 * 5 and jobs["dynamics_measure"] == 2 * 5 * len(
        made.checkpoints()
    ) * len(made.metrics)


@pytest.mark.slow
def test_fine_tuning_is_followed_only_where_the_config_keeps_snapshots(tmp_path):
    jobs = planned(tmp_path, {}, sft={"snapshot_every": None})
    assert "dynamics_report" in jobs and not {"dynamics_sft", "dynamics_sft_report"} & set(jobs)


@pytest.mark.slow
def test_it_can_be_switched_off(tmp_path):
    assert planned(tmp_path, {"enabled": False}) == {}
