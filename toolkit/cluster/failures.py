"""Failures: machines that crash or are away for a while, links that become slow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self, final

from pydantic import Field, model_validator

from toolkit.core.part import Spec


@final
class Crash(Spec):
    """A worker that is gone for good from `at_s` on, with all that only it knew."""

    node: str = Field(description="name of the worker, e.g. worker3")
    at_s: float = Field(gt=0, description="simulated time of the crash in s")


class TimeWindow(Spec):
    """A stretch of time."""

    from_s: float = Field(ge=0, description="beginning in s")
    to_s: float = Field(gt=0, description="end in s")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.to_s <= self.from_s:
            raise ValueError(f"to_s ({self.to_s:g}) must be after from_s ({self.from_s:g})")
        return self


@final
class Outage(TimeWindow):
    """A node whose processor stands still in a window (another job, a phone in use); what it was doing goes on afterwards."""

    node: str = Field(description="name of the node")


@final
class Degradation(TimeWindow):
    """A link that carries only `factor` of its rate in a window; where windows overlap, the lowest factor counts."""

    link: str = Field(description="name of the directed link, as the topology calls it")
    factor: float = Field(gt=0, le=1, description="share of its rate that is left")


@final
class Failures(Spec):
    """What goes wrong and what it costs until the others can go on."""

    renamed: ClassVar[Mapping[str, str]] = {"absences": "outages"}

    crashes: list[Crash] = Field(default_factory=list, description="nodes that stop for good, and when")
    outages: list[Outage] = Field(default_factory=list, description="nodes that answer nobody for a while")
    degradations: list[Degradation] = Field(default_factory=list, description="links that are slower or lossier for a while")
    detect_s: float = Field(5.0, ge=0, description="time until the others know that a worker is gone (a time-out)")
    restart_s: float = Field(10.0, ge=0, description="time to form a new group and go on")


def factors_in_force(degradations: Iterable[Degradation]) -> list[tuple[float, float]]:
    """Return when the share of its rate that a link carries changes, and to what: (instant in s, factor), in order.

    Where several of its *degradations* overlap, the lowest factor is in force.
    """
    windows = list(degradations)
    changes, before = [], 1.0
    for at_s in sorted({window.from_s for window in windows} | {window.to_s for window in windows}):
        factor = min((window.factor for window in windows if window.from_s <= at_s < window.to_s), default=1.0)
        if factor != before:
            changes.append((at_s, factor))
        before = factor
    return changes


def stretched_by_outages(windows: list[tuple[float, float]], start_s: float, dur_s: float) -> float:
    """Return how long a computation takes that stands still in *windows* (sorted, not overlapping)."""
    end_s = start_s + dur_s
    for from_s, to_s in windows:
        if to_s <= start_s:
            continue
        if from_s >= end_s:
            break
        end_s += to_s - max(from_s, start_s)
    return end_s - start_s
