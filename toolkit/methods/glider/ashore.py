"""The network of a learner as one vector, and its copy ashore."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from toolkit.core.context import Context
from toolkit.learning.random import torch_generator
from toolkit.methods.continual.answering import accuracy
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.program import Continual
from toolkit.methods.continual.storage import BufferStorage


def vector_of(network: nn.Module) -> Tensor:
    """Return all numbers of *network* that decide what it answers (weights, running statistics) as one vector of float32."""
    return torch.cat([tensor.detach().reshape(-1).float() for tensor in _numbers(network)])


def size_of(network: nn.Module) -> int:
    """Return how many numbers `vector_of` gives."""
    return sum(tensor.numel() for tensor in _numbers(network))


def put(vector: Tensor, network: nn.Module) -> None:
    """Give *network* the numbers of *vector*, in the order of `vector_of`."""
    begin = 0
    with torch.no_grad():
        for tensor in _numbers(network):
            tensor.copy_(vector[begin : begin + tensor.numel()].view_as(tensor))
            begin += tensor.numel()


def _numbers(network: nn.Module) -> list[Tensor]:
    """All floating weights and buffers; without CLFD's books on which features a class keeps, which only training looks at."""
    books = {name for name, _ in network.named_buffers() if name.startswith("select.")}
    return [tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point() and name not in books]


class Examiner:
    """Says what the network of a learner answers with other numbers in it; starts with those from before anything was learnt."""

    def __init__(self, program: Continual, ctx: Context) -> None:
        """Build what the learner begins with, from the draws that all nodes share."""
        plan = program.run_plan(torch_generator(ctx.shared_rng("model")), ctx.shared_rng("stream"))
        self._learner = learner = Learner(
            plan.stream, plan.net, shared_rng=ctx.shared_rng, batch=program.batch, replay=program.replay, lr=program.lr, bn=program.bn,
            augment=program.augment, storage=BufferStorage(program.buffer.dtype), capacity=plan.capacity, sgd=program.sgd,
        )
        self._network = copy.deepcopy(program.method.answering(learner, program.method.init(learner)))
        self.begun = vector_of(self._network)
        """The numbers (d,) that it starts with."""
        learner.task = plan.stream.tasks - 1  # an answer may name any class: the shore does not know how far the learner is

    def accuracy(self, vector: Tensor) -> float:
        """Return the mean over all tasks of the stream of the share of test samples named right among all classes; free of charge."""
        put(vector, self._network)
        return accuracy(self._network, self._learner)
