"""Nodes that travel from point to point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Mobility, check_range


@final
class RandomWaypoint(Mobility):
    """Each node picks a point in the box, goes there at a speed of its choice, rests, and picks the next one.

    The box is that of the deployed nodes, unless given; depth stays what it was unless `depth_range_m` is given. All legs are drawn
    when the run begins, so that the position is a pure function of time.
    """

    speed_m_s: tuple[float, float] = Field((0.2, 1.0), description="slowest and fastest speed")
    pause_s: float = Field(60.0, ge=0, description="rest at each point")
    width_m: float | None = Field(None, gt=0, description="extent in x from 0")
    length_m: float | None = Field(None, gt=0, description="extent in y from 0")
    depth_range_m: tuple[float, float] | None = Field(None, description="shallowest and deepest point")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        slow, fast = self.speed_m_s
        if not 0 < slow <= fast:
            raise ValueError(f"speed_m_s: {self.speed_m_s} must be two positive speeds, the slower first")
        if self.depth_range_m is not None and not 0 <= self.depth_range_m[0] <= self.depth_range_m[1]:
            raise ValueError(f"depth_range_m: {self.depth_range_m} must be two depths of at least 0, the shallower first")
        return self

    def check(self, depth_m: float) -> None:
        check_range(self.depth_range_m, depth_m)

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        low = home_m.min(axis=0)
        high = home_m.max(axis=0)
        for axis, extent_m in enumerate((self.width_m, self.length_m)):
            if extent_m is not None:
                low[axis], high[axis] = 0.0, extent_m
        if self.depth_range_m is not None:
            low[2], high[2] = self.depth_range_m
        paths = [self._path(home, low, high, span, rng) for home in home_m]
        most = max(len(times) for times, _ in paths)
        # (n, most): shorter paths repeat their last point, so that all nodes are looked up at once.
        times_s = np.array([np.pad(times, (0, most - len(times)), mode="edge") for times, _ in paths])
        points_m = np.array([np.pad(points, ((0, most - len(points)), (0, 0)), mode="edge") for _, points in paths])
        took_s = np.diff(times_s, axis=1)[:, :, None]
        velocity_m_s = np.zeros_like(points_m)  # of the leg that begins at each point; none at the last
        velocity_m_s[:, :-1] = np.diff(points_m, axis=1) / np.where(took_s > 0, took_s, 1.0)  # a rest may take no time
        node = np.arange(len(home_m))

        def position_m(t_s: float) -> Floats:
            leg = np.maximum((times_s <= t_s).sum(axis=1) - 1, 0)
            since_s = np.maximum(t_s - times_s[node, leg], 0.0)
            return np.asarray(points_m[node, leg] + velocity_m_s[node, leg] * since_s[:, None])

        return position_m

    def _path(self, home: Floats, low: Floats, high: Floats, span: Span, rng: np.random.Generator) -> tuple[Floats, Floats]:
        times, points = [span.first_s], [home]
        while times[-1] < span.last_s:
            target = rng.uniform(low, high)
            if self.depth_range_m is None:
                target[2] = home[2]
            travel_s = float(np.linalg.norm(target - points[-1])) / rng.uniform(*self.speed_m_s)
            if travel_s + self.pause_s <= 0:
                break  # a box without extent: there is nowhere to go
            times += [times[-1] + travel_s, times[-1] + travel_s + self.pause_s]
            points += [target, target]
        return np.array(times), np.array(points)
