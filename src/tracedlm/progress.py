"""How far a job has come.

A bar on a terminal, a plain line now and then in a log, JSON lines for machines. All stages count
with it.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tqdm import tqdm

EVENTS = "TRACEDLM_EVENTS"
"""Environment variable that says where a job's events go: JSON, `path` and `job`.

The job's functions and the processes it starts read it.
"""

BETWEEN_LINES = 15.0
"""Seconds between two lines of a log; the first and the last always appear."""

Item = TypeVar("Item")


def emit(event: str, **facts: object) -> None:
    """Append one event to the job's event log; outside a job, do nothing.

    The line is one write in append mode: lines of several processes do not mix, and what a kill
    leaves is whole lines. A number that is not finite has no place in JSON and is null.

    Args:
        event: `start`, `progress`, `end` or `error`.
        facts: What there is to say; numbers, strings or None.
    """
    if EVENTS not in os.environ:
        return
    target = json.loads(os.environ[EVENTS])
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
    }
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **target["job"],
        "event": event,
        **finite,
    }
    handle = os.open(target["path"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, json.dumps(line, default=str, allow_nan=False).encode() + b"\n")
    finally:
        os.close(handle)


def read_events(path: str | Path) -> list[dict[str, Any]]:
    """Events of a job's log, oldest first."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


class Progress:
    """Counts units of work, and says how many are done, how fast, and how much time is left.

    Args:
        title: What is being done.
        total: Units there are.
        unit: What one of them is, in the singular.
        done: Units that an earlier, interrupted run has done; they do not count into the rate.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        self.title, self.total, self.unit, self.done, self.first = title, total, unit, done, done
        self.started, self.shown = time.monotonic(), -math.inf
        watched = sys.stderr.isatty()
        self.bar: Any = (
            tqdm(total=total, initial=done, desc=title, unit=unit, dynamic_ncols=True)
            if watched
            else None
        )

    def add(self, units: int = 1, **facts: float | str) -> None:
        """Count units; `facts` appear in the order given, numbers with four digits."""
        self.done += units
        if self.bar is not None:
            self.bar.set_postfix_str(_listed(facts), refresh=False)
            self.bar.update(units)
        now = time.monotonic()
        if now - self.shown < BETWEEN_LINES and self.done < self.total:
            return
        self.shown, elapsed = now, now - self.started
        rate = (self.done - self.first) / elapsed if elapsed > 0 else math.nan
        left = (self.total - self.done) / rate if rate > 0 else math.nan
        emit(
            "progress",
            what=self.title,
            step=self.done,
            total=self.total,
            unit=self.unit,
            rate=rate,
            seconds_left=left,
            **facts,
        )
        if self.bar is None:
            pace = (
                f"{rate:.3g} {self.unit}s/s, {tqdm.format_interval(left)} left"
                if rate > 0
                else "no time measured"
            )
            _say(
                ", ".join(
                    filter(
                        None,
                        [
                            f"{self.title}: {self.done}/{self.total} {self.unit}s",
                            _listed(facts),
                            pace,
                        ],
                    )
                )
            )

    def close(self) -> None:
        """Finish the bar, if there is one."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def counted(
    items: Iterable[Item], title: str, unit: str, total: int | None = None
) -> Iterator[Item]:
    """The items, counted one by one; `total` where they have no length."""
    length = len(items) if total is None else total  # type: ignore[arg-type]
    with Progress(title, length, unit) as progress:
        for item in items:
            yield item
            progress.add()


def _say(line: str) -> None:
    """Write a line to standard error.

    Inside a job that is its log, and the terminal, if there is one, shows it too.
    """
    print(line, file=sys.stderr, flush=True)
    terminal = sys.__stderr__
    if terminal is not None and terminal is not sys.stderr and terminal.isatty():
        print(line, file=terminal, flush=True)


def _listed(facts: dict[str, float | str]) -> str:
    shown = {
        name.replace("_", " "): f"{value:.4g}" if isinstance(value, float) else value
        for name, value in facts.items()
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items())
