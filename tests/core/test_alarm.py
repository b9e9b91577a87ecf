"""The clock's own loop does what SimPy's does."""

from __future__ import annotations

import pytest
import simpy

from toolkit.core.alarm import Alarm, Clock


def story(env: simpy.Environment, until: tuple[float, ...]) -> list[tuple[float, str]]:
    """Let processes, interrupts of equal time and pauses between two runs happen; return what happened when."""
    seen: list[tuple[float, str]] = []

    def tick(name: str, period_s: float):
        while True:
            yield env.timeout(period_s)
            seen.append((env.now, name))

    for name, period_s in (("a", 1.0), ("b", 0.25), ("c", 1.0)):
        env.process(tick(name, period_s))
    for t_s in until:
        env.run(until=t_s)
        seen.append((env.now, "stopped"))
    return seen


def test_the_same_events_in_the_same_order() -> None:
    until = (1.0, 1.1, 3.0, 3.25)
    assert story(Clock(), until) == story(simpy.Environment(), until)


def test_a_process_that_fails_ends_the_run() -> None:
    clock = Clock()

    def fail():
        yield clock.timeout(1.0)
        raise KeyError("lost")

    clock.process(fail())
    with pytest.raises(KeyError, match="lost"):
        clock.run(until=2.0)
    assert clock.now == 1.0


def test_time_does_not_run_backwards() -> None:
    clock = Clock(initial_time=5.0)
    with pytest.raises(ValueError, match="later than now"):
        clock.run(until=5.0)


def test_an_alarm_rings_as_often_as_it_is_set() -> None:
    clock, rang = Clock(), []

    def ring(_: object) -> None:
        alarm.rearm()  # it is set twice
        rang.append(clock.now)

    alarm = Alarm(clock, ring)
    alarm.ring_in(1.0)
    clock.ring_at(2.5, alarm)
    clock.run(until=2.0)
    alarm.ring_at(3.0)
    clock.run(until=9.0)
    assert rang == [1.0, 2.5, 3.0]
