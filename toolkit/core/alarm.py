"""Alarms: call-backs at a set time on one re-used event, for paths where a process or a new event per call is too dear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import Event


class Alarm(Event):
    """An event that calls *action* whenever it rings, and can be set again after it rang."""

    def __init__(self, env: simpy.Environment, action: Callable[[Any], None]) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self._actions: list[Callable[[Any], None]] = [action]

    def ring_at(self, t_s: float) -> None:
        """Ring once at *t_s*, or now if that is past by rounding."""
        self.callbacks = self._actions
        self.env.schedule(self, delay=max(0.0, t_s - self.env.now))
