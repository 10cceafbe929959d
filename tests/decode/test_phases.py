"""Every second of a step is charged to one phase, to the one that spent it, and timing changes no
token.
"""

from typing import get_args

import pytest

import oracles_decode as twin
from oracles_decode import decode, prompts_of
from tracedlm.decode import engine
from tracedlm.decode.phases import Phase, Stopwatch, phase, profiling
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.rad import Rad
from tracedlm.report.evidence import PHASES

PLAN = Plan(16, 8, 8)


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The engine's own clock and the stopwatch's; commits take 2 s, the rule 4 s."""
    clock = Clock()
    monkeypatch.setattr(engine.time, "perf_counter", clock)

    def slower(owner, name, seconds):
        original = getattr(owner, name)

        def method(*arguments):
            clock.now += seconds
            return original(*arguments)

        monkeypatch.setattr(owner, name, method)

    slower(engine.Engine, "_write", 2.0)
    slower(Rad, "stops", 4.0)
    return clock


class Timed(twin.Lookup):
    """A model whose body takes 8 s, its head 16 s, and what is observed of it 32 s."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def __call__(self, *inputs):
        self.clock.now += 8
        with phase("rule"):
            self.clock.now += 32
        with phase("head_and_softmax"):
            self.clock.now += 16
        return super().__call__(*inputs)


def watched(clock, steps, batch_size=4):
    watch, waits = Stopwatch(steps, clock, lambda: waits.append(0)), []
    with profiling(watch):
        done = decode(
            prompts_of(7), PLAN, "rad", batch_size, model=Timed(clock), delta=0.02, omega=1
        )
    return watch, done, waits


def test_phases_are_those_of_the_table():
    assert get_args(Phase) == PHASES


def test_each_second_is_charged_to_the_phase_that_spent_it(clock):
    watch, done, waits = watched(clock, steps=1000)
    assert watch.seconds == {
        name: each * watch.timed for name, each in zip(PHASES, (8, 16, 36, 2, 0), strict=True)
    }
    assert (
        sum(watch.seconds.values())
        == pytest.approx(sum(one.seconds for one in done.values()))
        == clock.now
        and waits
    )


def test_only_the_first_steps_are_timed(clock):
    watch, _, waits = watched(clock, steps=3)
    assert watch.timed == 3 and sum(watch.seconds.values()) == 3 * 62 < clock.now
    assert len(waits) < 60  # and the device is waited for in no others


def test_a_step_that_fails_leaves_the_stopwatch_whole(clock):
    watch = Stopwatch(5, clock)
    with pytest.raises(RuntimeError), profiling(watch), phase("host"), phase("forward"):
        clock.now += 3
        raise RuntimeError
    assert watch.seconds["forward"] == 3 and watch.timed == 1
    with phase("host"):
        clock.now += 3
    assert sum(watch.seconds.values()) == 3  # nothing is timed outside `profiling`


def test_profiling_changes_no_token(clock):
    plain = decode(prompts_of(7), PLAN, "rad", delta=0.02, omega=1)
    _, done, _ = watched(clock, steps=1000)
    assert [done[n].tokens.tolist() for n in done] == [plain[n].tokens.tolist() for n in done]
