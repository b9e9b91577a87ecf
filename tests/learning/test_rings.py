"""Rings keep the last samples of every task and never touch another's."""

from __future__ import annotations

import pytest
import torch

from toolkit.learning.buffer import ReplayError
from toolkit.learning.rings import Rings


def test_each_task_keeps_its_last_samples() -> None:
    rings, memory = Rings.among(3, 11), {}
    for task in range(3):
        rings.open(len(memory))
        for begin in range(0, 10, 2 + task):
            taken, slots = rings.turn(min(2 + task, 10 - begin))
            memory.update(zip(slots.tolist(), [(task, begin + int(sample)) for sample in taken], strict=True))
    assert rings.share == 3
    assert sorted(memory) == list(range(9))
    assert sorted(memory.values()) == [(task, sample) for task in range(3) for sample in (7, 8, 9)]
    assert [slots.tolist() for slots in rings.past()] == [[0, 1, 2], [3, 4, 5]]


def test_of_a_batch_larger_than_the_ring_the_last_stay() -> None:
    rings = Rings(3)
    rings.open(6)
    taken, slots = rings.turn(8)
    assert taken.tolist() == [5, 6, 7]
    assert sorted(slots.tolist()) == [6, 7, 8]


def test_a_task_with_few_samples_leaves_its_places_to_the_next() -> None:
    rings = Rings(4)
    rings.open(0)
    rings.turn(2)
    rings.open(2)
    assert [slots.tolist() for slots in rings.past()] == [[0, 1]]
    assert torch.equal(rings.turn(1)[1], torch.tensor([2]))


def test_too_small_a_memory_is_refused() -> None:
    with pytest.raises(ReplayError, match="5 tasks; it must hold at least 5"):
        Rings.among(5, 4)
