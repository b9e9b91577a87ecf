"""The context of one node: the calls that cost anything, and little else.

A program is a generator that yields what its context's calls return. Three contexts drive the same program:
`toolkit.core.simulated.SimulatedContext` (events of the simulator, costs charged), `toolkit.core.local.LocalContext` (no clock, no costs),
and `toolkit.cluster.distributed.DistributedContext` (real processes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.core.work import Work
from toolkit.errors import ScenarioError

Asking = Generator[Any, Any, Any]
"""What a program or a collective is: a generator that yields what it waits for."""


class Payload(Protocol):
    """What travels in a message: a torch tensor, or a `toolkit.core.size_only.SizeOnlyPayload` where only the size matters."""

    @property
    def nbytes(self) -> int: ...
    def numel(self) -> int: ...
    def clone(self) -> Self: ...
    def __getitem__(self, index: slice, /) -> Self: ...
    def __setitem__(self, index: slice, value: Any, /) -> None: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...


class Delivery(NamedTuple):
    """How one message ended. Loss is a value; a bug is an exception."""

    outcome: str
    """``delivered`` or ``lost``."""
    t0_s: float
    t1_s: float
    hops: int
    reason: str = ""
    """Why it was lost (``collision``, ``noise``, ``void`` …)."""


class Torn(NamedTuple):
    """What `recv` gives instead of a payload where parts of a message, or all of it, never came.

    Only programs that say so in `Needs.survives_loss` are ever given one; nothing stands in for what is missing.
    """

    nbytes: int
    """Size of the whole message, as far as the receiver knows it; 0 where nothing of it came."""
    missing: tuple[tuple[int, int], ...]
    """The bytes that never came, as ranges (first, one after the last), in order and without overlap."""
    pieces: tuple[tuple[slice, Payload], ...] = ()
    """The elements that came whole: where in the vector, and which."""

    def filled(self, template: Payload) -> Payload:
        """Return a copy of *template* with what came in it: for methods that choose what stands for the rest."""
        whole = template.clone()
        for place, piece in self.pieces:
            whole[place] = piece
        return whole


class PeerLost(Exception):  # noqa: N818 - an event of the simulated or real world, not an error of the program
    """A worker is gone for good; thrown into the programs of those that are left once they can know it."""

    def __init__(self, node: int, restart_s: float = 0.0) -> None:
        super().__init__(f"node {node} is gone")
        self.node = node
        self.restart_s = restart_s
        """Time that forming the new group takes."""


class Schedule(Protocol):
    """How workers exchange messages so that each of them ends with the sum, or with the vectors, of all."""

    @classmethod
    def type_name(cls) -> str: ...
    def run(self, ctx: Context, x: Payload, phase: str) -> Asking: ...


class Schedules(Protocol):
    """The schedules that a group of workers uses; `toolkit.collectives.Collectives` is one."""

    @property
    def all_reduce(self) -> Schedule: ...
    @property
    def all_gather(self) -> Schedule: ...
    def broadcast(self, ctx: Context, x: Payload, root: int, phase: str) -> Asking: ...


class Context(ABC):
    """What a program sees of the world: its rank, its processor, its network, its random numbers.

    `rank` counts the workers of the present group from 0 to ``size - 1``; servers, where there are any, are ranks ``size`` to
    ``size + servers - 1``. `node` never changes. `compute`, `store`, `send` and `recv` are the only calls that take time or energy.
    """

    rank: int
    size: int
    servers: int = 0
    node: int
    collectives: Schedules | None = None
    accelerator: str = "cpu"
    """Where torch computes; real processes may have a GPU."""
    handed_out: tuple[Mapping[str, NDArray[np.generic]], Mapping[str, Any]] | None = None
    """The network that the program has left here, if any; parts of it apart."""
    may_lose_peers: bool = False
    """Whether `PeerLost` can come, so that a program has to keep what it would go back to."""
    hub: int | None = None
    """Rank of a node that adds up vectors for the workers and has none of its own (a sink); None where there is no such node."""

    @property
    def is_server(self) -> bool:
        return self.rank >= self.size

    @property
    def neighbours(self) -> Mapping[int, int]:
        """Ranks of the workers that this one tells things directly, and how many neighbours each of those has: the two next on a ring,
        where a fabric says nothing else. Who is a neighbour has this one as a neighbour.
        """
        near = {(self.rank + step) % self.size for step in (-1, 1)} - {self.rank}
        return dict.fromkeys(sorted(near), len(near))

    @property
    def leads(self) -> bool:
        """Whether this worker records what all have in common: the first one, or the first that is left."""
        return self.rank == 0

    def hand_out(self, weights: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any], part: str = "") -> None:
        """Leave a trained network to whoever runs this: weights by name, and what they belong to; costs nothing.

        A program may leave others beside it, such as a smaller one that it holds, each as a *part* by name.
        """
        if not part:
            self.handed_out = weights, facts

    @property
    @abstractmethod
    def now(self) -> float:
        """Time in s; 0 where there is no clock."""

    @abstractmethod
    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> Any:
        """Run *work* on this node's processor, after whatever it is already doing.

        Several may be asked for before the first is waited for. *share* is the part of its phase that *work* is, for machines that were
        told how long the whole phase takes.
        """

    @abstractmethod
    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> Any:
        """Read and write so much of this node's storage (flash, card, disk), after whatever that is already doing."""

    @abstractmethod
    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Payload | None = None) -> Any:
        """Start a message of *nbytes* to rank *dst*; what is returned can be yielded, and gives a `Delivery` when it has arrived.

        The payload is copied, so the sender may go on changing it; it never affects the size.
        """

    def announce(self, ranks: Sequence[int], nbytes: int, phase: str, payload: Payload) -> Any:
        """Start the same message to several ranks; each receives it as any other. What comes back is that of the last one.

        A message each, unless a fabric can tell many at once.
        """
        sent = None
        for rank in ranks:
            sent = self.send(rank, nbytes, phase, payload)
        return sent

    def handed_over(self, sent: Any) -> Any:
        """Wait until what `send` returned is with its receiver, even where a message that is yielded counts as arrived at once.

        Only where the receiver is certain to ask for it, whatever this rank does next: others wait for ever.
        """
        return sent

    @abstractmethod
    def recv(self, src: int, like: Payload) -> Any:
        """Wait for the next message of rank *src*; yielding gives its payload, which has the size and type of *like*.

        Messages between two ranks are received in the order in which they were sent. Where messages may be lost, and the program has
        said that it can live with that, what comes may be a `Torn`.
        """

    def chance_of_frame(self, bits: int) -> tuple[float, Work]:
        """Return the chance, by forecast, that a frame of *bits* gets on its way from here now, and the work of forecasting it.

        1 where links lose nothing.
        """
        return 1.0, Work()

    def withdraw(self, sent: Any) -> None:  # noqa: B027 - elsewhere messages arrive whatever becomes of them
        """Give up the message that `send` returned, if it is still under way: nobody needs it any more."""

    @abstractmethod
    def wait_any(self, futures: Sequence[Any]) -> Any:
        """Wait for whichever of *futures* (what `recv` returned) comes first; yielding gives its place among them and its payload.

        The others stay good, and can be waited for again. Of several that are there already the earliest in the list is taken. What a
        program does next then depends on what things cost, so it must say so in `Program.feedback`.
        """

    def first(self, futures: Sequence[Any]) -> Any:
        """Wait for whichever comes first: the older name of `wait_any`."""
        return self.wait_any(futures)

    @abstractmethod
    def sleep(self, delay_s: float) -> Any:
        """Do nothing for a while."""

    @abstractmethod
    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        """Record an observed value at the present time."""

    def progress(self, share: float) -> None:  # noqa: B027 - only some drivers have anybody who watches
        """Say what share of the program is done, for those who watch."""

    def save(self, step: int, state: Any) -> None:  # noqa: B027 - only real processes keep anything
        """Keep *state* (plain values and tensors) after *step* steps, where the driver keeps any: real processes do."""

    def saved(self) -> Any:
        """Return the state kept last, by which a stopped program goes on; None where there is none."""
        return None

    @abstractmethod
    def rng(self, *name: object) -> np.random.Generator:
        """This node's own random stream of that name."""

    @abstractmethod
    def shared_rng(self, *name: object) -> np.random.Generator:
        """A stream that begins anew at each call and is the same on every node, for what all must draw alike.

        Put the node or the step into the name where draws should differ; a resumed run then needs no saved state.
        """

    def fresh_rng(self, *name: object) -> np.random.Generator:
        """Return a shared stream: the older name of `shared_rng`."""
        return self.shared_rng(*name)

    def all_reduce(self, x: Payload, phase: str = "all_reduce", schedule: Schedule | None = None) -> Asking:
        """Return the sum of *x* over all workers, the same bits on each of them.

        Every worker calls it at the same place of its program (with a parameter server, the servers too, giving a template of *x*).
        A *schedule* that a method insists on takes the place of the fabric's.
        """
        chosen = schedule or self._schedules().all_reduce
        kind = f"all_reduce:{schedule.type_name()}" if schedule else "all_reduce"
        return (yield from self._collective(kind, x, phase, chosen.run(self, x, phase)))

    def all_gather(self, x: Payload, phase: str = "all_gather") -> Asking:
        """Return the list of every worker's *x* by rank; all must have the same size."""
        return (yield from self._collective("all_gather", x, phase, self._schedules().all_gather.run(self, x, phase)))

    def broadcast(self, x: Payload, root: int = 0, phase: str = "broadcast") -> Asking:
        """Return worker *root*'s *x* on every worker; the others give a template of it."""
        return (yield from self._collective("broadcast", x, phase, self._schedules().broadcast(self, x, root, phase), root))

    def _schedules(self) -> Schedules:
        if self.collectives is None:
            raise ScenarioError("program: works with all workers together, and this fabric has no collectives; use fabric: cluster")
        return self.collectives

    def _collective(self, kind: str, x: Payload, phase: str, schedule: Asking, root: int = 0) -> Asking:
        """Where a driver may watch a collective or put something else in its place."""
        return (yield from schedule)
