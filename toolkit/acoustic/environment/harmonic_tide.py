"""The tide of a place from its harmonic constants, at the true date."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, Tide
from toolkit.core.inputs import InputFile, number, read_columns
from toolkit.core.part import nearest
from toolkit.errors import DataError

J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
CENTURY_H = 36_525.0 * 24.0

# Mean longitudes in degrees at J2000 and their rates per Julian century: Moon s, Sun h, lunar perigee p, lunar node N, perihelion p1.
_LONGITUDES = np.array([
    [218.3164477, 481267.88123421], [280.46646, 36000.76983], [83.3532465, 4069.0137287], [125.04452, -1934.136261], [282.93735, 1.71946]
])


class Argument(NamedTuple):
    """V = 15 d/h * solar x (UT hours) + s, h, p, p1 multiples + offset (degrees); the nodal correction it takes."""

    solar: int
    s: int
    h: int
    p: int
    p1: int
    offset_deg: float
    node: str


# Schureman (1958), Table 2, with his T (from noon) written as UT from midnight plus 180 degrees.
CONSTITUENTS: dict[str, Argument] = {
    "M2": Argument(2, -2, 2, 0, 0, 0, "M2"), "S2": Argument(2, 0, 0, 0, 0, 0, ""), "N2": Argument(2, -3, 2, 1, 0, 0, "M2"),
    "K2": Argument(2, 0, 2, 0, 0, 0, "K2"), "2N2": Argument(2, -4, 2, 2, 0, 0, "M2"), "MU2": Argument(2, -4, 4, 0, 0, 0, "M2"),
    "NU2": Argument(2, -3, 4, -1, 0, 0, "M2"), "L2": Argument(2, -1, 2, -1, 0, 180, ""), "LDA2": Argument(2, -1, 0, 1, 0, 180, "M2"),
    "T2": Argument(2, 0, -1, 0, 1, 0, ""), "2SM2": Argument(2, 2, -2, 0, 0, 0, "-M2"),
    "K1": Argument(1, 0, 1, 0, 0, 90, "K1"), "O1": Argument(1, -2, 1, 0, 0, -90, "O1"), "P1": Argument(1, 0, -1, 0, 0, -90, ""),
    "Q1": Argument(1, -3, 1, 1, 0, -90, "O1"), "2Q1": Argument(1, -4, 1, 2, 0, -90, "O1"), "RHO1": Argument(1, -3, 3, -1, 0, -90, "O1"),
    "J1": Argument(1, 1, 1, -1, 0, 90, "J1"), "M1": Argument(1, -1, 1, 1, 0, 90, ""), "OO1": Argument(1, 2, 1, 0, 0, 90, "OO1"),
    "S1": Argument(1, 0, 0, 0, 0, 180, ""), "M3": Argument(3, -3, 3, 0, 0, 180, "1.5M2"), "M4": Argument(4, -4, 4, 0, 0, 0, "2M2"),
    "M6": Argument(6, -6, 6, 0, 0, 0, "3M2"), "S4": Argument(4, 0, 0, 0, 0, 0, ""), "S6": Argument(6, 0, 0, 0, 0, 0, ""),
    "MS4": Argument(4, -2, 2, 0, 0, 0, "M2"), "SA": Argument(0, 0, 1, 0, 0, 0, ""),
}

# Nodal factor f = f0 + f1 cos N + f2 cos 2N + f3 cos 3N and angle u = u1 sin N + u2 sin 2N + u3 sin 3N (degrees); Doodson and
# Warburg (1941) after Schureman.
_NODAL: dict[str, tuple[tuple[float, float, float, float], tuple[float, float, float]]] = {
    "M2": ((1.0004, -0.0373, 0.0002, 0.0), (-2.14, 0.0, 0.0)),
    "K2": ((1.0241, 0.2863, 0.0083, -0.0015), (-17.74, 0.68, -0.04)),
    "K1": ((1.0060, 0.1150, -0.0088, 0.0006), (-8.86, 0.68, -0.07)),
    "O1": ((1.0089, 0.1871, -0.0147, 0.0014), (10.80, -1.34, 0.19)),
    "J1": ((1.0129, 0.1676, -0.0170, 0.0016), (-12.94, 1.34, -0.19)),
    "OO1": ((1.1027, 0.6504, 0.0317, -0.0014), (-36.68, 4.02, -0.57)),
}


def speed_deg_per_h(name: str) -> float:
    """Return how fast a constituent's argument turns."""
    a = CONSTITUENTS[name]
    s, h, p, _, p1 = _LONGITUDES[:, 1] / CENTURY_H
    return float(15.0 * a.solar + a.s * s + a.h * h + a.p * p + a.p1 * p1)


