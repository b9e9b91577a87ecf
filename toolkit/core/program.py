"""Programs: what the nodes of a fabric do, written once per node."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from toolkit.core.machines import Needs
from toolkit.core.part import Part
from toolkit.errors import ScenarioError, shortened

if TYPE_CHECKING:
    from toolkit.core.context import Context
    from toolkit.core.fabric import Fabric, Sending

Process = Generator[Any, Any, Any]
"""What a simulated actor is: a generator that yields the events it waits for."""


TOO_LARGE = ("overflow", "allocate memory")
"""What torch says, in a RuntimeError, of a tensor that no machine holds."""


class Estimate(NamedTuple):
    """What a run is going to take, said before it begins."""

    flops: float
    moved_nbytes: float
    """Read and written in memory by computing."""
    sent_nbytes: float
    memory_nbytes: float
    """Needed at the worst moment on the machine that needs most."""
    storage_nbytes: float
    """Kept on that machine's storage."""
    time_s: float
    energy_j: float


class Program(Part):
    """A traffic source or a learning method: one generator per node, told apart by `ctx.rank`."""

    family: ClassVar[str] = "program"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.acoustic.traffic.{}", "toolkit.methods.{}.program", "toolkit.methods.federated.{}")
    report_at_sea: ClassVar[str] = "toolkit.at_sea.report"
    """The module by whose report a run over acoustic modems is told, of a program that needs machines."""

    @abstractmethod
    def run(self, ctx: Context) -> Process:
        """Act as node `ctx.rank` of `ctx.size`."""

    def needs(self) -> Needs | None:
        """Say what machines it needs; None where any network does."""
        return None

    def check_on(self, fabric: Fabric) -> None:
        """Raise a UserError where *fabric* has not what this program `needs`, or `check` finds something else."""
        needs = self.needs()
        if needs is not None:
            needs.check(fabric.machines(), fabric.type_name())
        try:
            self.check(fabric)
        except (RuntimeError, OverflowError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not any(word in str(error).lower() for word in TOO_LARGE):
                raise
            why = shortened(str(error).partition("\n")[0] or type(error).__name__)
            asks = f"program: {self.type_name()} asks for more than can be counted"
            raise ScenarioError(f"{asks} ({why}); make what it is told smaller") from error

    def check(self, fabric: Fabric) -> None:
        """Raise a UserError for settings that do not go with *fabric*, whose machines are as `needs` says: more memory than they have."""

    def sending(self, fabric: Fabric) -> Sending | None:
        """Return what every worker sends at the least; None where that is not known beforehand, or is nothing."""
        return None

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """Return what a run on *fabric* will take, without running it; None where this program cannot say."""
        return None

    def feedback(self) -> str:
        """Say why what this program does depends on what things cost; empty where it does not."""
        return ""
