"""Studies with another's adapter and map, and with fine-tunings on single tasks: what a dry run would run, and mistakes as one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def dry_run(where, changes):
    """A dry run of the smoke study with changes."""
    (where / "changes.yaml").write_text(yaml.safe_dump(changes))
    files = [str(ROOT / "config/smoke.yaml"), str(where / "changes.yaml")]
    snakemake = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(where)]
    return subprocess.run([*snakemake, "--dry-run", "--cores", "1", "--configfile", *files], capture_output=True, text=True, cwd=ROOT)


def jobs(run):
    assert run.returncode == 0, run.stdout + run.stderr
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", run.stdout, re.MULTILINE)}


@pytest.fixture
def foreign(tmp_path):
    """Another's adapter and finished maps, as far as a dry run looks."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "rrms").mkdir()
    for name in "QKV":
        (tmp_path / f"rrms/final_block_{name}.json").write_text("[1, 2]")
    maps = {"source": str(tmp_path / "rrms"), "layer": 5}
    return {"model": {"adapter": str(tmp_path / "adapter")}, "rrm": maps, "pseudo_gradient": {"samples": 0}}


def test_anothers_adapter_and_map_need_no_fine_tuning(tmp_path, foreign):
    planned = jobs(dry_run(tmp_path, foreign))
    assert not {"sft", "pseudo_gradient", "convergence"} & planned.keys()
    assert {"rrm": 1, "trace": 4, "certify": 2, "exits": 2, "page": 1}.items() <= planned.items()


def test_a_map_that_is_not_there_is_one_line(tmp_path, foreign):
    foreign["rrm"]["source"] = "nowhere"
    run = dry_run(tmp_path, foreign)
    assert (
        run.returncode != 0
        and "Traceback" not in run.stderr
        and run.stderr.splitlines()[-1].startswith("rrm.source: nowhere is not there; ")
    )


def test_tasks_are_fine_tuned_on_one_by_one_where_the_config_names_them(tmp_path):
    planned = jobs(dry_run(tmp_path, {"ablation": {"tasks": ["countdown", "sudoku"], "task_runs": 3}}))
    assert {"sft": 1, "task_sft": 6, "task_maps": 1, "figures": 1}.items() <= planned.items()
