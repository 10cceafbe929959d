"""Profiles of clusters.

What they submit, what a retry asks for, and the smoke study on a real Slurm of one node.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tracedlm.report.contents import TABLES

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = [Path(sys.executable).with_name("snakemake"), "--snakefile", ROOT / "Snakefile"]
SCHEDULER = ROOT / "workflow/profiles/cluster-generic/scheduler.sh"
CLUSTER = ROOT / "tests/workflow/slurm/cluster.sh"
SBIN = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
MISSING = [
    name
    for name in ("slurmctld", "slurmd", "sbatch", "srun", "squeue")
    if shutil.which(name, path=SBIN) is None
]
DATA = [f"results/smoke/data/{dataset}/manifest.json" for dataset in ("countdown", "sudoku")]


def prepare(where):
    """A working directory with the smoke study's config and what profiles and rules name by
    relative paths.
    """
    where.mkdir(exist_ok=True)
    for name in ("config", "workflow"):
        (where / name).symlink_to(ROOT / name)
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    shutil.copytree(ROOT / "resources/base", where / "base")
    (where / "smoke.yaml").write_text(
        yaml.safe_dump({**raw, "model": {"path": str(where / "base")}})
    )
    return where


def snakemake(where, *arguments, **variables):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}
    command = [*SNAKEMAKE, "--configfile", "smoke.yaml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=where, env=environment)


def stand_ins(where, **scripts):
    """Programs that stand in for a scheduler's; each writes its arguments to `calls`.

    Returns the PATH that finds them.
    """
    folder = where / "bin"
    folder.mkdir()
    for name, body in scripts.items():
        (folder / name).write_text(
            f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> "{where}/calls"\n{body}\n'
        )
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def calls(where, name):
    return [
        line.removeprefix(f"{name} ")
        for line in (where / "calls").read_text().splitlines()
        if line.startswith(f"{name} ")
    ]


@pytest.mark.slow
def test_slurm_jobs_travel_in_groups_and_retries_ask_for_more(tmp_path):
    """Every submission fails here, as a job does that runs out of memory."""
    count = f'grep -c "^sbatch" "{prepare(tmp_path)}/calls"'
    failed = f'for n in $(seq $({count})); do echo "$n|OUT_OF_MEMORY"; done'
    path = stand_ins(
        tmp_path,
        sinfo='echo "main*"',
        scontrol='echo "MinJobAge = 86400 sec"',
        scancel="",
        sacct="exit 1",
        sbatch=count,
        squeue=failed,
    )
    fast = (
        "--slurm-no-account",
        "--slurm-status-command",
        "squeue",
        "--slurm-init-seconds-before-status-checks",
        "1",
    )
    run = snakemake(
        tmp_path, "--workflow-profile", ROOT / "workflow/profiles/slurm", *fast, *DATA, PATH=path
    )
    assert run.returncode != 0
    submitted = calls(tmp_path, "sbatch")
    assert [re.search(r"-t (\d+) --mem (\d+)", line).groups() for line in submitted] == [
        ("30", "4000"),
        ("60", "8000"),
        ("90", "12000"),
    ]
    # Two jobs, one submission.
    assert all(
        "data:dataset=sudoku" in line and "data:dataset=countdown" in line for line in submitted
    )
    assert all("--cpus-per-task=2" in line and "--gpus" not in line for line in submitted)


@pytest.mark.slow
def test_other_schedulers_get_the_same_requests(tmp_path):
    path = stand_ins(
        prepare(tmp_path),
        bsub='echo "Job <7> is submitted to queue <normal>."',
        bjobs="echo EXIT",
        bkill="",
    )
    profile = (
        "--workflow-profile",
        ROOT / "workflow/profiles/cluster-generic",
        "--seconds-between-status-checks",
        "1",
    )
    run = snakemake(tmp_path, *profile, *DATA, PATH=path, SCHEDULER="lsf", SUBMIT_EXTRA="-q short")
    assert run.returncode != 0
    submitted = [
        re.search(r"-n (\d+) -R \S+ rusage\[mem=(\d+)MB\] -W (\d+) -q short", line).groups()
        for line in calls(tmp_path, "bsub")
    ]
    assert submitted == [("2", "4000", "30"), ("2", "8000", "60"), ("2", "12000", "90")]


@pytest.mark.parametrize(
    ("scheduler", "program", "gpus", "asked"),
    [
        (
            "pbs",
            "qsub",
            0,
            (
                "-V -j oe -o .snakemake/log/ -l select=1:ncpus=2:mem=4000mb -l walltime=1800 -q"
                " short job.sh"
            ),
        ),
        (
            "pbs",
            "qsub",
            1,
            (
                "-V -j oe -o .snakemake/log/ -l select=1:ncpus=2:mem=4000mb:ngpus=1 -l"
                " walltime=1800 -q short job.sh"
            ),
        ),
        (
            "sge",
            "qsub",
            1,
            (
                "-terse -V -cwd -j y -o .snakemake/log/ -pe smp 2 -l h_vmem=2000M,h_rt=1800 -l"
                " gpu=1 -q short job.sh"
            ),
        ),
        (
            "lsf",
            "bsub",
            1,
            (
                "-oo .snakemake/log/%J.log -n 2 -R span[hosts=1] rusage[mem=4000MB] -W 30 -gpu"
                " num=1 -q short job.sh"
            ),
        ),
    ],
)
def test_a_request_in_each_schedulers_words(tmp_path, scheduler, program, gpus, asked):
    path = stand_ins(tmp_path, **{program: 'echo "Job <7> is submitted"'})
    environment = {**os.environ, "PATH": path, "SCHEDULER": scheduler, "SUBMIT_EXTRA": "-q short"}
    subprocess.run(
        [SCHEDULER, "submit", "2", "4000", "30", str(gpus), "job.sh"],
        env=environment,
        check=True,
        capture_output=True,
    )
    assert calls(tmp_path, program) == [asked]


@pytest.mark.parametrize(
    ("scheduler", "programs", "status"),
    [
        ("pbs", {"qstat": 'echo "    job_state = R"'}, "running"),
        ("pbs", {"qstat": 'printf "    job_state = F\\n    Exit_status = 0\\n"'}, "success"),
        ("pbs", {"qstat": 'printf "    job_state = F\\n    Exit_status = 271\\n"'}, "failed"),
        ("pbs", {"qstat": 'echo "qstat: Unknown Job Id 7.server" >&2; exit 153'}, "success"),
        ("pbs", {"qstat": 'echo "qstat: cannot connect to server" >&2; exit 111'}, "running"),
        ("pbs", {"qstat": 'echo "<Data><Job><job_state>R</job_state></Job></Data>"'}, "running"),
        (
            "pbs",
            {
                "qstat": (
                    'echo "<Data><Job><job_state>C</job_state>'
                    '<exit_status>0</exit_status></Job></Data>"'
                )
            },
            "success",
        ),
        (
            "pbs",
            {
                "qstat": (
                    'echo "<Data><Job><job_state>C</job_state>'
                    '<exit_status>271</exit_status></Job></Data>"'
                )
            },
            "failed",
        ),
        ("lsf", {"bjobs": "echo PEND"}, "running"),
        ("lsf", {"bjobs": "echo SSUSP"}, "running"),
        ("lsf", {"bjobs": "echo ZOMBI"}, "failed"),
        ("lsf", {"bjobs": 'echo "Job <7> is not found" >&2; exit 255'}, "success"),
        ("lsf", {"bjobs": 'echo "LSF is down. Please wait ..." >&2; exit 255'}, "running"),
        ("lsf", {"bjobs": "echo DONE"}, "success"),
        ("lsf", {"bjobs": "echo EXIT"}, "failed"),
        ("sge", {"qstat": "exit 0", "qacct": "exit 1"}, "running"),
        ("sge", {"qstat": "exit 1", "qacct": "exit 1"}, "running"),
        (
            "sge",
            {"qstat": "exit 1", "qacct": 'echo "error: job id 7 not found" >&2; exit 1'},
            "success",
        ),
        (
            "sge",
            {
                "qstat": "exit 1",
                "qacct": (
                    'printf "====\\nfailed 0\\nexit_status 1\\n====\\nfailed 0\\nexit_status 0\\n"'
                ),
            },
            "success",
        ),
        (
            "sge",
            {
                "qstat": "exit 1",
                "qacct": (
                    'printf "====\\nfailed 0\\nexit_status 0\\n====\\nfailed 1\\nexit_status 0\\n"'
                ),
            },
            "failed",
        ),
        (
            "sge",
            {"qstat": "exit 1", "qacct": 'printf "failed       0\\nexit_status  0\\n"'},
            "success",
        ),
        (
            "sge",
            {"qstat": "exit 1", "qacct": 'printf "failed       0\\nexit_status  137\\n"'},
            "failed",
        ),
    ],
)
def test_what_became_of_a_job(tmp_path, scheduler, programs, status):
    environment = {
        **os.environ,
        "PATH": stand_ins(tmp_path, **programs),
        "SCHEDULER": scheduler,
        "ACCOUNTS_WAIT": "0",
    }
    run = subprocess.run(
        [SCHEDULER, "status", "7"], env=environment, check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == status


def test_an_unnamed_scheduler_is_one_clear_line():
    run = subprocess.run(
        [SCHEDULER, "status", "7"],
        env={"PATH": os.environ["PATH"], "SCHEDULER": "slurm"},
        capture_output=True,
        text=True,
    )
    assert (
        run.returncode == 64
        and run.stderr.strip()
        == "SCHEDULER is 'slurm'; set it to pbs, lsf or sge (docs/cluster.md)"
    )


@pytest.fixture
def slurm(tmp_path):
    """Variables with which Slurm's programs find a cluster of this test's own."""
    if "TRACEDLM_SLURM" not in os.environ:
        pytest.skip("takes 8 minutes on two cores: set TRACEDLM_SLURM=1 to run it")
    if MISSING:
        pytest.skip(
            f"needs Debian's slurmctld, slurmd and slurm-client; not here: {', '.join(MISSING)}"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "cluster"
    folder.mkdir()
    try:
        subprocess.run([CLUSTER, "start", folder, str(port)], check=True)
        yield {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{SBIN}",
        }
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True)


@pytest.mark.slow
def test_the_smoke_study_on_slurm_gives_the_tables_of_a_local_run(slurm, tmp_path):
    there, here = prepare(tmp_path / "there"), prepare(tmp_path / "here")
    fast = (
        "--slurm-no-account",
        "--slurm-status-command",
        "squeue",
        "--slurm-init-seconds-before-status-checks",
        "2",
    )
    run = snakemake(
        there,
        "--workflow-profile",
        ROOT / "workflow/profiles/slurm",
        *fast,
        "--latency-wait",
        "10",
        **slurm,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    # Of 35 jobs and more.
    assert len(re.findall("has been submitted with SLURM jobid", run.stdout + run.stderr)) < 25
    local = snakemake(here, "--cores", "2")
    assert local.returncode == 0, local.stdout + local.stderr
    for name in (f"{table}.{suffix}" for table in TABLES for suffix in ("csv", "tex")):
        made, expected = (
            (where / "results/smoke/tables" / name).read_bytes() for where in (there, here)
        )
        assert made == expected, name
