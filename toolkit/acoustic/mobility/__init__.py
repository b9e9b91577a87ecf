"""Mobility: where the nodes are at any time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.core.part import Part
from toolkit.errors import ScenarioError, ToolkitError


class Mobility(Part):
    """Moves all nodes of one kind. Depth grows downwards and stays within the water."""

    family: ClassVar[str] = "mobility"

    @abstractmethod
    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        """Return positions (n, 3) as x, y, depth in m as a function of time in s, a pure function of time for one run.

        *home_m* (n, 3) is where the nodes were deployed.
        """

    def check(self, depth_m: float) -> None:
        """Refuse settings that do not fit into water of *depth_m*.

        Raises:
            ScenarioError: a depth below the bottom.
        """

    def start(
        self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator, *, depth_m: float
    ) -> Callable[[float], Floats]:
        """Return what `init` does, for water of *depth_m*; the places are watched.

        Raises:
            ToolkitError: (when it moves) a node goes below the bottom.
        """
        return self.watched(self.init(home_m, span, tide, rng), depth_m)

    def watched(self, move: Callable[[float], Floats], depth_m: float) -> Callable[[float], Floats]:
        """Return *move*, which may take nobody below *depth_m*."""

        def position_m(t_s: float) -> Floats:
            moved_m = move(t_s)
            node = int(moved_m[:, 2].argmax())
            if moved_m[node, 2] > depth_m + 1e-6:
                raise ToolkitError(
                    f"mobility '{self.type_name()}' takes node {node} to {moved_m[node, 2]:.2f} m in water of {depth_m:g} m; "
                    "places have to stay above the bottom (fabric.layout.depth_m)"
                )
            return moved_m

        return position_m


def check_range(depth_range_m: tuple[float, float] | None, depth_m: float) -> None:
    """Refuse a range of depths that reaches below *depth_m*.

    Raises:
        ScenarioError: it does.
    """
    if depth_range_m is not None and depth_range_m[1] > depth_m:
        raise ScenarioError(
            f"fabric.mobility.depth_range_m: {depth_range_m[1]:g} m is below the bottom at fabric.layout.depth_m = {depth_m:g} m"
        )


class Box(NamedTuple):
    """The water that nodes may move in, as its lowest and highest x, y and depth in m."""

    low_m: Floats
    high_m: Floats

    @classmethod
    def around(
        cls, home_m: Floats, width_m: float | None, length_m: float | None, depth_range_m: tuple[float, float] | None = None
    ) -> Box:
        """Return the box of the deployed nodes; an extent that is given counts from 0, a depth range takes the place of theirs."""
        low_m, high_m = home_m.min(axis=0), home_m.max(axis=0)
        for axis, extent_m in enumerate((width_m, length_m)):
            if extent_m is not None:
                low_m[axis], high_m[axis] = 0.0, extent_m
        if depth_range_m is not None:
            low_m[2], high_m[2] = depth_range_m
        return cls(low_m, high_m)

    def reflect(self, free_m: Floats) -> Floats:
        """Fold paths (..., 3) that know no walls into the box, as if they were reflected at each wall."""
        extent_m = self.high_m - self.low_m
        safe_m = np.where(extent_m > 0, extent_m, 1.0)
        turn_m = np.mod(free_m - self.low_m, 2.0 * safe_m)
        inside_m = self.low_m + np.minimum(turn_m, 2.0 * safe_m - turn_m)
        return np.asarray(np.where(extent_m > 0, inside_m, self.low_m))


def along(times_s: Floats, points_m: Floats, t_s: float) -> Floats:
    """Return places (n, 3) at *t_s* on straight legs between *points_m* (m, n, 3), which are passed at the even *times_s* (m,).

    Before the first and after the last of these times nobody moves.
    """
    place = min(max((t_s - times_s[0]) / (times_s[1] - times_s[0]), 0.0), len(times_s) - 1.0)
    leg = min(int(place), len(times_s) - 2)
    share = place - leg
    return np.asarray((1.0 - share) * points_m[leg] + share * points_m[leg + 1])
