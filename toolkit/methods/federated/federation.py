"""What all federated programs share: their settings, what is refused beforehand, and the two parts, the server's and the clients'."""

from __future__ import annotations

from abc import abstractmethod

import torch

from toolkit.core.context import Asking, Context
from toolkit.core.crowd import CrowdFabric
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.program import Estimate, Process
from toolkit.core.room import check_room
from toolkit.errors import ScenarioError
from toolkit.methods.distributed.estimate import estimate
from toolkit.methods.federated.courier import client_part
from toolkit.methods.federated.local import local_of
from toolkit.methods.federated.server import Server
from toolkit.methods.federated.settings import FederationSettings
from toolkit.methods.federated.work import HEADER_BYTES, step_work

CROWD_BYTES, NODE_BYTES = 4_000, 40_000
"""What a client takes in this machine's memory where a fabric keeps it in a crowd, and where it is a node."""


class Federation(FederationSettings):
    """A server leads clients, the workers of its fabric, each of which takes a few epochs of SGD on its own data when it is asked.

    Work: a client's step costs what `toolkit.learning` counts for gradient and update (and the proximal term), loading among it; what the
    server does to combine updates is counted likewise. Evaluations cost nothing. A message holds weights and running statistics as
    float32, and 16 bytes that say what it is. With `learn: false` the same errands are priced and nothing is learnt.
    A client that has begun to send finishes. One that goes away before loses its work, and a message of 16 bytes tells so, as a connection
    does that breaks. A client that is late is not told, and comes back with an update that is thrown away.
    """

    @abstractmethod
    def serve(self, server: Server) -> Asking:
        """Lead the clients through all rounds."""

    @abstractmethod
    def at_once(self, clients: int) -> int:
        """Return how many of *clients* are out at a time, at most."""

    def merits(self, server: Server) -> dict[str, float]:
        """Return the figures of merit of the present version on the test set."""
        return server.local.task.evaluate(server.local.load(server.weights).model)

    def needs(self) -> Needs:
        return Needs(self.type_name(), servers=(1, 1), survives=False)

    def check(self, fabric: Fabric) -> None:
        machines = fabric.machines()
        clients = len(machines.workers)
        if self.task.skew is not None:
            raise ScenarioError("program.task.skew: is of data-parallel training; say program.split: {type: dirichlet, alpha: …}")
        task = self.task.load()
        samples = len(task.data.train_labels)
        if samples < clients:
            raise ScenarioError(
                f"fabric.workers: {clients} clients share {samples} training samples, and the split of some is empty; use at most {samples}"
            )
        crowd = isinstance(fabric, CrowdFabric) and fabric.keeps_crowd
        if isinstance(fabric, CrowdFabric) and crowd:
            fabric.check_crowd()
        held = self.at_once(clients) * self.message_nbytes * self.learn
        check_room((CROWD_BYTES if crowd else NODE_BYTES) * clients + held, "fabric.workers", f"{clients} clients")
        machines.check_memory(task.memory_bytes(self.batch), f"{self.task.model.name} at batch {self.batch}")

    def check_deadline(self, fabric: Fabric, key: str, deadline_s: float, steps: int | None = None) -> None:
        """Raise a `ScenarioError` where no client, however quick, is back by *deadline_s*; *steps* of the quickest, all by default."""
        if not isinstance(fabric, CrowdFabric):
            return
        samples, clients = len(self.task.load().data.train_labels), len(fabric.machines().workers)
        batch = min(self.batch, max(1, samples // clients))
        least = steps or self.epochs * max(1, samples // clients // batch)
        quickest_s = fabric.quickest_s(step_work(self.task, batch, self.proximal), least, self.message_nbytes, self.message_nbytes)
        if quickest_s > deadline_s:
            raise ScenarioError(
                f"program.{key}: nobody can be back in {deadline_s:g} s; the quickest client with a mean share of the data needs "
                f"{quickest_s:.3g} s"
            )

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """Return the costs of a run with `learn` false and the draws of seed 0."""
        memory = self.task.load().memory_bytes(self.batch)
        return estimate(
            lambda _: self.model_copy(update={"learn": False}), fabric, steps=1, settles_after=0, cycle=1, memory_nbytes=memory,
        )

    def feedback(self) -> str:
        return "who is sent out, and when, depends on what things cost"

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        local = local_of(self, ctx)
        if not ctx.is_server:
            yield from client_part(ctx, local, self.limit_s, HEADER_BYTES, self.reply_nbytes)
            return
        server = Server(self, ctx, local, self.merits)
        yield from self.serve(server)
        yield from server.finish()
