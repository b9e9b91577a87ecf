"""Geometry of routing along vectors: how far a node is from one, and how far along it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Place = NDArray[np.float64]


class VectorHeader(NamedTuple):
    """Where the vector begins, where it ends, and where the forwarder is: x, y, depth in m each."""

    origin_m: Place
    target_m: Place
    forwarder_m: Place


def distance_to_line_m(place_m: Place, origin_m: Place, target_m: Place) -> float:
    """Distance of a place from the straight line through *origin_m* and *target_m*."""
    along = target_m - origin_m
    length_m = float(np.linalg.norm(along))
    if length_m == 0.0:
        return float(np.linalg.norm(place_m - origin_m))
    return float(np.linalg.norm(np.cross(along, place_m - origin_m))) / length_m


def advance_m(place_m: Place, forwarder_m: Place, target_m: Place) -> float:
    """Return d cos(theta): how much of the way from the forwarder to a place leads towards the target; negative for a step back."""
    along = target_m - forwarder_m
    length_m = float(np.linalg.norm(along))
    return float(np.dot(place_m - forwarder_m, along)) / length_m if length_m else 0.0
