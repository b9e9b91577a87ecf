"""Exchanges: what one step of a method sends, in size-only payloads, one file each.

Each sends the bytes of its namesake in `toolkit.methods.distributed`, in the same messages (a test compares them with the real ones)
and takes the same settings; there are no small tensors that travel whole. Nothing here needs torch.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from pydantic import Field, model_validator

from toolkit.core.context import Asking, Context
from toolkit.core.part import Part
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.sketch_hash import LINE
from toolkit.learning.sketch_sizes import candidates, check_table, columns, picks


class Exchange(Part):
    """What workers (and servers) tell each other after a gradient of so many parameters."""

    family: ClassVar[str] = "exchange"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.methods.rehearsal.exchanges.{}",)
    needs_servers: ClassVar[bool] = False

    @abstractmethod
    def run(self, ctx: Context, parameters: int) -> Asking:
        """Make one step's messages as a worker."""

    def serve(self, ctx: Context, parameters: int) -> Asking:
        """Make one step's messages as a server, for exchanges that have one."""
        raise NotImplementedError(f"{self.type_name()} has no server part")

    @abstractmethod
    def wire_bytes(self, parameters: int) -> int:
        """Bytes that one worker hands over per step, before any schedule multiplies them."""

    def check(self, parameters: int) -> None:
        """Raise a ValueError where the settings do not go with so many parameters."""


class SparseExchange(Exchange):
    """An exchange about k of the coordinates."""

    k: int | None = Field(None, ge=1, description="coordinates chosen per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates chosen per step, where k is not given")

    def chosen(self, parameters: int) -> int:
        """Return k for so many parameters; at least one."""
        return picks(self.k, self.density, parameters)

    def check(self, parameters: int) -> None:
        if self.chosen(parameters) > parameters:
            raise ValueError(f"k: {self.k} coordinates per step, and there are {parameters} parameters; use at most {parameters}")


class SketchExchange(SparseExchange):
    """An exchange that finds its k coordinates by a sketch."""

    rows: int = Field(5, ge=1, description="rows of the sketch (r); odd")
    cols: int | None = Field(None, ge=LINE, description="columns of the sketch (c); without it 10 k")
    p2: int = Field(4, ge=1, description="candidates per chosen coordinate that are compared exactly")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        check_table(self.rows, self.cols)
        return self

    def cells(self, parameters: int) -> int:
        """Cells of the table."""
        return self.rows * columns(self.cols, self.chosen(parameters))

    def candidates(self, parameters: int) -> int:
        """Coordinates whose exact values are asked for."""
        return candidates(self.p2, self.chosen(parameters), parameters)


def floats(count: int) -> SizeOnlyPayload:
    """Return *count* float32 values (or int32 indices)."""
    return SizeOnlyPayload(count, FLOAT_BYTES)


def pairs(count: int) -> SizeOnlyPayload:
    """Return *count* float32 values with their int32 indices."""
    return SizeOnlyPayload(2 * count, FLOAT_BYTES)
