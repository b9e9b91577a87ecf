"""What all federated programs share: their settings, what is refused beforehand, and the two parts, the server's and the clients'."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field

from toolkit.core.bounds import Share
from toolkit.core.context import Asking, Context
from toolkit.core.crowd import CrowdFabric
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.part import default_part
from toolkit.core.program import Estimate, Process, Program
from toolkit.core.room import check_room
from toolkit.core.work import FLOAT_BYTES
from toolkit.errors import ScenarioError
from toolkit.methods.distributed.estimate import estimate
from toolkit.methods.federated.availability import Availability
from toolkit.methods.federated.courier import client_part
from toolkit.methods.federated.local import HEADER_BYTES, local_of, step_work, vector_size
from toolkit.methods.federated.server import Server
from toolkit.methods.federated.splits import Split
from toolkit.methods.task import TaskSpec

CROWD_BYTES, NODE_BYTES = 4_000, 40_000
"""What a client takes in this machine's memory where a fabric keeps it in a crowd, and where it is a node."""


class Federation(Program):
    """A server leads clients, the workers of its fabric, each of which takes a few epochs of SGD on its own data when it is asked.

    Work: a client's step costs what `toolkit.learning` counts for gradient and update (and the proximal term), loading among it; what the
    server does to combine updates is counted likewise. Evaluations cost nothing. A message holds weights and running statistics as
    float32, and 16 bytes that say what it is. With `learn: false` the same errands are priced and nothing is learnt.
    A client that has begun to send finishes. One that goes away before loses its work, and a message of 16 bytes tells so, as a connection
    does that breaks. A client that is late is not told, and comes back with an update that is thrown away.
    """

    led_by_server: ClassVar[bool] = True

    task: TaskSpec = TaskSpec()
    split: Split = default_part("iid", "which client has which samples")
    availability: Availability = default_part("always", "when clients are there")
    rounds: int = Field(100, ge=1, description="versions of the model that the server makes")
    epochs: int = Field(1, ge=1, description="local epochs of a visit (E)")
    batch: int = Field(10, ge=1, description="samples of a local step (B); a client with fewer takes all it has")
    lr: float = Field(0.1, gt=0, description="learning rate of the clients")
    evaluate_every: int = Field(5, ge=1, description="versions between two evaluations")
    retry_s: float = Field(10.0, ge=0.01, description="time in s after which the server looks again where no client is there")
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")
    learn: bool = Field(True, description="false: nothing is learnt, and errands cost what they would")
    targets: list[Share] = Field(default_factory=list, description="test accuracies whose first reaching is reported")

    @abstractmethod
    def serve(self, server: Server) -> Asking:
        """Lead the clients through all rounds."""

    @abstractmethod
    def at_once(self, clients: int) -> int:
        """Return how many of *clients* are out at a time, at most."""

    def merits(self, server: Server) -> dict[str, float]:
        """Return the figures of merit of the present version on the test set."""
        return server.local.task.evaluate(server.local.load(server.weights).model)

    @property
    def proximal(self) -> float:
        """Weight of the pull towards the weights that a client began with."""
        return 0.0

    @property
    def limit_s(self) -> float:
        """Time of computing in s after which a client begins no further step."""
        return math.inf

    @property
    def message_nbytes(self) -> int:
        """Bytes of a message with weights."""
        return HEADER_BYTES + FLOAT_BYTES * vector_size(self.task)

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

    def priced(self, fabric: Fabric) -> Estimate | None:
        """Return the costs of a run with `learn` false and the draws of seed 0: what a program's `estimate` says."""
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
        server = Server(self, ctx, local)
        yield from self.serve(server)
        yield from server.finish()

    @property
    def reply_nbytes(self) -> int:
        """Bytes of an update."""
        return self.message_nbytes
