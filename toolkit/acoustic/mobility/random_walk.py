"""Nodes that wander: a new direction every now and then."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Box, Mobility, along


@final
class RandomWalk(Mobility):
    """Every `leg_s` each node draws a direction, evenly around the compass, and a speed; walls reflect it.

    A walk without walls spreads like diffusion: the mean square of the distance from home after n legs is
    n `leg_s`^2 E[speed^2]. The box is that of the deployed nodes, unless given. Depth stays what it was, unless `vertical_m_s` lets it
    wander as well, by U(-v, v) per leg.
    """

    speed_m_s: tuple[float, float] = Field((0.1, 0.5), description="slowest and fastest speed")
    leg_s: float = Field(300.0, gt=0, description="time between two changes of direction")
    vertical_m_s: float = Field(0.0, ge=0, description="fastest vertical speed")
    width_m: float | None = Field(None, gt=0, description="extent in x from 0")
    length_m: float | None = Field(None, gt=0, description="extent in y from 0")

    @model_validator(mode="after")
    def _speeds_are_ordered(self) -> Self:
        if not 0 <= self.speed_m_s[0] <= self.speed_m_s[1]:
            raise ValueError(f"speed_m_s: {self.speed_m_s} must be two speeds of at least 0, the slower first")
        return self

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        legs = max(1, math.ceil((span.last_s - span.first_s) / self.leg_s))
        shape = (legs, len(home_m))
        angle = rng.uniform(0.0, 2.0 * np.pi, shape)
        speed = rng.uniform(*self.speed_m_s, shape)
        climb = rng.uniform(-self.vertical_m_s, self.vertical_m_s, shape)
        steps_m = self.leg_s * np.stack([speed * np.cos(angle), speed * np.sin(angle), climb], axis=2)
        times_s = span.first_s + self.leg_s * np.arange(legs + 1, dtype=np.float64)
        free_m = np.concatenate([home_m[None], home_m + np.cumsum(steps_m, axis=0)])
        box = Box.around(home_m, self.width_m, self.length_m)

        def position_m(t_s: float) -> Floats:
            moved = box.reflect(along(times_s, free_m, t_s))
            if not self.vertical_m_s:
                moved[:, 2] = home_m[:, 2]
            return moved

        return position_m
