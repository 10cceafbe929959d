"""Snakemake in this process, its jobs forked from one that has loaded torch already.

A rehearsal has about a hundred jobs of a second each. Started afresh, each would spend seven
seconds of a slow core on importing torch, transformers and peft, and do nothing else for most of
its life. Jobs stay separate processes, with memory of their own.
"""

import multiprocessing
import runpy
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

FORKING = multiprocessing.get_context("forkserver")


def run_snakemake(arguments: Sequence[str]) -> bool:
    """Run Snakemake with these command-line arguments; whether it reached its targets."""
    from snakemake.cli import main
    from snakemake.script import PythonScript

    FORKING.set_forkserver_preload([f"{__name__}_preload"])
    started_afresh = PythonScript.execute_script
    PythonScript.execute_script = _fork_script  # pyright: ignore[reportAttributeAccessIssue] (it stands for the method)
    try:
        main(list(arguments))
    except SystemExit as ended:
        return not ended.code
    finally:
        PythonScript.execute_script = started_afresh
    return True


def _fork_script(script: Any, file: str, edit: bool = False) -> None:
    """Stands for `PythonScript.execute_script`: run a rule's script, and measure it as it would."""
    from snakemake.benchmark import benchmarked

    job = FORKING.Process(target=_run_file, args=(file,))
    job.start()
    record = script.bench_record
    with benchmarked(job.pid, record) if record is not None else nullcontext():
        job.join()
    if job.exitcode:
        raise subprocess.CalledProcessError(job.exitcode, file)


def _run_file(file: str) -> None:
    runpy.run_path(file, run_name="__main__")
