"""A client's part: its samples, its local steps, and what a message to it and back holds."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from toolkit.core.context import Context
from toolkit.core.work import Work
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import TrainState
from toolkit.methods.federated.settings import FederationSettings
from toolkit.methods.federated.splits import Deal, Split
from toolkit.methods.federated.work import HEADER, step_work
from toolkit.methods.loop import divergence_told
from toolkit.methods.task import TaskSpec

WORK, STOP, DONE, LEFT = 0.0, 1.0, 2.0, 3.0
"""What a message is: to a client work or the end, from it an update or a goodbye."""


def header(kind: float, steps: int = 0, until_s: float = math.inf) -> Tensor:
    """Return the first numbers of a message."""
    found = torch.tensor([kind, float(steps), 0.0, 0.0])
    found[2:] = torch.tensor([until_s], dtype=torch.float64).view(torch.float32)
    return found


def read_header(message: Tensor) -> tuple[float, int, float]:
    """Return what a message is, how many steps were taken, and the time in it."""
    return float(message[0]), int(message[1]), float(message[2:HEADER].clone().view(torch.float64))


class Local:
    """What all clients of one run have in common: the network that they take turns with in one process, and the samples of each."""

    def __init__(self, program: FederationSettings, ctx: Context) -> None:
        self.program = program
        self.task = task = program.task.load()
        self.deal = dealt(program.task, program.split, ctx.size, ctx.shared_rng("shards", ctx.size))
        self.sizes = self.deal.sizes
        self.batches = self.sizes.clip(max=program.batch)
        """Samples in each client's steps."""
        self.steps = program.epochs * (self.sizes // self.batches)
        """Of each client in a visit; samples that do not fill a batch are left out of an epoch."""
        self._works = {int(batch): step_work(program.task, int(batch), program.proximal) for batch in set(self.batches.tolist())}
        self.state: TrainState[None] | None = None
        self.initial = torch.zeros(0)
        """What is sent first: weights, then running statistics; nothing where nothing is learnt."""
        if program.learn:
            self.state = TrainState.create(task.build(torch_generator(ctx.shared_rng("model"))).to(ctx.accelerator), None)
            self._statistics = [buffer for buffer in self.state.model.buffers() if buffer.is_floating_point()]
            self.initial = self._read()

    @property
    def like(self) -> Tensor:
        """A message of the size of all."""
        return torch.zeros(HEADER + self.initial.numel(), device=self.initial.device)

    def work_of(self, client: int) -> Work:
        """Return the work of one of a client's steps."""
        return self._works[int(self.batches[client])]

    def load(self, vector: Tensor) -> TrainState[None]:
        """Give the network what a message holds, and return it."""
        assert self.state is not None
        size = self.state.weights.numel()
        self.state.weights.copy_(vector[:size])
        for buffer in self._statistics:
            buffer.copy_(vector[size : size + buffer.numel()].view_as(buffer))
            size += buffer.numel()
        return self.state

    def _read(self) -> Tensor:
        assert self.state is not None
        return torch.cat([self.state.weights, *(buffer.reshape(-1) for buffer in self._statistics)])

    def train(self, ctx: Context, start: Tensor, client: int, visit: int, steps: int) -> Tensor:
        """Return what *client* makes of *start* in *steps* of SGD on its own samples; nothing where nothing is learnt.

        *visit* counts how often it was sent out before. Each epoch of each visit has an order of its own.
        """
        program = self.program
        if not program.learn:
            return start
        state = self.load(start)
        share, batch = self.deal.of(client), int(self.batches[client])
        per_epoch, mu, anchor = len(share) // batch, program.proximal, start[: state.weights.numel()]
        if not state.model.training:  # going through all modules takes longer than a small layer
            state.model.train()
        with divergence_told("program.lr", f"{program.task.model.name} with {program.type_name()}"):
            for step in range(steps):
                epoch, place = divmod(step, per_epoch)
                if place == 0:
                    order = ctx.shared_rng("order", ctx.size, client, visit * program.epochs + epoch).permutation(len(share))
                chosen = share[order[place * batch : (place + 1) * batch]]
                images, labels = (each.to(ctx.accelerator) for each in self.task.data.batch("train", torch.from_numpy(chosen)))
                state.step = step
                state.backward(self.task.loss(state.model, images, labels), rate=program.lr)
                if mu:
                    state.gradient.add_(state.weights, alpha=mu).add_(anchor, alpha=-mu)
                state.weights.add_(state.gradient, alpha=-program.lr)
        return self._read()


_KEPT: dict[tuple[FederationSettings, int, int], Local] = {}


def local_of(program: FederationSettings, ctx: Context) -> Local:
    """Return what the clients of *ctx*'s run have in common: one for all that are in this process."""
    key = (program, ctx.size, int(ctx.shared_rng("shards", ctx.size).bit_generator.state["state"]["state"]))
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = Local(program, ctx)
    return _KEPT[key]


def dealt(task: TaskSpec, split: Split, clients: int, rng: np.random.Generator) -> Deal:
    """Return which client has which training samples."""
    return split.deal(task.load().data.train_labels.numpy(), clients, rng)
