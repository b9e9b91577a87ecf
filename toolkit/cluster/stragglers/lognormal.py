"""Every machine is slow at times: a factor that is drawn anew each while."""

from __future__ import annotations

from math import floor
from typing import final

import numpy as np
from pydantic import Field

from toolkit.cluster.stragglers import Factor, Stragglers
from toolkit.cluster.topology import BuiltTopology
from toolkit.core.streams import Streams


@final
class LognormalStragglers(Stragglers):
    """Lognormal slow-downs with mean 1, independent between nodes and between stretches of `hold_s`.

    The factor is a function of node and time alone, so all arms of a seed meet the same slow machines at the same times.
    """

    sigma: float = Field(0.5, gt=0, le=3, description="standard deviation of the logarithm of the factor")
    hold_s: float = Field(1.0, gt=0, description="how long one factor lasts")

    def init(self, built: BuiltTopology, streams: Streams) -> Factor:
        drawn: dict[tuple[int, int], float] = {}

        def factor(node: int, start_s: float) -> float:
            key = (node, floor(start_s / self.hold_s))
            if key not in drawn:
                normal = float(streams.shared("straggler", *key).standard_normal())
                drawn[key] = float(np.exp(self.sigma * normal - self.sigma**2 / 2))
            return drawn[key]

        return factor
