"""The server's tools: who can be asked, sending them out, combining and evaluating, and the book of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.crowd import Errand
from toolkit.core.simulated import SimulatedContext
from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.meter import elementwise_work
from toolkit.methods.federated.book import Book
from toolkit.methods.federated.courier import Order, Update, courier_for
from toolkit.methods.federated.local import Local
from toolkit.methods.federated.settings import FederationSettings
from toolkit.methods.federated.work import HEADER_BYTES, vector_size
from toolkit.methods.trained import hand_out

ASKED = 32
"""How many clients are asked for each that is wanted, before everybody is."""
AGGREGATE = "aggregate"
"""Phase of what the server computes."""


class Server:
    """One run of a federation, seen from its server."""

    def __init__(
        self, program: FederationSettings, ctx: Context, local: Local, merits: Callable[[Server], dict[str, float]]
    ) -> None:
        self.program, self.ctx, self.local, self._merits = program, ctx, local, merits
        self.courier = courier_for(ctx, local)
        self.book = Book(ctx.size)
        self.weights: Tensor = local.initial.clone()
        """The model: weights and running statistics; nothing where nothing is learnt."""
        self.version = 0
        """How often the model was changed."""
        self.dimension = vector_size(program.task)
        self._everybody = np.arange(ctx.size)
        self._presence = program.availability.init(ctx.size, int(ctx.shared_rng("availability").integers(2**63)))
        self._busy: NDArray[np.bool_] = np.zeros(ctx.size, bool)
        self._visits: NDArray[np.int64] = np.zeros(ctx.size, np.int64)
        self._draws = 0
        self.own: dict[int, Tensor] = {}
        """What clients have learnt that share no model, by client."""
        self.collected = self.weights[:0]
        """Sum of updates of which no step was made yet."""
        self.collecting = 0
        """How many these are."""
        self.accuracy = float("nan")
        """On the test set, when it was last used."""
        for target in program.targets:
            ctx.metric("target", target)

    @property
    def has_clock(self) -> bool:
        """Whether times that are waited for pass."""
        return isinstance(self.ctx, SimulatedContext)

    def choose(self, most: int) -> NDArray[np.int64]:
        """Return up to *most* clients that are there and have nothing to do, drawn at random, in order."""
        if not most:
            return self._everybody[:0]
        self._draws += 1
        rng = self.ctx.shared_rng("sampling", self._draws)
        if ASKED * most < len(self._everybody):  # asking everybody would take longer than the rest of the run
            drawn = rng.integers(len(self._everybody), size=ASKED * most)
            first = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
            free = self._free(first)
            if len(free) >= most:
                return np.sort(free[:most])
        free = self._free(self._everybody)
        return np.sort(rng.choice(free, most, replace=False)) if len(free) > most else free

    def _free(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of *clients* that are there and have nothing to do."""
        return clients[self._presence.there(self.ctx.now, clients) & ~self._busy[clients]]

    def send_out(self, clients: NDArray[np.int64], starts: Tensor | list[Tensor] | None = None, nbytes: int | None = None) -> list[int]:
        """Send *clients* out, with the present model or each with its own start; return the numbers of their errands.

        A message has so many *nbytes*, by default those of the model.
        """
        program, local = self.program, self.local
        down_nbytes = program.message_nbytes if nbytes is None else nbytes
        until_s = self._presence.until_s(self.ctx.now, clients)
        begins: Iterator[Tensor]
        if isinstance(starts, list):
            begins = iter(starts)
        else:
            present = self.weights.clone()
            begins = (present for _ in clients)
        orders = [
            Order(
                Errand(
                    self.book.sent_out + place, client, local.work_of(client), int(local.steps[client]), down_nbytes, program.reply_nbytes,
                    HEADER_BYTES, program.limit_s, float(until_s[place]),
                ),
                start, int(self._visits[client]),
            )
            for place, (client, start) in enumerate(zip(clients.tolist(), begins, strict=True))
        ]
        self.book.sent_out += len(orders)
        self._busy[clients] = True
        self._visits[clients] += 1
        self.courier.send_out(orders)
        return [order.errand.number for order in orders]

    def wait(self, until_s: float = float("inf")) -> Asking:
        """Return the updates that come next, as a list; empty where *until_s* comes first."""
        updates: list[Update] = yield from self.courier.wait(until_s)
        for update in updates:
            self._busy[update.ended.client] = False
        return updates

    def pause(self) -> Asking:
        """Look again in a while: nobody is there."""
        before_s = self.ctx.now
        yield self.ctx.sleep(self.program.retry_s)
        if not self.has_clock and self.ctx.now - before_s < self.program.retry_s:
            raise ScenarioError("program.availability: no client is there, and this driver has no clock to wait by; use type: always")

    def compute(self, work: Work) -> Asking:
        """Charge what combining updates takes."""
        yield self.ctx.compute(work.beyond_first(), AGGREGATE)

    def passes(self, count: int, *, flops: float, reads: float, writes: float, launches: float) -> Work:
        """Return the work of *count* times so many operations, reads, writes and kernels for each number of the model."""
        return elementwise_work(self.dimension, flops=flops, reads=reads, writes=writes, launches=launches).times(count)

    def advance(self) -> None:
        """There is a new version of the model."""
        self.version += 1
        self.ctx.progress(self.version / self.program.rounds)
        if self.version % self.program.evaluate_every == 0:
            self.evaluate()

    def evaluate(self) -> None:
        """Record loss and accuracy of the model on the test set."""
        if not self.program.learn:
            return
        found = self._merits(self)
        self.accuracy = found["test_accuracy"]
        for name, value in found.items():
            self.ctx.metric(name, value, step=self.version)

    def finish(self) -> Asking:
        """Tell what it came to, and let the clients go."""
        program, ctx = self.program, self.ctx
        if self.version % program.evaluate_every:
            self.evaluate()
        ctx.metric("trained_s", ctx.now)
        self.book.tell(ctx, self.version)
        if program.learn and not self.own:
            model = self.local.load(self.weights).model
            hand_out(ctx, model, program.task.model, self.local.task.data, accuracy=self.accuracy)
        yield from self.courier.close()
