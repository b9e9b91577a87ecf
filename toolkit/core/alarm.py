"""Alarms: call-backs at a set time on one re-used event, for paths where a process or a new event per call is too dear."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush

import simpy
from simpy.events import NORMAL, Event


class Clock(simpy.Environment):
    """SimPy's environment, whose time may also be moved on by who knows that nothing else is due meanwhile."""

    def move_to(self, t_s: float) -> None:
        """Let it be *t_s*: not before now, and not after the next event (`peek`)."""
        self._now = t_s

    def ring_at(self, t_s: float, alarm: Alarm) -> None:
        """Let *alarm* ring at *t_s* to the last digit, however often it is set already."""
        alarm.rearm()
        heappush(self._queue, (t_s, NORMAL, next(self._eid), alarm))


class Alarm(Event):
    """An event that calls *action* whenever it rings, and can be set again after it rang."""

    def __init__(self, env: simpy.Environment, action: Callable[[Event], None]) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self._actions: list[Callable[[Event], None]] = [action]

    def ring_at(self, t_s: float) -> None:
        """Ring once at *t_s*, or now if that is past by rounding."""
        self.ring_in(max(0.0, t_s - self.env.now))

    def ring_in(self, delay_s: float) -> None:
        """Ring once after *delay_s*."""
        self.rearm()
        self.env.schedule(self, delay=delay_s)

    def rearm(self) -> None:
        """Let it call its action again when it next rings."""
        self.callbacks = self._actions
