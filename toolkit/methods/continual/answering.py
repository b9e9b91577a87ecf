"""Networks that come out of continual learning: what answers at the end, left on disk and built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from toolkit.core.context import Context
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.evaluation import BATCH
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet, Selection
from toolkit.methods.trained import facts_of, leave
from toolkit.models.parted import Parted

if TYPE_CHECKING:
    from toolkit.methods.task import TaskSpec


def leave_networks(ctx: Context, task: TaskSpec, method: ContinualMethod, learner: Learner, state: Any) -> None:
    """Leave the network that answers for *method*, and its subnets, to whoever runs this.

    One that is the user's alone is left as that; one with a part of the method in it says which method that is.
    """
    network = method.answering(learner, state)
    data, stream = learner.stream.dataset, learner.stream
    order = [label for labels in stream.classes for label in labels]
    names = [data.classes[label] if data.classes else str(label) for label in dict.fromkeys(order)]
    facts = facts_of(task.model, data) | {"classes": names}
    told = {"continual": {"method": method.dump(), "features": task.model.features, "classifier": task.model.classifier}}
    plain = as_built(network)
    if plain is not None:
        leave(ctx, plain, {**facts, "test_accuracy": accuracy(network, learner)})
    else:
        leave(ctx, network.state_dict(), {**facts, **told, "test_accuracy": accuracy(network, learner)})
    for part, (config, subnet) in method.subnets(learner, state).items():
        sizes = {"widths": list(config.widths), "expands": list(config.expands)}
        own = {**facts, "continual": {**told["continual"], "subnet": sizes}, "test_accuracy": accuracy(subnet, learner)}
        leave(ctx, subnet.state_dict(), own, part)


def as_built(network: nn.Module) -> dict[str, Tensor] | None:
    """Return the weights by the names that they have in the network as its builder gave it; None where a method has added to it."""
    if type(network) is not ContinualNet or network.has_front or type(network.select) is not Selection:
        return None
    return network.model.whole_state() if isinstance(network.model, Parted) else network.model.state_dict()


@torch.no_grad()
def accuracy(network: nn.Module, learner: Learner) -> float:
    """Return the mean over all tasks of the share of test samples that *network* names right, among all classes seen."""
    training = network.training
    network.eval()
    shares = []
    for task in range(learner.stream.tasks):
        test = learner.stream.test(task)
        found = [network(learner.clean(images))[:, : learner.seen].argmax(1) for images in torch.split(test.images, BATCH)]
        shares.append(float((torch.cat(found) == test.labels).double().mean()))
    network.train(training)
    return sum(shares) / len(shares)
