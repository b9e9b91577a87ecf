"""Layout: where nodes and sinks are deployed."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from toolkit.core.part import Spec

Point = tuple[float, float, Annotated[float, Field(ge=0, description="depth in m: below the surface, so never negative")]]


class Layout(Spec):
    """Nodes in a water column with sinks at the surface, at given places or drawn at random.

    Random nodes are spread over a box of `width_m` x `length_m` x `depth_m` by a Latin hypercube: one node in each of `nodes`
    slices along every axis, so that no seed leaves half of the box empty. Sinks stand at the surface on an even grid.
    Ids count the nodes first, then the sinks.
    """

    nodes: int = Field(40, ge=0, le=100_000, description="number of sensor nodes, when positions_m is not given")
    sinks: int = Field(4, ge=0, le=500, description="number of surface sinks, when sink_positions_m is not given")
    width_m: float = Field(2000.0, gt=0, description="extent in x")
    length_m: float = Field(2000.0, gt=0, description="extent in y")
    depth_m: float = Field(1000.0, gt=0, description="depth of the water")
    shallowest_m: float = Field(20.0, ge=0, description="least depth of a random node")
    positions_m: list[Point] | None = Field(None, description="x, y, depth of every node")
    sink_positions_m: list[Point] | None = Field(None, description="x, y, depth of every sink")

    @model_validator(mode="after")
    def _someone_is_there(self) -> Self:
        if self.node_count < 1:
            raise ValueError("nodes: there are 0 nodes; a network needs at least 1")
        if self.sink_count < 1:
            raise ValueError("sinks: there is no sink; packets need at least 1 to go to")
        if self.shallowest_m >= self.depth_m:
            raise ValueError(f"shallowest_m: {self.shallowest_m:g} m is not above the bottom at depth_m = {self.depth_m:g} m")
        for place, points in (("positions_m", self.positions_m), ("sink_positions_m", self.sink_positions_m)):
            for index, (_, _, depth_m) in enumerate(points or ()):
                if depth_m > self.depth_m:
                    raise ValueError(f"{place}.{index}: depth {depth_m:g} m is below the bottom at depth_m = {self.depth_m:g} m")
        return self

    @property
    def node_count(self) -> int:
        return self.nodes if self.positions_m is None else len(self.positions_m)

    @property
    def sink_count(self) -> int:
        return self.sinks if self.sink_positions_m is None else len(self.sink_positions_m)

    def place_nodes(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return node positions (nodes, 3) as x, y, depth in m."""
        if self.positions_m is not None:
            return np.array(self.positions_m, dtype=np.float64).reshape(-1, 3)
        unit = np.stack([(rng.permutation(self.nodes) + rng.random(self.nodes)) / self.nodes for _ in range(3)], axis=1)
        extent_m = np.array([self.width_m, self.length_m, self.depth_m - self.shallowest_m])
        placed: NDArray[np.float64] = unit * extent_m + np.array([0.0, 0.0, self.shallowest_m])
        return placed

    def place_sinks(self) -> NDArray[np.float64]:
        """Return sink positions (sinks, 3): given ones, or the centres of an even grid of cells at the surface."""
        if self.sink_positions_m is not None:
            return np.array(self.sink_positions_m, dtype=np.float64).reshape(-1, 3)
        columns = int(np.ceil(np.sqrt(self.sinks)))
        rows = int(np.ceil(self.sinks / columns))
        cells = np.arange(self.sinks)
        x_m = (cells % columns + 0.5) / columns * self.width_m
        y_m = (cells // columns + 0.5) / rows * self.length_m
        return np.stack([x_m, y_m, np.zeros(self.sinks)], axis=1)
