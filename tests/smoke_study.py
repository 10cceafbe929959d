"""Running the smoke study in a directory of its own, with a copy of the base model, so that nothing
that happens in the repository meanwhile can change it.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = [
    str(Path(sys.executable).with_name("snakemake")),
    "--snakefile",
    str(ROOT / "Snakefile"),
]
RESULTS = Path("results/smoke")
INTERFACES = "interfaces"


def snakemake(where, *arguments, check=True, inside=()):
    run = subprocess.run(
        [*inside, *command(where, *arguments)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=where,
    )
    assert not check or run.returncode == 0, run.stdout + run.stderr
    return run


def command(where, *arguments):
    config = ["--configfile", str(where / "smoke.yaml"), "--replace-workflow-config"]
    return [*SNAKEMAKE, "--directory", str(where), *config, "--cores", "2", *arguments]


def forked(where):
    """The smoke study with its jobs forked from one process, which takes a third of the time."""
    line = [
        sys.executable,
        "-c",
        (
            "import sys; from tracedlm.rehearsal.jobs import run_snakemake; sys.exit(not"
            " run_snakemake(sys.argv[1:]))"
        ),
    ]
    run = subprocess.run(
        [*line, *command(where)[1:]], capture_output=True, text=True, env=environment(), cwd=where
    )
    assert run.returncode == 0, run.stdout + run.stderr


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def prepare(where):
    """A working directory with the smoke study's config, a copy of the model, and the sources that
    rules name as inputs.
    """
    shutil.copytree(ROOT / "resources/base", where / "base")
    (where / "src").symlink_to(ROOT / "src")
    (where / "config").symlink_to(ROOT / "config")
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    configure(where, {**raw, "model": {"path": str(where / "base")}})
    return where


def configure(where, raw):
    (where / "smoke.yaml").write_text(yaml.safe_dump(raw))


@cache
def without_network():
    """What to put before a command so that it runs without network interfaces, listed in a file.

    () where the system does not permit it.
    """
    try:
        permitted = (
            subprocess.run(
                ["unshare", "--map-root-user", "--net", "true"], capture_output=True
            ).returncode
            == 0
        )
    except FileNotFoundError:
        permitted = False
    return (
        (
            "unshare",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            f'cat /proc/net/dev > {INTERFACES}; exec "$@"',
            "sh",
        )
        if permitted
        else ()
    )
