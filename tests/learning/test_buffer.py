"""The reservoir keeps every sample offered with the same probability, in whatever portions they come (CLFD 7, 8)."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from toolkit.learning.buffer import ReplayError, ReservoirBuffer, expected_taken


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(begin: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples whose pixels and labels say which they are."""
    numbers = torch.arange(begin, begin + count)
    return numbers.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2), numbers


def filled(capacity: int, offered: int, seed: int = 0, portion: int = 32) -> ReservoirBuffer:
    buffer = ReservoirBuffer(capacity, generator(seed))
    for begin in range(0, offered, portion):
        buffer.add(*numbered(begin, min(portion, offered - begin)))
    return buffer


def algorithm_r(capacity: int, offered: int, seed: int) -> list[int]:
    """Vitter's algorithm R, one sample after the other."""
    draws, kept = generator(seed), []
    for number in range(offered):
        slot = int(torch.rand(1, generator=draws, dtype=torch.float64) * (number + 1))
        if number < capacity:
            kept.append(number)
        elif slot < capacity:
            kept[slot] = number
    return kept


@pytest.mark.parametrize("portion", [1, 7, 32, 150])
def test_in_any_portions_it_is_algorithm_r(portion: int) -> None:
    """Slots drawn before anything is stored give the stream of one sample at a time."""
    buffer = filled(20, 300, seed=5, portion=portion)
    assert buffer.labels.tolist() == algorithm_r(20, 300, seed=5)
    assert torch.equal(buffer.images[:, 0, 0, 0].long(), buffer.labels)
    assert buffer.seen == 300


def test_every_decile_of_the_stream_is_kept_alike() -> None:
    """10,000 offers to 200 places, 2,000 times: 20 +- 0.3 of each tenth, and a chi-square of the pooled counts."""
    repeats, capacity, offered, portion = 2000, 200, 10_000, 2500
    draws = generator(1)
    kept = torch.empty((repeats, capacity), dtype=torch.int64)
    for content in kept:
        buffer = ReservoirBuffer(capacity, draws)
        for begin in range(0, offered, portion):
            taken, slots = buffer.offer(portion)
            content[slots] = begin + taken
    deciles = torch.bincount(kept.flatten() * 10 // offered, minlength=10).double()
    assert (deciles / repeats - 20).abs().max() < 0.3
    # places are filled without replacement, which makes counts a little more even than chi-square has it
    assert chisquare(deciles.numpy() / (1 - capacity / offered)).pvalue > 0.01
    assert len(set(kept[0].tolist())) == capacity


@pytest.mark.parametrize("portion", [1, 2, 3, 8, 40])
def test_no_two_of_a_batch_go_to_the_same_place(portion: int) -> None:
    """Two that meet are the rule where a batch is offered to a memory of a few, and the last of them is the one that is taken."""
    draws, twin = generator(3), generator(3)
    buffer = ReservoirBuffer(4, draws)
    offered, met = 0, 0
    for _ in range(600):
        taken, slots = buffer.offer(portion)
        drawn = (torch.rand(portion, generator=twin, dtype=torch.float64) * torch.arange(offered + 1, offered + portion + 1)).long()
        places = [offered + number if offered + number < 4 else int(place) for number, place in enumerate(drawn)]
        last = {place: number for number, place in enumerate(places) if place < 4}
        assert dict(zip(slots.tolist(), taken.tolist(), strict=True)) == last
        assert len(set(slots.tolist())) == len(slots)
        assert taken.tolist() == sorted(taken.tolist())
        met += len([place for place in places if place < 4]) - len(last)
        offered += portion
        if offered > 6 * portion:  # late in a stream hardly any meet: begin anew
            buffer, offered = ReservoirBuffer(4, draws), 0
    assert met > 10 or portion == 1


def test_a_draw_has_no_sample_twice_and_is_uniform() -> None:
    buffer = filled(50, 50)
    counts = torch.zeros(50)
    for _ in range(2000):
        drawn = buffer.draw(10)
        assert len(set(drawn.labels.tolist())) == 10
        counts[drawn.labels] += 1
    assert chisquare(counts.numpy()).pvalue > 0.01
    assert sorted(buffer.draw(80).labels.tolist()) == list(range(50))
    assert torch.equal(drawn.labels, buffer.labels[drawn.slots])


def test_images_labels_and_extras_stay_together() -> None:
    buffer = ReservoirBuffer(10, generator(3))
    for begin in range(0, 200, 8):
        images, labels = numbered(begin, 8)
        buffer.add(images, labels, scores=-labels[:, None].float())
    drawn = buffer.draw(5)
    assert torch.equal(drawn.images[:, 0, 0, 0].long(), drawn.labels)
    assert torch.equal(-drawn.extras["scores"][:, 0].long(), drawn.labels)
    with pytest.raises(ReplayError, match="scores"):
        buffer.add(*numbered(0, 8 * 20))


def test_a_copy_of_its_state_goes_on_alike() -> None:
    buffer = filled(10, 60)
    saved = copy.deepcopy(buffer.state_dict())
    buffer.add(*numbered(60, 50))
    drawn = buffer.draw(4)
    other = ReservoirBuffer(10, generator(99))
    other.load_state_dict(saved)
    other.add(*numbered(60, 50))
    assert torch.equal(other.labels, buffer.labels)
    assert torch.equal(other.draw(4).labels, drawn.labels)


def test_bytes_are_counted() -> None:
    """CIFAR-10: 50 images or 200 maps of a quarter of the pixels, both in float32, are 614,400 bytes of payload."""
    host, maps = ReservoirBuffer(50, generator(0)), ReservoirBuffer(200, generator(0))
    host.add(torch.zeros(50, 3, 32, 32), torch.zeros(50, dtype=torch.int64))
    maps.add(torch.zeros(200, 3, 16, 16), torch.zeros(200, dtype=torch.int64))
    assert host.images.nbytes == maps.images.nbytes == 614_400
    assert host.nbytes == 614_400 + 50 * 8
    assert host.sample_nbytes == 12_296
    half = ReservoirBuffer(50, generator(0))
    half.add(torch.zeros(5, 3, 32, 32, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64), scores=torch.zeros(5, 10))
    assert half.nbytes == 5 * (3072 + 8 + 40)
    assert ReservoirBuffer(3, generator(0)).sample_nbytes == 0


def test_other_rules_may_place_and_keep() -> None:
    buffer = ReservoirBuffer(6, generator(0))
    buffer.place(torch.tensor([1, 0, 2]), *numbered(10, 3))
    assert buffer.labels.tolist() == [11, 10, 12]
    buffer.place(torch.tensor([1, 3]), *numbered(20, 2))
    assert buffer.labels.tolist() == [11, 20, 12, 21]
    buffer.keep(torch.tensor([3, 1]))
    assert buffer.labels.tolist() == [21, 20]
    assert buffer.images[:, 0, 0, 0].tolist() == [21.0, 20.0]
    buffer.place(torch.tensor([2]), *numbered(30, 1))
    assert buffer.labels.tolist() == [21, 20, 30]
    for slots in ([6], [4], [3, 5]):
        with pytest.raises(ReplayError, match="slots"):
            buffer.place(torch.tensor(slots), *numbered(0, len(slots)))
    buffer.clear()
    assert len(buffer) == buffer.seen == 0


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ReplayError, match="at least 1"):
        ReservoirBuffer(0, generator(0))
    with pytest.raises(ReplayError, match="nothing is stored"):
        ReservoirBuffer(1, generator(0)).draw(1)


