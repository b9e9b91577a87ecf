"""Nodes that float with a meandering jet."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Mobility, along


@final
class MeanderingCurrent(Mobility):
    """Every node floats with the water of a jet that meanders along x and whose meanders swell and shrink; depth stays what it was.

    In units of `scale_m` and `scale_m` / `speed_m_s` the stream function is

        psi(x, y, t) = -tanh[(y - B sin(k (x - c t))) / sqrt(1 + k^2 B^2 cos^2(k (x - c t)))],  B(t) = A + eps cos(omega t),

    and the water moves with u = -d psi / dy, v = d psi / dx, hence without divergence: it neither gathers nor thins nodes. On the axis
    the speed is `speed_m_s`. The axis runs through the middle of the deployed nodes; where along the meander they lie is drawn per run.
    Nodes are at their homes at time zero, floated there before, and float on: after a day the network is kilometres away and drawn
    out, so history and run should be hours.

    Source: Bower 1991 (J. Phys. Oceanogr. 21) for the jet, Caruso et al. 2008 (INFOCOM) for its use as a mobility model, with their
    A = 1.2, c = 0.12, k = 2 pi / 7.5, omega = 0.4, eps = 0.3 (recalled, as are 1 km and 0.3 m/s). Departures: Runge-Kutta
    trajectories in steps of `step_s`, straight in between.
    """

    scale_m: float = Field(1000.0, gt=0, description="unit of length: half the width of the jet")
    speed_m_s: float = Field(0.3, gt=0, description="speed on the axis of the jet")
    amplitude: float = Field(1.2, ge=0, description="A: mean amplitude of the meanders, in units of length")
    swell: float = Field(0.3, ge=0, description="eps: how much the amplitude swells and shrinks")
    swell_rate: float = Field(0.4, ge=0, description="omega: how fast it does, in radians per unit of time")
    wave_number: float = Field(2.0 * math.pi / 7.5, gt=0, description="k of the meanders, in radians per unit of length")
    phase_speed: float = Field(0.12, description="c: speed of the meanders along x, as a share of the speed on the axis")
    step_s: float = Field(60.0, gt=0, description="step of the integration")

    def stream(self, x: Floats, y: Floats, t: float) -> Floats:
        """The stream function psi, all in its own units."""
        phase = self.wave_number * (x - self.phase_speed * t)
        height = self.amplitude + self.swell * math.cos(self.swell_rate * t)
        slope = self.wave_number * height * np.cos(phase)
        return np.asarray(-np.tanh((y - height * np.sin(phase)) / np.sqrt(1.0 + slope**2)))

    def velocity(self, x: Floats, y: Floats, t: float) -> tuple[Floats, Floats]:
        """Return u = -d psi / dy and v = d psi / dx, all in their own units."""
        k = self.wave_number
        phase = k * (x - self.phase_speed * t)
        height = self.amplitude + self.swell * math.cos(self.swell_rate * t)
        slope = k * height * np.cos(phase)
        stretch = np.sqrt(1.0 + slope**2)
        offset = y - height * np.sin(phase)
        shear = 1.0 - np.tanh(offset / stretch) ** 2
        stretch_x = -slope * k**2 * height * np.sin(phase) / stretch
        return np.asarray(shear / stretch), np.asarray(shear * (slope / stretch + offset * stretch_x / stretch**2))

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        unit_s = self.scale_m / self.speed_m_s
        middle_m = (home_m.min(axis=0) + home_m.max(axis=0))[:2] / 2.0
        start = np.array([rng.uniform(0.0, 2.0 * math.pi / self.wave_number), 0.0])
        home = (home_m[:, :2] - middle_m) / self.scale_m + start
        after = max(1, math.ceil(span.last_s / self.step_s))
        before = max(0, math.ceil(-span.first_s / self.step_s))
        forward = self._trace(home, self.step_s / unit_s, after)
        back = self._trace(home, -self.step_s / unit_s, before)
        track_m = (np.concatenate([back[:0:-1], forward]) - start) * self.scale_m + middle_m
        times_s = self.step_s * np.arange(-before, after + 1, dtype=np.float64)
        depth_m = np.broadcast_to(home_m[:, 2:], (len(times_s), len(home_m), 1))
        points_m = np.concatenate([track_m, depth_m], axis=2)
        return lambda t_s: along(times_s, points_m, t_s)

    def _trace(self, home: Floats, step: float, count: int) -> Floats:
        """Float from *home* (n, 2) at time zero by *count* steps (classical Runge-Kutta); return places (count + 1, n, 2)."""

        def flow(place: Floats, t: float) -> Floats:
            return np.stack(self.velocity(place[:, 0], place[:, 1], t), axis=1)

        places = [home]
        for index in range(count):
            t, place = index * step, places[-1]
            k1 = flow(place, t)
            k2 = flow(place + 0.5 * step * k1, t + 0.5 * step)
            k3 = flow(place + 0.5 * step * k2, t + 0.5 * step)
            k4 = flow(place + step * k3, t + step)
            places.append(place + step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
        return np.stack(places)
