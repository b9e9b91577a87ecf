"""Rounds: a synchronous server sends a cohort out, waits for it, and combines what came back."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking
from toolkit.core.fabric import Fabric
from toolkit.errors import ScenarioError
from toolkit.methods.federated.book import LATE, LEFT, SPARE
from toolkit.methods.federated.courier import Update
from toolkit.methods.federated.federation import Federation
from toolkit.methods.federated.server import Server


class Rounds(Federation):
    """A cohort is drawn among the clients that are there; what is missing at the deadline, or beyond as many as were wanted, is dropped.

    Source of over-selection and deadline: Bonawitz et al. 2019 (Towards federated learning at scale), section 2.
    """

    sampled: int | None = Field(None, ge=1, description="clients of a round; without it `sampled_share` of all")
    sampled_share: float = Field(0.1, gt=0, le=1, description="share of all clients that a round takes (C), one at least")
    over_selection: float = Field(0.0, ge=0, le=10, description="how many more are sent out than are wanted, as a share of these")
    deadline_s: float | None = Field(None, gt=0, description="time in s after which a round waits for nobody; without it for all")

    def wanted(self, clients: int) -> int:
        """Return how many updates a round combines, of so many *clients*."""
        return self.sampled if self.sampled is not None else max(1, round(self.sampled_share * clients))

    def at_once(self, clients: int) -> int:
        return min(clients, math.ceil(self.wanted(clients) * (1 + self.over_selection)))

    def check(self, fabric: Fabric) -> None:
        clients = len(fabric.machines().workers)
        if self.sampled is not None and self.sampled > clients:
            raise ScenarioError(f"program.sampled: {self.sampled} clients a round, and there are {clients}; use at most {clients}")
        super().check(fabric)
        if self.deadline_s is not None:
            self.check_deadline(fabric, "deadline_s", self.deadline_s, steps=1 if math.isfinite(self.limit_s) else None)

    def serve(self, server: Server) -> Asking:
        server.evaluate()
        overdue: dict[int, str] = {}
        for _ in range(self.rounds):
            begun_s = server.ctx.now
            taken = yield from self._round(server, overdue)
            if taken:
                yield from self.combine(server, taken)
            server.ctx.metric("round_s", server.ctx.now - begun_s, step=server.version + 1)
            server.ctx.metric("combined", float(len(taken)), step=server.version + 1)
            server.advance()

    def _round(self, server: Server, overdue: dict[int, str]) -> Asking:
        """Return the updates of one round in the order in which their clients were sent out.

        *overdue* holds the errands of earlier rounds that nobody waits for any more, and why what comes of them is dropped.
        """
        book, clients = server.book, server.ctx.size
        cohort = server.choose(self.at_once(clients))
        while not len(cohort):
            if overdue:
                for late in (yield from server.wait(server.ctx.now + self.retry_s)):
                    why = overdue.pop(late.ended.number)
                    book.dropped[LEFT if late.ended.left else why] += 1
            else:
                yield from server.pause()
            cohort = server.choose(self.at_once(clients))
        expected = set(self.dispatch(server, cohort))
        wanted, taken = min(self.wanted(clients), len(cohort)), list[Update]()
        limit_s = math.inf if self.deadline_s is None or not server.has_clock else server.ctx.now + self.deadline_s
        reason = SPARE
        while expected and len(taken) < wanted:
            updates: list[Update] = yield from server.wait(limit_s)
            if not updates:
                reason = LATE
                break
            for update in updates:
                number = update.ended.number
                why = overdue.pop(number, SPARE if len(taken) == wanted else "")
                expected.discard(number)
                if update.ended.left or why:
                    book.dropped[LEFT if update.ended.left else why] += 1
                else:
                    taken.append(update)
        overdue.update(dict.fromkeys(expected, reason))
        for update in taken:
            book.take(update.ended.client, 0)
        return sorted(taken, key=lambda update: update.ended.number)

    def dispatch(self, server: Server, cohort: NDArray[np.int64]) -> list[int]:
        """Send *cohort* out and return the numbers of their errands."""
        return server.send_out(cohort)

    def combine(self, server: Server, taken: list[Update]) -> Asking:
        """Make of *taken* the next version of the model: the mean of the clients' weights by their numbers of samples."""
        clearing = server.passes(1, flops=0, reads=0, writes=1, launches=1)
        yield from server.compute(clearing + server.passes(len(taken), flops=2, reads=2, writes=1, launches=1))
        if self.learn:
            server.weights = mean_by_samples([update.vector for update in taken], [self._samples(server, update) for update in taken])

    def _samples(self, server: Server, update: Update) -> int:
        return int(server.local.sizes[update.ended.client])


def mean_by_samples(vectors: list[Tensor], samples: list[int]) -> Tensor:
    """Return sum over k of (n_k / n) w_k, added up in order."""
    total = sum(samples)
    mean = torch.zeros_like(vectors[0])
    for vector, count in zip(vectors, samples, strict=True):
        mean.add_(vector, alpha=count / total)
    return mean
