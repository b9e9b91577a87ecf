"""Flows: bulk transfers that share links as a fluid, with two events per message.

A flow alone on all its links runs at the rate of the slowest and disturbs nobody, which is the common case and costs no more than
its two events. Where flows meet, the rates of the connected component are worked out again whenever one joins or leaves it, and once
per instant, however many do. A flow whose rate stays the same keeps its end to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import simpy
from simpy.events import NORMAL, Event

from toolkit.cluster.maxmin import Use, max_min_rates

LATE = 2
"""Priority of an event that comes after all others of the same instant."""


class End(Event):
    """The end of a flow as foreseen; one that is not its flow's `end` any more is void."""

    __slots__ = ("flow",)

    def __init__(self, env: simpy.Environment, flow: Flow, action: Callable[[Any], None]) -> None:
        self.env = env
        self.callbacks = [action]
        self._ok, self._value = True, None
        self.flow = flow


class Flow:
    """One transfer under way."""

    __slots__ = ("end", "ended", "left_bytes", "order", "rate", "since_s", "uses")

    def __init__(self, uses: tuple[Use, ...], nbytes: float, since_s: float, ended: Callable[[], None], order: int) -> None:
        self.uses = uses
        self.left_bytes = nbytes
        self.since_s = since_s
        self.rate = 0.0
        self.ended = ended
        self.end: End | None = None
        self.order = order


class Links:
    """The links of a cluster and the flows on them."""

    def __init__(self, env: simpy.Environment, rate_bps: Sequence[float]) -> None:
        self.env = env
        self.bytes_per_s = [rate / 8.0 for rate in rate_bps]
        self.carried_bytes = [0.0] * len(self.bytes_per_s)
        self._on: list[set[Flow]] = [set() for _ in self.bytes_per_s]
        self._started = 0
        self._touched: set[int] = set()

    def start(self, uses: tuple[Use, ...], nbytes: float, ended: Callable[[], None]) -> Flow:
        """Start a flow of *nbytes* over the links of *uses*; *ended* is called when the last byte has left."""
        env = self.env
        self._started += 1
        flow = Flow(uses, nbytes, env.now, ended, self._started)
        alone = True
        rate = float("inf")
        for link, weight in uses:
            there = self._on[link]
            alone = alone and not there
            there.add(flow)
            self.carried_bytes[link] += nbytes * weight
            rate = min(rate, self.bytes_per_s[link] / weight)
        if alone:
            flow.rate = rate
            flow.end = End(env, flow, self._finish)
            env.schedule(flow.end, NORMAL, nbytes / rate)
        else:
            self._touch(uses)
        return flow

    def cancel(self, flow: Flow) -> None:
        """Take a flow off its links; what it has not sent is not carried."""
        now = self.env.now
        rest = max(0.0, flow.left_bytes - flow.rate * (now - flow.since_s))
        for link, weight in flow.uses:
            self.carried_bytes[link] -= rest * weight
        self._leave(flow)

    def change_rate(self, link: int, rate_bps: float) -> None:
        """Let a link become slower or faster from now on."""
        self.bytes_per_s[link] = rate_bps / 8.0
        self._touch(((link, 1.0),))

    def _run_at(self, flow: Flow, rate: float) -> None:
        now = self.env.now
        flow.left_bytes -= flow.rate * (now - flow.since_s)
        flow.since_s = now
        flow.rate = rate
        flow.end = End(self.env, flow, self._finish)
        self.env.schedule(flow.end, NORMAL, max(0.0, flow.left_bytes) / rate)

    def _finish(self, end: End) -> None:
        flow = end.flow
        if flow.end is end:
            self._leave(flow)
            flow.ended()

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
            self.env.schedule(settle, LATE)  # type: ignore[arg-type]
        self._touched.update(link for link, _ in uses)

    def _settle(self, _: Any) -> None:
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
            if rate != flow.rate:
                self._run_at(flow, rate)
