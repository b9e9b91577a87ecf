"""One round's problem: a network, what can be removed from it, what that saves, and how its error is found out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.core.work import CHANNELS, Work
from toolkit.datasets import Dataset
from toolkit.learning.genetic.fitness import Fitness, wilson_lower
from toolkit.learning.genetic.genome import Floats, Genome, Mask
from toolkit.learning.pruning import saliency as saliencies
from toolkit.learning.pruning.costs import Costs
from toolkit.learning.pruning.evaluate import CHUNK, Evaluator, best_evaluator
from toolkit.learning.pruning.finetune import FineTuning, train
from toolkit.learning.pruning.groups import Groups, find_groups
from toolkit.learning.pruning.select import SizeBudget
from toolkit.learning.random import torch_generator
from toolkit.learning.work import Count, count
from toolkit.methods.task import TaskSpec

Counts = tuple[int | None, int | None, int | None]
"""Samples to train on, to validate with, to test on; None for all there are (a share, for validation)."""
Numbers = NDArray[np.int64]
MOST_COUNTED = 200_000
_COUNTED: dict[tuple[bytes, bytes], int] = {}
PEEK = 128
"""Images after which a mask may be rejected."""
BYTES = 4
"""Of a weight or activation."""


@dataclass(frozen=True)
class SampleSets:
    """Three sets that do not overlap: to train on, to choose masks by, and to be judged by once."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, data: Dataset, counts: Counts, share: float, rng: np.random.Generator) -> SampleSets:
        """Split the training set at random (the same share of every class is not forced); *counts* cut the three sets short."""
        order = rng.permutation(len(data.train_labels))
        held = counts[1] if counts[1] is not None else round(share * len(order))
        left = order[held:] if counts[0] is None else order[held : held + counts[0]]
        test = rng.permutation(len(data.test_labels))[: counts[2]]
        return cls(
            data.batch("train", torch.from_numpy(left)), data.batch("train", torch.from_numpy(order[:held])),
            data.batch("test", torch.from_numpy(np.sort(test))),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height, width."""
        return tuple(self.train[0].shape[1:])


@dataclass(frozen=True)
class Whole:
    """The network before pruning, to which all shares refer."""

    model: nn.Module
    groups: Groups
    params: int
    conv_macs: int
    macs: int


@lru_cache(maxsize=3)
def trained(task: TaskSpec, counts: Counts, share: float, recipe: FineTuning, seed: int) -> tuple[SampleSets, Whole]:
    """Return samples and the dense network trained on them: a function of its arguments alone, kept for the arms of one seed."""
    data = task.load()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(7,)))
    samples = SampleSets.of(data.data, counts, share, rng)
    model = data.build(torch_generator(rng))
    train(model, *samples.train, recipe, rng)
    groups = find_groups(model, samples.shape)
    costs, dense = Costs.of(groups), groups.dense()
    convolutions, macs = costs.macs(dense)
    return samples, Whole(model, groups, int(costs.params(dense)[0]), int(convolutions[0]), int(macs[0]))


@dataclass(frozen=True)
class Problem:
    """What a chooser is given."""

    model: nn.Module
    groups: Groups
    costs: Costs
    samples: SampleSets
    whole: Whole
    saliency: Floats
    """(units,), mean 1 per group."""
    fitness: Fitness
    budget: SizeBudget
    evaluations: int
    """Most masks that may be evaluated."""

    @classmethod
    def build(
        cls, model: nn.Module, samples: SampleSets, whole: Whole, *, criterion: str, calibration: int, fitness: Fitness, budget: SizeBudget,
        evaluations: int, only: tuple[str, ...] = (),
    ) -> Problem:
        """Look at *model* anew: its groups, costs and saliency."""
        groups = find_groups(model, samples.shape, only)
        images, labels = (part[:calibration] for part in samples.train)
        if criterion == "l1":
            raw = saliencies.l1(model, groups)
        else:
            raw = (saliencies.obd if criterion == "obd" else saliencies.taylor)(model, groups, images, labels)
        return cls(
            model, groups, costs=Costs.of(groups), samples=samples, whole=whole, saliency=saliencies.per_group(raw, groups),
            fitness=fitness, budget=budget, evaluations=evaluations
        )

    @property
    def genome(self) -> Genome:
        return Genome(self.groups.sizes)

    @cached_property
    def evaluator(self) -> Evaluator:
        return best_evaluator(self.model, self.groups, *self.samples.validation)

    @property
    def images(self) -> int:
        return len(self.samples.validation[1])

    @cached_property
    def token(self) -> bytes:
        """Tells networks and validation sets apart."""
        tensors = [*self.model.state_dict().values(), *self.samples.validation]
        digest = hashlib.blake2b(digest_size=16)
        for tensor in tensors:
            digest.update(tensor.detach().contiguous().numpy().tobytes())
        return digest.digest()

    def mistakes(self, mask: Mask) -> int:
        """Return how many validation images one mask gets wrong; what this process has counted once it does not count again.

        The count depends on nothing else, so arms of a comparison that meet the same masks, and workers of one simulation, share it.
        """
        key = self.token, np.packbits(mask).tobytes()
        if key not in _COUNTED:
            if len(_COUNTED) >= MOST_COUNTED:
                _COUNTED.clear()
            _COUNTED[key] = int(self.evaluator.wrong(mask)[0])
        return _COUNTED[key]

    def shares(self, masks: Mask) -> Floats:
        """Return the computation and the parameters left (n, 2), as shares of the whole network's."""
        convolutions, macs = self.costs.macs(masks)
        computation = convolutions / self.whole.conv_macs if self.whole.conv_macs else macs / self.whole.macs
        return np.stack([computation, self.costs.params(masks) / self.whole.params], axis=1)

    def objectives(self, masks: Mask, wrong: Numbers) -> Floats:
        """Return error, computation left, parameters left (n, 3)."""
        return np.concatenate([(wrong / self.images)[:, None], self.shares(masks)], axis=1)

    def rejected(self, masks: Mask, peeked: Numbers, threshold: float) -> NDArray[np.bool_]:
        """Say which masks are worse than *threshold* even at the lower end of Wilson's interval of their first mistakes."""
        hopeful = np.concatenate([wilson_lower(peeked, min(PEEK, self.images))[:, None], self.shares(masks)], axis=1)
        return np.asarray(self.fitness.of(hopeful) > threshold)

    def work(self, mask: Mask, images: int) -> Work:
        """Return what evaluating one mask on so many images asks of a machine: the kernels of the whole network, in parts of `CHUNK`
        images, with the multiply-adds that the mask leaves; weights read once, activations apart.

        Departure: activations are taken to stay in the cache, so a device is limited by its arithmetic, as it is for these networks.
        """
        (convolved,), (macs,) = (2.0 * images * each for each in self.costs.macs(mask))
        (padded,) = 2.0 * images * self.costs.padded_macs(mask, CHANNELS)
        pixels, parts = int(np.prod(self.samples.shape)), -(-images // CHUNK)
        return Work(
            float(macs), float(BYTES * (self.costs.params(mask)[0] + images * pixels)), 0.0, float(self.kernels.kernels * parts - 1),
            float(self.kernels.convolutions * parts), float(convolved), float(padded - convolved), float(macs - convolved),
        )

    @cached_property
    def kernels(self) -> Count:
        """The network's forward pass before anything is removed, which starts as many kernels as after that."""
        return count(self.model, (1, *self.samples.shape), training=False)