def test_late_in_a_stream_hardly_a_sample_is_taken() -> None:
    """The expected number of replacements after n offers is B (H_n - H_B)."""
    capacity, offered = 20, 4000
    buffer = ReservoirBuffer(capacity, generator(7))
    taken = np.array([len(buffer.offer(1)[0]) for _ in range(offered)])
    expected = capacity * (1 + math.log(offered / capacity))
    assert taken.sum() == pytest.approx(expected, abs=4 * math.sqrt(expected))
    assert taken[-1000:].mean() < 0.02


def test_what_a_reservoir_takes_is_its_expectation() -> None:
    """Summed over 400 steps of 8 samples, without what a batch overwrites itself; everything while there is room."""
    offered = 8 * np.arange(1.0, 401)
    expected = expected_taken(40, offered, 8)
    assert expected[:5].tolist() == [8.0] * 5
    assert expected[9] == 8 * 40 / 80
    taken = np.zeros(400)
    for seed in range(20):
        memory = ReservoirBuffer(40, torch.Generator().manual_seed(seed))
        taken += [memory.add(torch.zeros(8, 1), torch.zeros(8, dtype=torch.int64)) for _ in range(400)]
    assert taken[5:].sum() / 20 == pytest.approx(expected[5:].sum(), rel=0.06)


def test_samples_offered_elsewhere_lower_the_odds() -> None:
    memory = ReservoirBuffer(10, torch.Generator().manual_seed(0))
    memory.add(torch.zeros(10, 1), torch.zeros(10, dtype=torch.int64))
    memory.count_as_offered(10**9)
    assert memory.seen == 10**9 + 10
    assert memory.add(torch.ones(100, 1), torch.zeros(100, dtype=torch.int64)) == 0
