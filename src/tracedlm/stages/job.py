"""What every rule's script runs under.

A log, an event log beside it, seals, and a user's mistake as one line instead of a traceback.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from tracedlm.progress import EVENTS, emit
from tracedlm.records.seal import check_seal, seal


@contextmanager
def logged(job: Any, skippable: Iterable[str] = ()) -> Iterator[None]:
    """Log a job: output to the rule's log, events to `.jsonl` beside it.

    Events follow those of earlier attempts. Inputs are checked and outputs sealed.

    A ValueError, which is a message to the user, ends the job with that message alone.

    Args:
        job: The `snakemake` of the script: its log, rule, wildcards, input and output are used.
        skippable: Inputs of which the stage itself leaves out, by name, what it cannot read.
    """
    path = Path(job.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get(EVENTS)
    named = {"rule": job.rule, **job.wildcards}
    os.environ[EVENTS] = json.dumps(
        {"path": str(path.with_suffix(".jsonl").resolve()), "job": named}, default=str
    )
    try:
        with path.open("w", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
            try:
                with _timed():
                    for file in dict.fromkeys(file for file in job.input if file not in skippable):
                        check_seal(Path(file))
                    yield
                    for file in filter(_kept_here, job.output):
                        seal(Path(file))
            except ValueError as error:
                print(f"error: {error}", file=log)
                print(f"error: {error}", file=sys.__stderr__)
                sys.exit(1)
    finally:
        if before is None:
            del os.environ[EVENTS]
        else:
            os.environ[EVENTS] = before


@contextmanager
def startup() -> Iterator[None]:
    """Around the imports of a job that runs a model.

    Nothing is garbage in them, nor is what they brought looked through afterwards.

    Without it a sixth of a short job's time goes into collections that find nothing (docs/log.md).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _kept_here(file: str) -> bool:
    """Whether an output stays where it was written.

    Copies of what is on object storage come and go, and seals do not go with them.
    """
    return not Path(file).is_absolute() and Path(file).parts[0] != ".snakemake"


@contextmanager
def _timed() -> Iterator[None]:
    """Events of a job's start and of how it ended; a killed job has no end."""
    started = time.monotonic()
    emit("start", pid=os.getpid())
    try:
        yield
    except BaseException as error:
        emit(
            "error",
            kind=type(error).__name__,
            message=str(error),
            seconds=time.monotonic() - started,
        )
        raise
    emit("end", seconds=time.monotonic() - started)
