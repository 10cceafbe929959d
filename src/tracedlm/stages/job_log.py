"""What every rule's script runs under: a log file, and a user's mistake as one line instead of a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def logged(path: str) -> Iterator[None]:
    """Send output to the rule's log; a ValueError, which is a message to the user, ends the job with that message alone."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        except ValueError as error:
            print(f"error: {error}", file=log)
            print(f"error: {error}", file=sys.__stderr__)
            sys.exit(1)
