"""The clock, and alarms: call-backs at a set time on one re-used event, for paths where a process or a new event per call is too dear."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

import simpy
from simpy.events import NORMAL, PENDING, URGENT, Event, Timeout


class Clock(simpy.Environment):
    """SimPy's environment with a shorter loop, whose time may also be moved on by who knows that nothing else is due meanwhile."""

    now = property(attrgetter("_now"))  # SimPy's own is a function of Python, and this one is not

    def run(self, until: float | Event | None = None) -> Any:
        """Take one event after the other: up to a time, up to an event, or as long as there are any."""
        if until is None or isinstance(until, Event):
            return super().run(until)
        if until <= self.now:
            raise ValueError(f"until ({until}) must be later than now, {self.now}")
        stop = Event(self)
        stop._ok, stop._value = True, None
        self.schedule(stop, URGENT, until - self.now)
        queue = self._queue
        event: Any = None
        while event is not stop:
            self._now, _, _, event = heappop(queue)
            callbacks, event.callbacks = event.callbacks, None
            for callback in callbacks:
                callback(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value
        return None

    def event(self) -> Event:
        """An event that somebody lets happen."""
        return Event(self)

    def timeout(self, delay: float = 0.0, value: Any = None) -> Timeout:
        """An event that happens after *delay* seconds: what SimPy's own is, made with fewer calls."""
        if delay < 0:
            raise ValueError(f"a delay of {delay} s is negative")
        event = Timeout.__new__(Timeout)
        event.env, event.callbacks, event._value, event._delay, event._ok = self, [], value, delay, True
        heappush(self._queue, (self._now + delay, NORMAL, next(self._eid), event))
        return event

    def succeed_in(self, delay_s: float, event: Event, value: Any = None) -> None:
        """Let *event*, which nobody has let happen yet, happen after *delay_s* with a value.

        Raises:
            RuntimeError: it has happened, or is going to.
        """
        if event._value is not PENDING:
            raise RuntimeError(f"{event!r} has happened, or is going to, and cannot happen once more")
        event._ok, event._value = True, value
        heappush(self._queue, (self._now + delay_s, NORMAL, next(self._eid), event))

    def call_in(self, delay_s: float, action: Callable[[Any], None]) -> None:
        """Call *action* once after *delay_s*; nobody can wait for it."""
        call: Any = Call()
        call.callbacks = [action]
        heappush(self._queue, (self._now + delay_s, NORMAL, next(self._eid), call))

    @property
    def ahead(self) -> list[Any]:
        """The heap of what is to come: the first entry begins with when the next event is due."""
        return self._queue

    def move_to(self, t_s: float) -> None:
        """Let it be *t_s*: not before now, and not after the next event (`peek`)."""
        self._now = t_s

    def ring_at(self, t_s: float, alarm: Alarm) -> None:
        """Let *alarm* ring at *t_s* to the last digit, however often it is set already."""
        alarm.callbacks = alarm.actions
        heappush(self._queue, (t_s, NORMAL, next(self._eid), alarm))


class Call:
    """The least that the clock takes for an event."""

    __slots__ = ("callbacks",)
    _ok = True


class Alarm(Event):
    """An event that calls *action* whenever it rings, and can be set again after it rang."""

    def __init__(self, env: simpy.Environment, action: Callable[[Event], None]) -> None:
        self.env = env
        self._ok = True
        self._value = None
        self.actions: list[Callable[[Event], None]] = [action]
        self.callbacks = self.actions

    def ring_at(self, t_s: float) -> None:
        """Ring once at *t_s*, or now if that is past by rounding."""
        self.ring_in(max(0.0, t_s - self.env.now))

    def ring_in(self, delay_s: float) -> None:
        """Ring once after *delay_s*."""
        env = self.env
        self.callbacks = self.actions
        heappush(env._queue, (env._now + delay_s, NORMAL, next(env._eid), self))

    def rearm(self) -> None:
        """Let it call its action again when it next rings."""
        self.callbacks = self.actions