def nodal(kind: str, node_deg: float) -> tuple[float, float]:
    """Return (f, u in degrees) of a nodal correction such as ``M2``, ``-M2`` or ``2M2`` (f to that power, u times it)."""
    if not kind:
        return 1.0, 0.0
    if kind in _NODAL:
        factors, angles = _NODAL[kind]
        n = np.deg2rad(node_deg) * np.arange(4)
        return float(np.dot(factors, np.cos(n))), float(np.dot(angles, np.sin(n[1:])))
    f, u = nodal("M2", node_deg)
    power = float(kind.removesuffix("M2")) if kind != "-M2" else -1.0
    return f ** abs(power), u * power


class HarmonicWater:
    """height = sum f A cos(V(0) + u - g + speed t), from amplitudes A in m and Greenwich phases g in degrees."""

    def __init__(self, names: list[str], amplitude_m: Floats, phase_deg: Floats, span: Span) -> None:
        middle_h = (span.first_s + span.last_s) / 7200.0
        origin = span.origin.astimezone(UTC)
        century = (origin - J2000).total_seconds() / 3600.0 / CENTURY_H
        s, h, p, _, p1 = _LONGITUDES[:, 0] + _LONGITUDES[:, 1] * century
        node_deg = float(_LONGITUDES[3, 0] + _LONGITUDES[3, 1] * (century + middle_h / CENTURY_H))
        ut_h = (origin - origin.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() / 3600.0
        amplitudes, phases, speeds = [], [], []
        for name, amplitude, g_deg in zip(names, amplitude_m, phase_deg, strict=True):
            a = CONSTITUENTS[name]
            f, u_deg = nodal(a.node, node_deg)  # moves by 0.05 degrees a day: one value serves a run
            v_deg = 15.0 * a.solar * ut_h + a.s * s + a.h * h + a.p * p + a.p1 * p1 + a.offset_deg
            amplitudes.append(f * amplitude)
            phases.append(np.deg2rad(v_deg + u_deg - g_deg))
            speeds.append(np.deg2rad(speed_deg_per_h(name)) / 3600.0)
        self._amplitude_m, self._phase, self._speed = np.array(amplitudes), np.array(phases), np.array(speeds)
        self._largest = 1.0
        self._largest = float(np.abs(self.current(np.arange(span.first_s, span.last_s + 600.0, 600.0))).max()) or 1.0

    def height_m(self, t_s: ArrayLike) -> Floats:
        angle = np.multiply.outer(np.asarray(t_s, dtype=np.float64), self._speed) + self._phase
        return np.asarray(np.cos(angle) @ self._amplitude_m)

    def current(self, t_s: ArrayLike) -> Floats:
        angle = np.multiply.outer(np.asarray(t_s, dtype=np.float64), self._speed) + self._phase
        return np.asarray(-np.sin(angle) @ (self._amplitude_m * self._speed) / self._largest)


@final
class HarmonicTide(Tide):
    """Tide predicted from harmonic constants (columns constituent, amplitude_m, phase_gmt_deg).

    Nodal corrections are applied to lunar constituents, except L2 and M1. The current is taken to follow the rate of rise, which
    holds for a basin that fills through a channel; only its shape is used, scaled to its largest value in the span.
    """

    file: InputFile = Field(description="CSV of harmonic constants")

    def init(self, span: Span, rng: np.random.Generator) -> HarmonicWater:
        names, amplitude_m, phase_deg = read_constants(self.file)
        return HarmonicWater(names, amplitude_m, phase_deg, span)


def read_constants(path: Path) -> tuple[list[str], Floats, Floats]:
    """Read harmonic constants: names, amplitudes in m, Greenwich phases in degrees."""
    columns = read_columns(path, ["constituent", "amplitude_m", "phase_gmt_deg"])
    names = columns["constituent"]
    for line, name in enumerate(names, start=2):
        if name not in CONSTITUENTS:
            raise DataError(
                f"{path}, line {line}: unknown constituent '{name}'{nearest(name, list(CONSTITUENTS))} (known: {', '.join(CONSTITUENTS)})"
            )
    values = [
        np.array([number(path, line, column, text) for line, text in enumerate(columns[column], start=2)])
        for column in ("amplitude_m", "phase_gmt_deg")
    ]
    return names, values[0], values[1]
