"""Event-driven traffic: something happens somewhere, and the nodes near it report."""

from __future__ import annotations

import heapq
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.node import SeaContext
from toolkit.acoustic.packets import ANY_SINK
from toolkit.core.context import Context
from toolkit.core.fabric import Fabric
from toolkit.core.program import Process, Program
from toolkit.errors import ScenarioError

NEEDS_PLACES = "program: event_driven needs nodes that have a place, which fabric 'acoustic' gives them"


@final
class EventDriven(Program):
    """Events happen at Poisson times at places drawn evenly from the box around nodes and sinks; who is within `radius_m` reports.

    A node notices an event when its sound arrives, after distance / `speed_m_s`, and sends `reports` messages `every_s` apart, each
    up to `jitter_s` late so that neighbours do not answer in chorus. All nodes see the same events, which depend on the seed alone.
    Who moves is where it is at the moment of the event.
    """

    interval_s: float = Field(600.0, ge=1e-3, description="mean time between two events anywhere")
    radius_m: float = Field(500.0, gt=0, description="distance within which a node notices an event")
    reports: int = Field(1, ge=1, description="messages that a node sends about one event")
    every_s: float = Field(30.0, gt=0, description="time between two reports about one event")
    jitter_s: float = Field(5.0, ge=0, description="longest random delay of a report")
    speed_m_s: float = Field(1500.0, gt=0, description="speed at which the event's own signal spreads")
    nbytes: int = Field(64, ge=1, le=65_535, description="payload of a report")

    def check(self, fabric: Fabric) -> None:
        if fabric.type_name() != "acoustic":
            raise ScenarioError(f"{NEEDS_PLACES}; fabric '{fabric.type_name()}' does not")

    def run(self, ctx: Context) -> Process:
        if not isinstance(ctx, SeaContext):
            raise ScenarioError(NEEDS_PLACES)
        rng = ctx.rng("traffic")
        events = ctx.shared_rng("events")  # the same on every node
        low_m, high_m = ctx.region_m
        due_s: list[float] = []
        event_s = self.interval_s * events.standard_exponential()
        place_m = events.uniform(low_m, high_m)
        while True:
            if due_s and due_s[0] <= event_s:
                yield ctx.sleep(heapq.heappop(due_s) - ctx.now)
                ctx.send(ANY_SINK, self.nbytes)
                continue
            yield ctx.sleep(event_s - ctx.now)
            distance_m = float(np.linalg.norm(place_m - ctx.position_m))
            if distance_m <= self.radius_m:
                for index in range(self.reports):
                    heapq.heappush(due_s, event_s + distance_m / self.speed_m_s + index * self.every_s + self.jitter_s * rng.random())
            event_s += self.interval_s * events.standard_exponential()
            place_m = events.uniform(low_m, high_m)
