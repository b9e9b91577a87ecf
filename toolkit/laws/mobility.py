"""Laws of mobility: a pure function of time, no jumps, never above the surface nor below the bottom."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.acoustic.environment import Span
from toolkit.acoustic.mobility import Mobility
from toolkit.laws import require

Floats = NDArray[np.float64]
DAY_S = 86_400.0
RUN = Span(datetime(2001, 7, 2, tzinfo=UTC), -DAY_S, DAY_S)
TOP_SPEED_M_S = 5.0
"""Nothing that carries a modem here is faster."""


class Stream:
    """A semidiurnal current of amplitude one."""

    def height_m(self, t_s: ArrayLike) -> Floats:
        return np.zeros(np.shape(t_s))

    def current(self, t_s: ArrayLike) -> Floats:
        flow: Floats = np.sin(2 * np.pi * np.asarray(t_s) / 44_712.0)
        return flow


def rng(seed: int = 1) -> np.random.Generator:
    """Return the dice of a run."""
    return np.random.default_rng(seed)


def homes_m() -> Floats:
    """Return twelve places (12, 3), the first at the surface."""
    places = rng(0).uniform([0, 0, 0], [1000, 800, 300], (12, 3))
    places[0, 2] = 0.0
    return places


def asking_twice_or_in_another_order_gives_the_same_places(part: Mobility) -> None:
    """Where a node is depends on the time alone."""
    move, again = (part.init(homes_m(), RUN, Stream(), rng()) for _ in range(2))
    t_s = np.linspace(RUN.first_s, RUN.last_s, 60)
    places = [move(t).copy() for t in t_s]
    for i in rng(2).permutation(60):
        require(np.array_equal(move(t_s[i]), places[i]), f"asked again, nodes are elsewhere at {t_s[i]:.0f} s")
        require(np.array_equal(again(t_s[i]), places[i]), f"asked in another order, nodes are elsewhere at {t_s[i]:.0f} s")


def nobody_jumps_and_nobody_flies(part: Mobility) -> None:
    """Nodes go at most 5 m/s and stay in the water."""
    move = part.init(homes_m(), RUN, Stream(), rng())
    before = move(RUN.first_s).copy()
    require(before.shape == homes_m().shape, f"places have the shape {before.shape}, and (nodes, 3) is due")
    for t_s in np.arange(RUN.first_s + 30.0, RUN.first_s + 50_000.0, 30.0):
        now = move(t_s).copy()
        speed_m_s = np.linalg.norm(now - before, axis=1).max() / 30.0
        require(speed_m_s <= TOP_SPEED_M_S, f"a node goes {speed_m_s:.1f} m/s at {t_s:.0f} s")
        require(now[:, 2].min() >= 0, f"a node is {-now[:, 2].min():.1f} m above the surface at {t_s:.0f} s")
        before = now


def nobody_sinks_below_the_bottom(part: Mobility) -> None:
    """Nodes all the way down, in water whose bottom is where the deepest of them was deployed."""
    depth_m = float(homes_m()[:, 2].max())
    move = part.start(homes_m(), RUN, Stream(), rng(), depth_m=depth_m)
    for t_s in np.linspace(RUN.first_s, RUN.last_s, 200):
        deepest_m = move(t_s)[:, 2].max()
        require(deepest_m <= depth_m + 1e-9, f"a node is {deepest_m - depth_m:.2f} m below the bottom at {t_s:.0f} s")


def homes_are_left_as_they_were(part: Mobility) -> None:
    """The places that it is given are others' too."""
    homes = homes_m()
    part.init(homes, RUN, Stream(), rng())(1000.0)
    require(np.array_equal(homes, homes_m()), "it changes the places that it was given")


LAWS = (
    asking_twice_or_in_another_order_gives_the_same_places, nobody_jumps_and_nobody_flies, nobody_sinks_below_the_bottom,
    homes_are_left_as_they_were,
)
