"""Nodes that drift with a velocity that forgets slowly, in three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Box, Mobility, along, check_range
from toolkit.core.bounds import NotNegative

Velocity = tuple[float, float, float]


@final
class GaussMarkov(Mobility):
    """Each component of a node's velocity is a Gauss-Markov process around `mean_m_s`; walls reflect the node.

    From step to step v' = a v + (1 - a) mean + sqrt(1 - a^2) std z with a = exp(-`step_s` / `memory_s`) and z normal: stationary from
    the first step on, with mean `mean_m_s`, standard deviation `std_m_s` and autocorrelation exp(-lag / `memory_s`). Between steps the
    velocity stands still. The box is that of the deployed nodes, unless given.

    Source: Liang and Haas 2003 (IEEE/ACM Trans. Networking 11(5)), eq. for the velocity; the third component is treated like the
    others. Departures: velocity components and not speed and heading, for which the law would not be stationary; walls reflect.
    """

    mean_m_s: Velocity = Field((0.0, 0.0, 0.0), description="mean velocity in x, y and downwards")
    std_m_s: tuple[NotNegative, NotNegative, NotNegative] = Field((0.3, 0.3, 0.02), description="standard deviation of each component")
    memory_s: float = Field(600.0, gt=0, description="lag at which the autocorrelation is 1/e")
    step_s: float = Field(60.0, gt=0, description="time between two changes of velocity")
    width_m: float | None = Field(None, gt=0, description="extent in x from 0")
    length_m: float | None = Field(None, gt=0, description="extent in y from 0")
    depth_range_m: tuple[float, float] | None = Field(None, description="shallowest and deepest place")

    @model_validator(mode="after")
    def _ranges_make_sense(self) -> Self:
        if min(self.std_m_s) < 0:
            raise ValueError(f"std_m_s: {self.std_m_s} must be three standard deviations of at least 0")
        if self.depth_range_m is not None and not 0 <= self.depth_range_m[0] <= self.depth_range_m[1]:
            raise ValueError(f"depth_range_m: {self.depth_range_m} must be two depths of at least 0, the shallower first")
        return self

    def check(self, depth_m: float) -> None:
        check_range(self.depth_range_m, depth_m)

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        steps = max(1, math.ceil((span.last_s - span.first_s) / self.step_s))
        memory = math.exp(-self.step_s / self.memory_s)
        mean, std = np.array(self.mean_m_s), np.array(self.std_m_s)
        kick = math.sqrt(1.0 - memory**2)
        velocity = mean + std * rng.standard_normal(home_m.shape)  # stationary from the beginning
        places = [home_m]
        for _ in range(steps):
            places.append(places[-1] + self.step_s * velocity)
            velocity = memory * velocity + (1.0 - memory) * mean + kick * std * rng.standard_normal(home_m.shape)
        times_s = span.first_s + self.step_s * np.arange(steps + 1, dtype=np.float64)
        free_m = np.stack(places)
        box = Box.around(home_m, self.width_m, self.length_m, self.depth_range_m)
        return lambda t_s: box.reflect(along(times_s, free_m, t_s))
