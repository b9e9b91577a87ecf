"""Streams: an asynchronous server that always has some clients out, and changes the model whenever enough has come back."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field

from toolkit.core.context import Asking
from toolkit.core.fabric import Fabric
from toolkit.errors import ScenarioError
from toolkit.methods.federated.book import LEFT, SPARE
from toolkit.methods.federated.courier import Update
from toolkit.methods.federated.federation import Federation
from toolkit.methods.federated.server import Server


class Stream(Federation):
    """As many clients are out as `concurrency` says, if so many are there; who is back makes room for another.

    What has come back at one instant is taken first, and then others are sent out. An update's staleness is the number of versions that
    came since the one that its client began with.
    """

    concurrency: int = Field(10, ge=1, description="clients that are out at a time")

    def at_once(self, clients: int) -> int:
        return self.concurrency

    def check(self, fabric: Fabric) -> None:
        clients = len(fabric.machines().workers)
        if self.concurrency > clients:
            raise ScenarioError(f"program.concurrency: {self.concurrency} clients at a time, and there are {clients}; use at most that")
        super().check(fabric)

    def serve(self, server: Server) -> Asking:
        server.evaluate()
        begun_with: dict[int, int] = {}
        out = server.courier.out
        while server.version < self.rounds:
            free = self.concurrency - len(out)
            clients = server.choose(free)
            if len(clients):
                begun_with.update(dict.fromkeys(server.send_out(clients), server.version))
            if not out:
                yield from server.pause()
                continue
            short = len(clients) < free and server.has_clock
            updates: list[Update] = yield from server.wait(server.ctx.now + self.retry_s if short else float("inf"))
            for update in updates:
                number, client = update.ended.number, update.ended.client
                began = begun_with.pop(number)
                if update.ended.left or server.version == self.rounds:
                    server.book.dropped[LEFT if update.ended.left else SPARE] += 1
                    continue
                staleness = server.version - began
                server.book.take(client, staleness)
                changed = yield from self.take(server, update, staleness)
                if changed:
                    server.advance()

    @abstractmethod
    def take(self, server: Server, update: Update, staleness: int) -> Asking:
        """Use an update, so many versions old; return whether the model was changed."""
