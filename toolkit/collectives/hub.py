"""The hub of a star: a node without a vector of its own, which gathers those of the workers round after round and answers all of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from toolkit.collectives import Scheduled, adding
from toolkit.core.context import Asking, Context, Payload, Torn
from toolkit.core.size_only import SizeOnlyPayload

What = Literal["sum", "list"]


class ForHub:
    """A worker's vector on its way to the hub, and in one more byte what the hub is to make of all of them."""

    __slots__ = ("vector", "what")

    def __init__(self, what: What, vector: Payload) -> None:
        self.what = what
        self.vector = vector

    @property
    def nbytes(self) -> int:
        return self.vector.nbytes + 1

    def numel(self) -> int:
        return self.vector.numel()

    def clone(self) -> Self:
        return type(self)(self.what, self.vector.clone())

    def __getitem__(self, index: slice) -> Any:
        return self.vector[index]

    def __setitem__(self, index: slice, value: Any) -> None:
        self.vector[index] = value

    def __add__(self, other: Any) -> Any:
        return self.vector + other

    def __mul__(self, other: Any) -> Any:
        return self.vector * other


class Gathered:
    """The vectors of all workers that came in time, in the order of ranks, and a bit per worker that says whose they are."""

    __slots__ = ("size", "vectors")

    def __init__(self, vectors: list[Payload], size: int) -> None:
        self.vectors = vectors
        self.size = size

    @property
    def nbytes(self) -> int:
        return sum(vector.nbytes for vector in self.vectors) + -(-self.size // 8)

    def numel(self) -> int:
        """A list has no elements of its own: of one that is torn, nothing is of use."""
        return 0

    def clone(self) -> Self:
        return type(self)([vector.clone() for vector in self.vectors], self.size)

    def __getitem__(self, index: slice) -> Self:
        return self

    def __setitem__(self, index: slice, value: Any) -> None:
        """Nothing to keep."""

    def __add__(self, other: Any) -> Self:
        return self

    def __mul__(self, other: Any) -> Self:
        return self


class ByHub(Scheduled):
    """A schedule by way of the fabric's hub; with `deadline_s`, which needs one, rounds go on without what is late."""

    by_hub: ClassVar[bool] = True

    deadline_s: float | None = Field(None, gt=0, description="how long a hub waits after a round's first vector; none: for all")
    absent_after: int = Field(3, ge=1, description="rounds missed in a row after which a worker is not waited for")

    @property
    def exact(self) -> bool:
        return self.deadline_s is None

    def serve(self, ctx: Context) -> Asking:
        """Be the hub, for the other schedule of a star too."""
        return serve(ctx, self.deadline_s, self.absent_after)


def ask(ctx: Context, hub: int, question: ForHub, phase: str) -> Asking:
    """Send a vector to the *hub* and return its answer; what is still under way by then nobody needs."""
    coming = ctx.recv(hub, question.vector)
    sent = ctx.send(hub, question.nbytes, phase, question)
    answer = yield coming
    ctx.withdraw(sent)
    return answer


def serve(ctx: Context, deadline_s: float | None, absent_after: int) -> Asking:
    """Gather and answer for ever, as rank `ctx.hub` of a star; a round is over when all came that are waited for, or *deadline_s* are.

    Records, per round (`step`): ``counted_updates``, ``missing_updates``; and for each that came too late, or never, ``late_updates`` and
    ``lost_updates`` with the worker as `who`.
    """
    anything = SizeOnlyPayload(0)
    coming = [ctx.recv(worker, anything) for worker in range(ctx.size)]
    taken = [0] * ctx.size
    missed = [0] * ctx.size
    number = 0
    while True:
        found: dict[int, ForHub] = {}
        alarm: list[Any] = []
        while not found or any(worker not in found and missed[worker] < absent_after for worker in range(ctx.size)):
            place, item = yield ctx.wait_any([*coming, *alarm])
            if place == ctx.size:
                break
            coming[place] = ctx.recv(place, anything)
            its = taken[place]
            taken[place] += 1
            if isinstance(item, Torn):
                ctx.metric("lost_updates", 1.0, who=str(place), step=its)
            elif its < number:
                ctx.metric("late_updates", 1.0, who=str(place), step=its)
                missed[place] = 0  # it is there again, and will catch up
            else:
                found[place] = item
                if deadline_s is not None and not alarm:
                    alarm = [ctx.sleep(deadline_s)]
        for worker in range(ctx.size):
            missed[worker] = 0 if worker in found else missed[worker] + 1
        yield from _answer(ctx, found, number)
        number += 1


def _answer(ctx: Context, found: dict[int, ForHub], number: int) -> Asking:
    """Tell everybody what the vectors that came are together."""
    ranks = sorted(found)
    vectors = [found[rank].vector for rank in ranks]
    answer: Payload
    if found[ranks[0]].what == "list":
        answer = Gathered(vectors, ctx.size)
    else:
        answer = vectors[0].clone()
        for vector in vectors[1:]:
            answer = answer + vector
        yield ctx.compute(adding(answer).times(len(vectors)), "hub")
        if len(vectors) < ctx.size:
            answer[slice(0, answer.numel())] = answer * (ctx.size / len(vectors))  # in its own type, whole numbers too
    ctx.metric("counted_updates", len(vectors), step=number)
    ctx.metric("missing_updates", ctx.size - len(vectors), step=number)
    ctx.announce(range(ctx.size), answer.nbytes, "hub", answer)
