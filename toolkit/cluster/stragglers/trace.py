"""Slow-downs as they were measured."""

from __future__ import annotations

from bisect import bisect_right
from typing import final

from pydantic import Field

from toolkit.cluster.stragglers import Factor, Stragglers
from toolkit.cluster.topology import BuiltTopology
from toolkit.core.inputs import InputFile, number, read_columns
from toolkit.core.streams import Streams
from toolkit.errors import DataError


@final
class TraceStragglers(Stragglers):
    """A CSV with columns ``node, t_s, factor``: from `t_s` on the node takes `factor` times as long; before its first row, once."""

    file: InputFile = Field(description="CSV file with columns node, t_s, factor")

    def init(self, built: BuiltTopology, streams: Streams) -> Factor:
        columns = read_columns(self.file, ["node", "t_s", "factor"])
        rows = []
        for line, (name, t_s, factor) in enumerate(zip(*columns.values(), strict=True), start=2):
            value = number(self.file, line, "factor", factor)
            if value <= 0:
                raise DataError(f"{self.file}, line {line}: factor {value:g} must be above 0")
            rows.append((number(self.file, line, "t_s", t_s), built.index_of_node(name), value))
        times: dict[int, list[float]] = {}
        factors: dict[int, list[float]] = {}
        for at_s, node, value in sorted(rows):
            times.setdefault(node, []).append(at_s)
            factors.setdefault(node, []).append(value)

        def at(node: int, start_s: float) -> float:
            place = bisect_right(times.get(node, []), start_s)
            return factors[node][place - 1] if place else 1.0

        return at
