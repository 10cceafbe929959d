"""Results on other storage through Snakemake's storage plugins.

The file-system plugin stands for an object store.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
SHARED = [
    "persistence",
    "software-deployment",
    "sources",
    "source-cache",
    "software-deployment-cache",
]
DATA = "results/smoke/data/sudoku/manifest.json"

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_storage_plugin_fs") is None,
        reason="needs the extra `storage`",
    ),
    pytest.mark.skipif(
        shutil.which("rsync") is None, reason="the file-system plugin copies with rsync"
    ),
]


def snakemake(where, *arguments):
    store = [
        "--default-storage-provider",
        "fs",
        "--default-storage-prefix",
        where / "bucket",
        "--shared-fs-usage",
        *SHARED,
    ]
    study = [
        "--snakefile",
        ROOT / "Snakefile",
        "--configfile",
        ROOT / "config/smoke.yaml",
        "--replace-workflow-config",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [SNAKEMAKE, *study, *store, *arguments],
        capture_output=True,
        text=True,
        cwd=where,
        env=environment,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def where(tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    return tmp_path


def test_the_whole_study_is_planned_on_storage(where):
    planned = dict(re.findall(r"^(\w+) +(\d+)$", snakemake(where, "--dry-run"), re.MULTILINE))
    assert (
        planned["data"] == planned["exits"] == planned["certify"] == "2"
        and planned["trace"] == "4"
        and planned["tables"] == "1"
    )


@pytest.mark.slow
def test_results_land_on_storage_and_are_found_there(where):
    snakemake(where, "--cores", "1", "--", DATA)
    assert (where / "bucket" / DATA).exists() and (
        where / "bucket/results/smoke/logs/data/sudoku.log"
    ).exists()
    assert not (where / "results").exists()
    assert "Nothing to be done" in snakemake(where, "--dry-run", "--", DATA)
