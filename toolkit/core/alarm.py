"""The clock, and alarms: call-backs at a set time on one re-used event, for paths where a process or a new event per call is too dear."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

import simpy
from simpy.events import NORMAL, PENDING, URGENT, Event, Timeout

FAR_S = 100.0
"""What is due later than this waits in a heap of its own: thousands of sleepers make each step of the near one dear."""


class Clock(simpy.Environment):
    """SimPy's environment with a shorter loop, whose time may also be moved on by who knows that nothing else is due meanwhile.

    Timeouts and calls that are far ahead wait in a second heap. The first one has a call in it at the time of the earliest of them,
    which brings over those that are near by then: order is by time, urgency and number, as in one heap.
    """

    def __init__(self, initial_time: float = 0) -> None:
        super().__init__(initial_time)
        self._far: list[Any] = []
        self._bring_s = math.inf

    def _push_far(self, entry: tuple[float, int, int, Any]) -> None:
        heappush(self._far, entry)
        self._call_for_far()

    def _call_for_far(self) -> None:
        """See to it that far events are brought over no later than the earliest of them is due."""
        if self._far and self._far[0][0] < self._bring_s:
            call: Any = Call()
            call.callbacks = [self._bring]
            self._bring_s = self._far[0][0]
            heappush(self._queue, (self._bring_s, URGENT, next(self._eid), call))

    def _bring(self, _: object) -> None:
        if self._now >= self._bring_s:
            self._bring_s = math.inf
        far, queue, near_s = self._far, self._queue, self._now + FAR_S
        while far and far[0][0] <= near_s:
            heappush(queue, heappop(far))
        self._call_for_far()

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
        entry = (self._now + delay, NORMAL, next(self._eid), event)
        if delay <= FAR_S:
            heappush(self._queue, entry)
        else:
            self._push_far(entry)
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
        entry = (self._now + delay_s, NORMAL, next(self._eid), call)
        if delay_s <= FAR_S:
            heappush(self._queue, entry)
        else:
            self._push_far(entry)

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
