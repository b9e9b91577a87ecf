"""Nodes on moorings that lean with the tidal stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Mobility


@final
class AnchoredDrift(Mobility):
    """Each node swings in a watch circle around its anchor: along the stream with the tide, and a little at random.

    The tidal offset is `radius_m` times the current (a share of its largest) along `set_deg`, turned by a few degrees of the node's
    own. The random part is a sum of three slow sinusoids per axis, so that the position is a pure function of time. A mooring of
    length `line_m` that leans by an offset r takes its node down by line - sqrt(line^2 - r^2). Anchors lie on the bottom at the deepest: a
    node that was deployed less than `line_m` above it has a shorter line, and swings less.
    """

    radius_m: float = Field(30.0, ge=0, description="offset at the strongest current")
    wander_m: float = Field(10.0, ge=0, description="standard deviation of the random offset per axis")
    wander_s: float = Field(1800.0, gt=0, description="shortest period of the random offset")
    set_deg: float = Field(60.0, ge=0, lt=360, description="direction of the flood stream, from the x axis")
    spread_deg: float = Field(15.0, ge=0, le=90, description="standard deviation of the direction from node to node")
    line_m: float = Field(150.0, gt=0, description="length of the mooring line")

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        return self._swing(home_m, tide, rng, np.full(len(home_m), self.line_m))

    def start(
        self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator, *, depth_m: float
    ) -> Callable[[float], Floats]:
        line_m = np.minimum(self.line_m, np.maximum(depth_m - home_m[:, 2], 0.0))
        return self.watched(self._swing(home_m, tide, rng, line_m), depth_m)

    def _swing(self, home_m: Floats, tide: TideState, rng: np.random.Generator, line_m: Floats) -> Callable[[float], Floats]:
        count = len(home_m)
        angle = np.deg2rad(self.set_deg + self.spread_deg * rng.standard_normal(count))
        stream = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        speed = 2.0 * np.pi / (self.wander_s * np.exp(rng.uniform(0.0, np.log(8.0), (3, count, 2))))
        phase = rng.uniform(0.0, 2.0 * np.pi, (3, count, 2))
        share = self.wander_m * np.sqrt(2.0 / 3.0)

        def position_m(t_s: float) -> Floats:
            current = float(tide.current(t_s))
            offset_m = self.radius_m * current * stream + share * np.sin(speed * t_s + phase).sum(axis=0)
            wanted_m = np.hypot(offset_m[:, 0], offset_m[:, 1])
            lean_m = np.minimum(wanted_m, 0.95 * line_m)  # the line holds
            offset_m *= (lean_m / np.maximum(wanted_m, 1e-9))[:, None]
            moved = home_m.copy()
            moved[:, :2] += offset_m
            moved[:, 2] += line_m - np.sqrt(line_m**2 - lean_m**2)
            return moved

        return position_m
