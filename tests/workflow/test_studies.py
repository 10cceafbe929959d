"""Studies with another's adapter and map, and with fine-tunings on single tasks.

What a dry run would run, and mistakes as one line.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def smoke(where, changes, *arguments):
    """Snakemake on the smoke study with changes."""
    (where / "changes.yaml").write_text(yaml.safe_dump(changes))
    files = [str(ROOT / "config/smoke.yaml"), str(where / "changes.yaml")]
    snakemake = [
        str(Path(sys.executable).with_name("snakemake")),
        *arguments,
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    line = [*snakemake, "--directory", str(where), "--cores", "1", "--configfile", *files]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT)


def dry_run(where, changes, *targets):
    """What it would run."""
    return smoke(where, changes, *targets, "--dry-run")


def jobs(run):
    assert run.returncode == 0, run.stdout + run.stderr
    return {
        rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", run.stdout, re.MULTILINE)
    }


@pytest.fixture
def foreign(tmp_path):
    """Another's adapter and finished maps, as far as a dry run looks."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "rrms").mkdir()
    for name in "QKV":
        (tmp_path / f"rrms/final_block_{name}.json").write_text("[1, 2]")
    maps = {"source": str(tmp_path / "rrms"), "layer": 5}
    return {
        "model": {"adapter": str(tmp_path / "adapter")},
        "rrm": maps,
        "pseudo_gradient": {"samples": 0},
    }


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
    planned = jobs(
        dry_run(tmp_path, {"ablation": {"tasks": ["countdown", "sudoku"], "task_runs": 3}})
    )
    assert {"sft": 1, "task_sft": 6, "task_maps": 1, "figures": 1}.items() <= planned.items()


@pytest.mark.slow
def test_files_of_others_that_are_replaced_in_place_are_read_again(tmp_path, checkpoint, adapter):
    """A folder's time does not say that a file in it was replaced, and what is moved into place may
    be older than the results.
    """
    mine = shutil.copytree(adapter, tmp_path / "adapter")
    weights = mine / "adapter_model.safetensors"
    maps = [tmp_path / f"maps/final_block_{name}.json" for name in "QKV"]
    maps[0].parent.mkdir()
    for file in maps:
        file.write_text(json.dumps({"layer": 1, "u": [2.0] + [1.0] * 31}))
    study = {
        "model": {"path": str(checkpoint), "adapter": str(mine)},
        "rrm": {"source": str(maps[0].parent), "layer": 1},
    }
    study["pseudo_gradient"] = {"samples": 0}
    target = "results/smoke/rrm/q.safetensors"
    assert smoke(tmp_path, study, target).returncode == 0
    made = (tmp_path / target).stat().st_mtime
    assert jobs(dry_run(tmp_path, study, target)) == {}
    before = weights.stat()
    for file, text in (
        (weights, None),
        (maps[0], json.dumps({"layer": 1, "u": [3.0] + [1.0] * 31})),
    ):
        if text is None:
            weights.write_bytes(weights.read_bytes())
        else:
            os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
            file.write_text(text)
            os.utime(file, (made - 1000, made - 1000))
        assert jobs(dry_run(tmp_path, study, target)) == {"rrm": 1, "total": 1}, file.name
