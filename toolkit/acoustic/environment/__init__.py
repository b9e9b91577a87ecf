"""Environment drivers: wind, tide and noise sources, each a function of simulated time.

Time is in seconds from the start of the measured part of a run; negative times are its history. Every driver is built for one
run by `init`, which is given the UTC instant of time zero, the span of times that will be asked for, and a random generator of
its own, and returns a plain function (or object) that depends on nothing but time and place. So every arm of a comparison sees
the same weather.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.core.part import Part

Floats = NDArray[np.float64]


class Span(NamedTuple):
    """The run in time: the UTC instant of t = 0, and the first and last second that may be asked for."""

    origin: datetime
    first_s: float
    last_s: float


class Wind(Part):
    """Wind speed 10 m above the sea, which drives the surface noise."""

    family: ClassVar[str] = "wind"

    @abstractmethod
    def init(self, span: Span, rng: np.random.Generator) -> Callable[[ArrayLike], Floats]:
        """Return wind speed in m/s as a function of time in s (any shape)."""


class TideState(Protocol):
    """The water of one run."""

    def height_m(self, t_s: ArrayLike) -> Floats:
        """Height above mean level in m."""
        ...

    def current(self, t_s: ArrayLike) -> Floats:
        """Tidal current as a signed share of its largest value in the span, in [-1, 1] (proportional to d height / dt)."""
        ...


class Tide(Part):
    """Tidal height and current."""

    family: ClassVar[str] = "tide"

    @abstractmethod
    def init(self, span: Span, rng: np.random.Generator) -> TideState:
        """Return the tide of one run."""


@dataclass(frozen=True)
class Weather:
    """What drives the noise sources in one run."""

    wind_m_s: Callable[[ArrayLike], Floats]
    tide: TideState


class NoiseSource(Part):
    """One cause of ambient noise; the powers of all sources add."""

    family: ClassVar[str] = "noise source"

    @abstractmethod
    def init(self, span: Span, weather: Weather, frequency_hz: float, rng: np.random.Generator) -> Callable[[float, Floats], Floats]:
        """Return noise density in dB re 1 uPa^2/Hz at *frequency_hz* as a function of (t_s, positions (n, 3) as x, y, depth in m),
        one value per position.
        """
