"""The clock's own loop does what SimPy's does."""

from __future__ import annotations

import random

import pytest
import simpy

from toolkit.core.alarm import FAR_S, Alarm, Clock


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


def test_calls_and_alarms_come_in_the_order_of_their_times_and_of_asking() -> None:
    """A call and an alarm are due after their delay, counted from now; what is due together comes as it was asked for."""
    clock, seen = Clock(initial_time=2.0), []
    alarm = Alarm(clock, lambda _: seen.append(("alarm", clock.now)))

    def plan(_: object) -> None:
        clock.call_in(0.5, lambda _: seen.append(("first", clock.now)))
        alarm.ring_in(0.5)
        clock.call_in(0.5, lambda _: seen.append(("last", clock.now)))
        clock.call_in(0.25, lambda _: seen.append(("early", clock.now)))

    clock.call_in(3.0, plan)
    clock.run(until=20.0)
    assert seen == [("early", 5.25), ("first", 5.5), ("alarm", 5.5), ("last", 5.5)]
    assert clock.now == 20.0


def test_an_alarm_set_to_the_past_rings_now() -> None:
    clock, rang = Clock(initial_time=4.0), []
    alarm = Alarm(clock, lambda _: rang.append(clock.now))
    alarm.ring_at(3.0)
    clock.run(until=9.0)
    alarm.ring_at(11.5)
    clock.run(until=12.0)
    assert rang == [4.0, 11.5]


def test_a_time_out_is_that_of_simpy() -> None:
    clock = Clock(initial_time=1.0)
    found = []

    def wait():
        found.append((yield clock.timeout(2.0, "value")))
        found.append(clock.now)
        found.append((yield clock.timeout()))

    clock.process(wait())
    clock.run(until=clock.timeout(5.0))
    assert found == ["value", 3.0, None]
    assert clock.now == 6.0
    with pytest.raises(ValueError, match="a delay of -1"):
        clock.timeout(-1.0)


def test_time_can_be_moved_on_by_who_knows_what_is_ahead() -> None:
    clock = Clock()
    clock.timeout(3.0)
    clock.timeout(2.0)
    assert clock.ahead[0][0] == 2.0
    clock.move_to(1.5)
    assert clock.now == 1.5


def test_far_events_come_in_the_order_of_one_heap() -> None:
    """Timeouts and calls, near and far, some at the same time, some set on the way: in the order of time, then of being set."""
    dice = random.Random(4)
    happened: list[tuple[float, int]] = []
    expected: list[tuple[float, int]] = []
    clock = Clock()

    def plan(number: int, delay_s: float) -> None:
        due_s = clock.now + delay_s
        expected.append((due_s, number))

        def happen(_: object) -> None:
            happened.append((clock.now, number))
            if number < 300:
                plan(number + 300, dice.choice([0.0, 1.0, FAR_S, FAR_S + 1.0, 3.0 * FAR_S, 50.0 * FAR_S]))

        if number % 2:
            clock.call_in(delay_s, happen)
        else:
            clock.timeout(delay_s).callbacks.append(happen)

    for number in range(300):
        plan(number, dice.choice([1.0, FAR_S, 2.0 * FAR_S, 400.0 * FAR_S, dice.uniform(0.0, 1000.0 * FAR_S)]))
    clock.run(until=2000.0 * FAR_S)
    assert happened == sorted(expected, key=lambda event: event[0])  # stable: those of one time as they were set
    assert len(happened) == 600
