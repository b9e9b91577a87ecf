"""Collectives: how workers sum, gather and spread vectors, as schedules of messages.

A schedule is a generator over `ctx.send`, `ctx.recv` and `ctx.compute`, so the simulator, plain local training and real processes
exchange the same messages. Every rank ends with the same bits: each element is summed in one place and copied, or summed everywhere
in an order that gives the same rounding.

Whoever sends and receives in one round asks for what it will receive first: real processes announce a receive on the same connection
that carries what they send, and behind a long vector the announcement would wait, so that the two directions would take turns.

Sources: Thakur, Rabenseifner and Gropp 2005 (schedules and costs); the closed forms assume one message at a time in each direction
(full duplex), the same `alpha_s` and `beta_s_per_byte` between any two ranks, and no contention. They are exact for the ring and the
parameter server with any number of ranks, for the others with a power of two; with other numbers, ranks that are early overlap
what the form counts one after another, and the forms are off by up to a third.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from toolkit.core.context import Asking, Context, Payload
from toolkit.core.part import Part, Spec, default_part
from toolkit.core.work import Work


class LinkCost(NamedTuple):
    """The three constants of the closed forms."""

    alpha_s: float
    """Time of an empty message."""
    beta_s_per_byte: float
    """Time a byte takes on the wire."""
    gamma_s_per_byte: float
    """Time to add a received byte to what is there."""


class Scheduled(Part):
    """What all schedules say of themselves."""

    by_hub: ClassVar[bool] = False
    """Whether a fabric's hub takes part, where it has one: `serve` is what the hub does."""

    @property
    def exact(self) -> bool:
        """Whether every worker's vector is always in what comes out; else methods have to say that they can live without."""
        return True

    def serve(self, ctx: Context) -> Asking:
        """Be the hub of this schedule, for ever."""
        raise NotImplementedError(f"{self.type_name()} has no hub")


class AllReduce(Scheduled):
    """A schedule that sums a vector over all workers."""

    family: ClassVar[str] = "all-reduce"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.collectives.all_reduce.{}",)

    @abstractmethod
    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        """Return the sum of *x* over all workers as a new vector; the same bits on every rank."""

    @abstractmethod
    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 0) -> float:
        """Closed form of its duration for *nbytes* on each of *size* workers, where the vector divides evenly."""

    @abstractmethod
    def total_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        """Bytes that all ranks together send."""

    @abstractmethod
    def busiest_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        """Bytes that the rank sends which sends most."""


class AllGather(Scheduled):
    """A schedule after which every worker has every worker's vector."""

    family: ClassVar[str] = "all-gather"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.collectives.all_gather.{}",)

    @abstractmethod
    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        """Return the list of all workers' *x*, by rank."""

    @abstractmethod
    def seconds(self, nbytes: float, size: int, cost: LinkCost) -> float:
        """Closed form of its duration for *nbytes* of each of *size* workers."""

    def total_bytes(self, nbytes: float, size: int) -> float:
        """Bytes that all ranks together send: everybody has to receive what the others have, once."""
        return size * (size - 1) * nbytes


class Collectives(Spec):
    """Which schedules a group of workers uses. Any number of workers."""

    all_reduce: AllReduce = default_part("ring", "schedule by which vectors are added up")
    all_gather: AllGather = default_part("ring", "schedule by which everybody gets everybody's vector")

    @property
    def inexact(self) -> str:
        """The setting of a schedule that may leave out what a worker gave to it; empty where none does."""
        chosen = {"all_reduce": self.all_reduce, "all_gather": self.all_gather}
        return next((f"fabric.collectives.{name}" for name, schedule in chosen.items() if not schedule.exact), "")

    def broadcast(self, ctx: Context, x: Payload, root: int, phase: str) -> Asking:
        """Binomial tree from *root*: ceil(log2 P) rounds."""
        return (yield from binomial_broadcast(ctx, x, root, phase))


def post(ctx: Context, dst: int, x: Payload, phase: str) -> object:
    """Start sending *x* to rank *dst*."""
    return ctx.send(dst, x.nbytes, phase, x)


def arrived(messages: Iterable[object]) -> Asking:
    """Wait until all *messages* have arrived."""
    for message in messages:  # noqa: UP028 - `yield from messages` would send the deliveries into the list
        yield message


def adding(x: Payload) -> Work:
    """The work of adding a received vector to one that is there: one addition per element, two reads, one write."""
    return Work(float(x.numel()), 2.0 * x.nbytes, float(x.nbytes))


def depth(size: int) -> int:
    """Return ceil(log2 *size*)."""
    return (size - 1).bit_length()


def binomial_broadcast(ctx: Context, x: Payload, root: int, phase: str) -> Asking:
    """Return the *x* of rank *root* on every rank, doubling the number of ranks that have it in each round."""
    size = ctx.size
    me = (ctx.rank - root) % size
    step = 1 << depth(size)
    if me:
        step = me & -me  # the lowest set bit says in which round one is told, and by whom
        x = yield ctx.recv((me - step + root) % size, x)
    step >>= 1
    while step:
        if me + step < size:
            yield ctx.handed_over(post(ctx, (me + step + root) % size, x, phase))  # the next one would share the way with it
        step >>= 1
    return x


def binomial_reduce(ctx: Context, x: Payload, phase: str) -> Asking:
    """Return the sum of *x* over all ranks on rank 0 (elsewhere a partial one), pairs first, then pairs of pairs."""
    total = x.clone()
    below = ctx.rank & -ctx.rank or 1 << depth(ctx.size)  # the lowest set bit says in which round one sends, and to whom
    children = [ctx.rank + (1 << level) for level in range(depth(below)) if ctx.rank + (1 << level) < ctx.size]
    for waiting in [ctx.recv(child, total) for child in children]:
        received = yield waiting
        total = total + received
        yield ctx.compute(adding(total), phase)
    if ctx.rank:
        yield post(ctx, ctx.rank - below, total, phase)
    return total
