"""Couriers: how errands get to clients and back, by messages between nodes or by a crowd that a fabric keeps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.crowd import DOWN, GRADIENT, UP, Crowd, Ended, Errand, HasCrowd
from toolkit.methods.federated.local import DONE, LEFT, STOP, WORK, Local, header, read_header
from toolkit.methods.federated.work import HEADER

END = "end"
"""Phase of the last message to a client."""


class Order(NamedTuple):
    """An errand, with what the client begins with."""

    errand: Errand
    start: Tensor
    visit: int
    """How often the client was sent out before."""


class Update(NamedTuple):
    """What came of an errand."""

    ended: Ended
    start: Tensor
    """What the client began with."""
    vector: Tensor
    """The client's weights; nothing if it left, or nothing is learnt."""


class Courier(ABC):
    """Takes orders to clients; `wait` gives back what comes of them, all that is there at a time together."""

    def __init__(self, ctx: Context, local: Local) -> None:
        self.ctx, self.local = ctx, local
        self.out: dict[int, Order] = {}
        """Under way, by number."""

    def send_out(self, orders: Sequence[Order]) -> None:
        """Start the way of *orders* to their clients."""
        self.out.update((order.errand.number, order) for order in orders)
        self._start(orders)

    @abstractmethod
    def _start(self, orders: Sequence[Order]) -> None: ...

    @abstractmethod
    def wait(self, until_s: float) -> Asking:
        """Return a list of `Update`, in the order of their numbers; empty where *until_s* comes first. Something must be under way."""

    @abstractmethod
    def close(self) -> Asking:
        """Wait for what is still under way, and let the clients go."""


class Messages(Courier):
    """By `ctx.send` and `ctx.recv`: any fabric, and real processes. A client is `client_part`."""

    def __init__(self, ctx: Context, local: Local) -> None:
        super().__init__(ctx, local)
        self._mail: dict[int, Any] = {}
        """What is waited for, by number."""

    def _start(self, orders: Sequence[Order]) -> None:
        for order in orders:
            errand = order.errand
            message = torch.cat([header(WORK, 0, errand.until_s).to(order.start.device), order.start])
            self.ctx.send(errand.client, errand.down_nbytes, DOWN, message)
            self._mail[errand.number] = self.ctx.recv(errand.client, self.local.like)

    def wait(self, until_s: float) -> Asking:
        updates: list[Update] = []
        while self._mail:
            numbers = list(self._mail)
            awaited = [self._mail[number] for number in numbers]
            if updates:
                awaited.append(self.ctx.sleep(0.0))  # whatever else is there now
            elif math.isfinite(until_s):
                awaited.append(self.ctx.sleep(max(0.0, until_s - self.ctx.now)))
            place, message = yield self.ctx.wait_any(awaited)
            if place == len(numbers):
                break
            number = numbers[place]
            del self._mail[number]
            order = self.out.pop(number)
            kind, steps, _ = read_header(message)
            updates.append(Update(Ended(number, order.errand.client, kind == LEFT, steps), order.start, message[HEADER:]))
        return sorted(updates, key=lambda update: update.ended.number)

    def close(self) -> Asking:
        while self._mail:
            yield from self.wait(math.inf)
        like = self.local.like
        like[:HEADER] = header(STOP)
        sent = [self.ctx.send(client, HEADER * like.itemsize, END, like) for client in range(self.ctx.size)]
        for message in sent:
            yield self.ctx.handed_over(message)


class ByCrowd(Courier):
    """By a crowd; what clients learn is worked out when they come back, by the server's process."""

    def __init__(self, ctx: Context, local: Local, crowd: Crowd) -> None:
        super().__init__(ctx, local)
        self._crowd = crowd

    def _start(self, orders: Sequence[Order]) -> None:
        self._crowd.send_out([order.errand for order in orders], self.ctx.now)

    def wait(self, until_s: float) -> Asking:
        at_s, ended = self._crowd.next_ended(self.ctx.now, until_s)
        yield self.ctx.sleep(max(0.0, at_s - self.ctx.now))
        updates = []
        for each in sorted(ended):
            order = self.out.pop(each.number)
            vector = order.start[:0]
            if not each.left:
                vector = self.local.train(self.ctx, order.start, each.client, order.visit, each.steps)
            updates.append(Update(each, order.start, vector))
        return updates

    def close(self) -> Asking:
        while self.out:
            at_s, ended = self._crowd.next_ended(self.ctx.now, math.inf)
            yield self.ctx.sleep(max(0.0, at_s - self.ctx.now))
            for each in ended:
                del self.out[each.number]


def courier_for(ctx: Context, local: Local) -> Courier:
    """Return the courier of a server: by a crowd where the fabric keeps one."""
    if isinstance(ctx, HasCrowd) and ctx.crowd is not None:
        return ByCrowd(ctx, local, ctx.crowd)
    return Messages(ctx, local)


def client_part(ctx: Context, local: Local, limit_s: float, goodbye_nbytes: int, up_nbytes: int) -> Asking:
    """Act as a client: wait for work, do it, send what came of it, until told to stop.

    Args:
        ctx: of the client.
        local: what the clients have in common.
        limit_s: no step but the first begins after so much computing; a driver without a clock takes no notice.
        goodbye_nbytes: of the message of a client that leaves before it is done.
        up_nbytes: of an update.
    """
    client, server, visit = ctx.rank, ctx.size, 0
    work, whole = local.work_of(client), int(local.steps[client])
    while True:
        message = yield ctx.recv(server, local.like)
        kind, _, until_s = read_header(message)
        if kind == STOP:
            return
        begun_s, steps = ctx.now, 0
        while steps < whole and ctx.now < until_s and (not steps or ctx.now - begun_s < limit_s):
            yield ctx.compute(work, GRADIENT)
            steps += 1
        if ctx.now >= until_s:
            reply = local.like
            reply[:HEADER] = header(LEFT, steps)
            yield ctx.send(server, goodbye_nbytes, UP, reply)
        else:
            vector = local.train(ctx, message[HEADER:], client, visit, steps)
            yield ctx.send(server, up_nbytes, UP, torch.cat([header(DONE, steps).to(vector.device), vector]))
        visit += 1
