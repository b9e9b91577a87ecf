"""Fabrics: what carries messages between nodes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from toolkit.core.machines import Machines
from toolkit.core.part import Part

if TYPE_CHECKING:
    from simpy.events import Event

    from toolkit.core.context import Asking, Context
    from toolkit.core.world import World
    from toolkit.errors import ToolkitError


class Behaviour(Protocol):
    """What every node does; a `toolkit.core.program.Program` is one."""

    def run(self, ctx: Context) -> Asking:
        """Act as the node that *ctx* belongs to."""
        ...


class Sending(NamedTuple):
    """What every worker of a program hands over at the least, before any schedule multiplies it or a header is added."""

    nbytes: float
    """In one round."""
    rounds: int
    who: str
    """The subject of sentences: ``dense on mlp``."""


class Network(Protocol):
    """A fabric at work in one world."""

    @property
    def contexts(self) -> list[Context]:
        """One context per node, in the order of their ranks."""
        ...

    def launch(self, program: Behaviour) -> Event:
        """Start *program* on every node; the event fires when all have come to their end."""
        ...

    def deadlock(self) -> ToolkitError:
        """Say who waits for whom when nothing moves any more although programs are not at their end."""
        ...

    def finish(self) -> None:
        """Write what only the end of the run can tell: idle time, messages still under way."""
        ...


class Fabric(Part):
    """A kind of network: acoustic modems under water, links between machines."""

    family: ClassVar[str] = "fabric"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.{}.fabric",)
    ends_by_itself: ClassVar[bool] = False
    """Whether a run without `duration_s` ends, with its programs."""

    @abstractmethod
    def build(self, world: World) -> Network:
        """Put the network into *world* and start its processes."""

    def check(self, duration_s: float) -> None:
        """Raise a UserError for settings that only together, or with the data they name, turn out to be wrong."""

    def check_sending(self, sending: Sending, duration_s: float) -> None:
        """Raise a UserError where a program that sends so much cannot come to anything in *duration_s*; tell what will not be finished."""

    def machines(self) -> Machines:
        """Return the computers that programs choose among; none where a fabric has nodes of its own."""
        return Machines()

    def feedback(self) -> str:
        """Say why what programs do depends on what things cost here; empty where it does not and a run can be priced again."""
        return "this fabric keeps no scripts of what its programs asked for"

    def report_of(self, program: Behaviour) -> str:
        """Return the module whose report tells runs of *program* here; empty where that is the program's own, or this fabric's."""
        return ""

    def extras(self) -> dict[str, str]:
        """Facts about the set-up worth showing in the report's header (label to text)."""
        return {}
