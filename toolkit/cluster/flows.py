"""Flows: bulk transfers that share links as a fluid, with one event per message where it is alone.

A flow alone on all its links runs at the rate of the slowest and disturbs nobody, which is the common case: one event, its arrival. Where
flows meet, the rates of the connected component are worked out again whenever one joins or leaves it, and once per instant, however
many do. A flow whose rate stays the same keeps its end to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import simpy
from simpy.events import NORMAL, Event, EventPriority

from toolkit.cluster.maxmin import Use, max_min_rates

LATE = EventPriority(2)
"""Priority of an event that comes after all others of the same instant."""


class Cargo(Protocol):
    """What a flow carries."""

    def arrive(self, left_s: float) -> None:
        """Be there now; the last byte had left at *left_s*."""


class Flow(Event):
    """One transfer under way. As an event it is its own arrival as foreseen while it is alone on its links."""

    _ok, _value = True, None
    rate = 0.0
    end_s = float("inf")
    """When the last byte leaves, at the present rate."""
    end: Event | None = None
    """The event that was foreseen last; any other is void."""

    def __init__(
        self, env: simpy.Environment, uses: tuple[Use, ...], nbytes: float, latency_s: float, cargo: Cargo, *, order: int, now: float
    ) -> None:
        self.env = env
        self.uses = uses
        self.latency_s = latency_s
        self.cargo = cargo
        self.order = order
        self.left_bytes = nbytes
        self.since_s = now


class End(Event):
    """The last byte of a flow that shares links leaves, as foreseen."""

    def __init__(self, flow: Flow, action: Callable[[End], None]) -> None:
        self.env = flow.env
        self.callbacks = [action]
        self._ok, self._value = True, None
        self.flow = flow


class Links:
    """The links of a cluster and the flows on them."""

    def __init__(self, env: simpy.Environment, rate_bps: Sequence[float]) -> None:
        self.env = env
        self.bytes_per_s = [rate / 8.0 for rate in rate_bps]
        self.carried_bytes = [0.0] * len(self.bytes_per_s)
        self._alone: list[Flow | None] = [None] * len(self.bytes_per_s)
        """The flow that has a link for itself; it may have ended already."""
        self._on: list[set[Flow]] = [set() for _ in self.bytes_per_s]
        """The flows that meet others somewhere."""
        self._started = 0
        self._touched: set[int] = set()

    def start(self, uses: tuple[Use, ...], nbytes: float, latency_s: float, cargo: Cargo) -> Flow:
        """Start a flow of *nbytes* over the links of *uses*; *cargo* arrives *latency_s* after the last byte has left."""
        env = self.env
        now = env.now
        self._started += 1
        flow = Flow(env, uses, nbytes, latency_s, cargo, order=self._started, now=now)
        alone = True
        rate = float("inf")
        for link, weight in uses:
            other = self._alone[link]
            if self._on[link] or (other is not None and other.end_s > now):
                alone = False
            self.carried_bytes[link] += nbytes * weight
            share = self.bytes_per_s[link] / weight
            if share < rate:
                rate = share
        if alone:
            for link, _ in uses:
                self._alone[link] = flow
            flow.rate = rate
            took_s = nbytes / rate
            flow.end_s = now + took_s
            flow.end = flow
            flow.callbacks = [self._arrive_alone]
            env.schedule(flow, NORMAL, took_s + latency_s)
        else:
            for link, _ in uses:
                self._join(link)
                self._on[link].add(flow)
            self._touch(uses)
        return flow

    def _join(self, link: int) -> None:
        """Let the flow that had *link* for itself be one among others from now on."""
        flow = self._alone[link]
        if flow is None:
            return
        if flow.end_s <= self.env.now:
            self._alone[link] = None
            return
        for other, _ in flow.uses:
            self._alone[other] = None
            self._on[other].add(flow)

    def _arrive_alone(self, flow: Flow) -> None:
        if flow.end is flow:
            flow.end = None
            for link, _ in flow.uses:
                if self._alone[link] is flow:
                    self._alone[link] = None
            flow.cargo.arrive(flow.end_s)

    def cancel(self, flow: Flow) -> None:
        """Take a flow off its links; what it has not sent is not carried."""
        now = self.env.now
        rest = max(0.0, flow.left_bytes - flow.rate * (now - flow.since_s))
        for link, weight in flow.uses:
            self.carried_bytes[link] -= rest * weight
            if self._alone[link] is flow:
                self._alone[link] = None
        self._leave(flow)

    def change_rate(self, link: int, rate_bps: float) -> None:
        """Let a link become slower or faster from now on."""
        self.bytes_per_s[link] = rate_bps / 8.0
        self._join(link)
        self._touch(((link, 1.0),))

    def _run_at(self, flow: Flow, rate: float) -> None:
        """Let *flow* go on at *rate* beside others."""
        now = self.env.now
        if rate != flow.rate:
            flow.left_bytes -= flow.rate * (now - flow.since_s)
            flow.since_s = now
            flow.rate = rate
            flow.end_s = now + max(0.0, flow.left_bytes) / rate
        flow.end = End(flow, self._finish)
        self.env.schedule(flow.end, NORMAL, max(0.0, flow.end_s - now))

    def _finish(self, end: End) -> None:
        flow = end.flow
        if flow.end is end:
            self._leave(flow)
            arrival = End(flow, self._arrive_late)
            flow.end = arrival
            self.env.schedule(arrival, NORMAL, flow.latency_s)

    def _arrive_late(self, arrival: End) -> None:
        flow = arrival.flow
        if flow.end is arrival:
            flow.cargo.arrive(flow.end_s)

    def _leave(self, flow: Flow) -> None:
        flow.end = None
        shared = False
        for link, _ in flow.uses:
            there = self._on[link]
            there.discard(flow)
            shared = shared or bool(there)
        if shared:
            self._touch(flow.uses)

    def _touch(self, uses: Iterable[Use]) -> None:
        if not self._touched:
            settle = Event(self.env)
            settle._ok, settle._value = True, None
            settle.callbacks = [self._settle]
            self.env.schedule(settle, LATE)
        self._touched.update(link for link, _ in uses)

    def _settle(self, _: Event) -> None:
        """Give new rates to all flows that a change can have reached."""
        flows: set[Flow] = set()
        seen: set[int] = set()
        todo = list(self._touched)
        self._touched = set()
        while todo:
            link = todo.pop()
            if link in seen:
                continue
            seen.add(link)
            for flow in self._on[link]:
                if flow not in flows:
                    flows.add(flow)
                    todo.extend(link for link, _ in flow.uses)
        ordered = sorted(flows, key=lambda flow: flow.order)
        rates = max_min_rates([flow.uses for flow in ordered], self.bytes_per_s)
        for flow, rate in zip(ordered, rates, strict=True):
            if rate != flow.rate or flow.end is None or flow.end is flow:
                self._run_at(flow, rate)
