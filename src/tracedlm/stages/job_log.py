"""What every rule's script runs under: a log, an event log beside it, and a user's mistake as one line instead of a traceback."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from tracedlm.progress import EVENTS, emit


@contextmanager
def logged(path: str, **job: object) -> Iterator[None]:
    """Send output to the rule's log, and events to `.jsonl` beside it, after those of earlier attempts.

    A ValueError, which is a message to the user, ends the job with that message alone.

    Args:
        path: The log.
        job: What every event names: the rule and its wildcards.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get(EVENTS)
    os.environ[EVENTS] = json.dumps({"path": str(Path(path).with_suffix(".jsonl").resolve()), "job": job}, default=str)
    try:
        with Path(path).open("w", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
            try:
                with _timed():
                    yield
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
def _timed() -> Iterator[None]:
    """Events of a job's start and of how it ended; a killed job has no end."""
    started = time.monotonic()
    emit("start", pid=os.getpid())
    try:
        yield
    except BaseException as error:
        emit("error", kind=type(error).__name__, message=str(error), seconds=time.monotonic() - started)
        raise
    emit("end", seconds=time.monotonic() - started)
