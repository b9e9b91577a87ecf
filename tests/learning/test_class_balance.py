"""A memory of as many samples of each class: counts, chances within a class, seeds, going on."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from toolkit.learning.buffer import ReplayError, ReservoirBuffer


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def balanced(capacity: int, seed: int = 0) -> ReservoirBuffer:
    return ReservoirBuffer(capacity, generator(seed), balanced=True)


def offer(memory: ReservoirBuffer, labels: np.ndarray, portion: int = 32, begin: int = 0) -> None:
    """Offer samples whose pixel says which they are."""
    for at in range(0, len(labels), portion):
        part = torch.from_numpy(labels[at : at + portion])
        memory.add(torch.arange(begin + at, begin + at + len(part)).float().view(-1, 1, 1, 1), part)


def counts(memory: ReservoirBuffer) -> list[int]:
    return sorted(Counter(memory.labels.tolist()).values())


STREAMS = {
    "one class after the other": np.repeat([7, 3, 12, 40, 5], 200),
    "two at a time": np.repeat([[0, 1], [2, 3], [4, 9]], 150, axis=0).ravel(),
    "mixed, ten to one": np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [2000, 600, 200])),
    "the rare one first": np.repeat([1, 0], [40, 3000]), "one that comes back": np.repeat([0, 1, 2, 0, 3], [100, 90, 300, 400, 200]),
}


@pytest.mark.parametrize("capacity", [10, 23, 60])
@pytest.mark.parametrize("name", STREAMS)
def test_classes_that_had_enough_differ_by_one_at_most(name: str, capacity: int) -> None:
    """Whatever the order and the shares; labels need not be consecutive."""
    labels, memory = STREAMS[name], balanced(capacity)
    offer(memory, labels)
    assert len(memory) == capacity
    enough = min(Counter(labels.tolist()).values())
    assert enough > capacity // len(set(labels.tolist())) + 1
    assert counts(memory)[-1] - counts(memory)[0] <= 1
    assert len(counts(memory)) == len(set(labels.tolist()))
    assert torch.equal(torch.from_numpy(labels)[memory.images.flatten().long()], memory.labels)


def test_a_class_with_few_samples_keeps_them_all() -> None:
    memory = balanced(30)
    offer(memory, np.repeat([0, 1, 2, 3], [100, 4, 100, 100]))
    assert sorted(memory.images.flatten()[memory.labels == 1].tolist()) == [100, 101, 102, 103]
    assert counts(memory) == [4, 8, 9, 9]


@pytest.mark.parametrize("order", [np.repeat([0, 1, 2], 60), np.tile([0, 0, 1, 2], 60), np.repeat([2, 0, 1, 0], [60, 30, 60, 60])])
def test_within_a_class_every_sample_has_the_same_chance(order: np.ndarray) -> None:
    """Chi-square over 3,000 memories of 12 places, for each class; the largest of three has p above 1e-4."""
    draws, found = generator(1), np.zeros(len(order))
    for _ in range(3000):
        memory = ReservoirBuffer(12, draws, balanced=True)
        offer(memory, order, portion=len(order))
        found[memory.images.flatten().long().numpy()] += 1
    for label in set(order.tolist()):
        assert chisquare(found[order == label]).pvalue > 1e-4


@pytest.mark.parametrize("portion", [1, 7, 150])
def test_in_any_portions_it_is_the_same(portion: int) -> None:
    labels = STREAMS["one that comes back"]
    first, second = balanced(20, seed=5), balanced(20, seed=5)
    offer(first, labels, portion=portion)
    offer(second, labels, portion=32)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)


def test_a_stopped_memory_goes_on_as_if_it_had_not_been() -> None:
    labels = STREAMS["two at a time"]
    whole = balanced(20, seed=2)
    offer(whole, labels[:300])
    saved = copy.deepcopy(whole.state_dict())
    offer(whole, labels[300:], begin=300)
    resumed = ReservoirBuffer(3, generator(99))
    resumed.load_state_dict(saved)
    offer(resumed, labels[300:], begin=300)
    assert torch.equal(resumed.images, whole.images)
    assert resumed.clear() == whole.clear() == dict.fromkeys((0, 1, 2, 3, 4, 9), 150)


def test_what_was_offered_before_counts_by_class() -> None:
    """A memory that was emptied and is told what it had been offered is a reservoir of all of it again."""
    memory = balanced(10)
    offer(memory, np.repeat([0, 1], 50))
    before = memory.clear()
    assert (before, memory.seen) == ({0: 50, 1: 50}, 0)
    offer(memory, np.repeat([0, 1], 5))
    memory.count_as_offered(before)
    assert memory.seen == 110
    assert memory.state_dict()["offered"] == {0: 55, 1: 55}
    assert ReservoirBuffer(3, generator(0)).clear() == {-1: 0}


def test_bytes_are_those_of_a_reservoir() -> None:
    memories = balanced(20), ReservoirBuffer(20, generator(0))
    for memory in memories:
        offer(memory, STREAMS["mixed, ten to one"])
    assert memories[0].nbytes == memories[1].nbytes
    assert memories[0].reserved_nbytes == memories[1].reserved_nbytes


def test_labels_have_to_be_told() -> None:
    with pytest.raises(ReplayError, match="has to know the labels"):
        balanced(3).offer(2)
