"""Fabrics: what carries messages between nodes, and what a run over it is reported as."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

from toolkit.core.part import Part

if TYPE_CHECKING:
    import pandas as pd

    from toolkit.core.context import Context
    from toolkit.core.world import World
    from toolkit.report import Result


class Network(Protocol):
    """A fabric at work in one world."""

    @property
    def contexts(self) -> list[Context]:
        """One context per node, in the order of their ranks."""
        ...

    def finish(self) -> None:
        """Write what only the end of the run can tell: idle time, messages still under way."""
        ...


class Fabric(Part):
    """A kind of network: acoustic modems under water, links between machines."""

    family: ClassVar[str] = "fabric"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.{}.fabric",)

    @abstractmethod
    def build(self, world: World) -> Network:
        """Put the network into *world* and start its processes."""

    @abstractmethod
    def summarise(self, ledger: pd.DataFrame, metrics: pd.DataFrame, duration_s: float) -> list[tuple[str, str, float]]:
        """Return the report rows (metric, unit, value) of one run."""

    @abstractmethod
    def view(self) -> str:
        """Name the `View` of this fabric's results as ``module:NAME``; it is imported only when a report is made."""

    @abstractmethod
    def answers(self, result: Result) -> list[str]:
        """Return the findings as sentences, each carried by the numbers in *result*."""

    def check(self, duration_s: float) -> None:
        """Raise a UserError for settings that only together, or with the data they name, turn out to be wrong."""

    def extras(self) -> dict[str, str]:
        """Facts about the set-up worth showing in the report's header (label to text)."""
        return {}
