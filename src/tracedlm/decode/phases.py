"""Where a decoding step's time goes.

Off unless `profiling` is entered; timing reads clocks and changes no token.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal, get_args

import torch

Phase = Literal["forward", "head_and_softmax", "rule", "commit", "host"]
"""The model's body; logits and what is predicted from them; the exit rule with what it observes.

Writing tokens; everything else.
"""


def _synchronise() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


class Stopwatch:
    """Seconds of each phase over the first steps of a run.

    A phase inside another interrupts it, so that phases sum to the steps.

    Args:
        steps: Steps to time; the later ones run as without it.
        clock: Seconds.
        synchronise: Waits for the device, so that work is charged to the phase that asked for it.
            It makes timed steps slower where host and device otherwise overlap.

    Attributes:
        seconds: By phase.
        timed: Steps so far.
    """

    def __init__(
        self,
        steps: int,
        clock: Callable[[], float] = time.perf_counter,
        synchronise: Callable[[], None] = _synchronise,
    ) -> None:
        self.steps, self.clock, self.synchronise = steps, clock, synchronise
        self.seconds: dict[Phase, float] = dict.fromkeys(get_args(Phase), 0.0)
        self.timed, self._open, self._since = 0, list[Phase](), 0.0

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Charge the enclosed time to a phase; the outermost one is a step."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()
            # The outermost phase is a step: only its end counts one.
            self.timed += not self._open

    def _turn(self) -> None:
        self.synchronise()
        now = self.clock()
        # Only the innermost open phase is charged, so that phases sum to the steps.
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


_watch: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


def phase(name: Phase) -> AbstractContextManager[None]:
    """Time the enclosed code where a run is being profiled."""
    watch = _watch.get()
    return nullcontext() if watch is None or watch.timed >= watch.steps else watch.phase(name)


@contextmanager
def profiling(watch: Stopwatch) -> Iterator[None]:
    """Time the steps of the run inside."""
    before = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(before)
