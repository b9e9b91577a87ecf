"""Streams cut a data set into tasks: nothing is lost or met twice, labels keep their meaning, transforms are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.datasets import Dataset
from toolkit.datasets.digits import load
from toolkit.datasets.streams import Stream, blurred, permuted, rotated, split_classes
from toolkit.errors import DataError

ORDER = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load()


def parts(stream: Stream) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(found.images, found.labels) for task in range(stream.tasks) for found in (stream.train(task), stream.test(task))]


@pytest.mark.parametrize("order", [None, ORDER])
@pytest.mark.parametrize("tasks", [1, 2, 5, 10])
def test_tasks_are_disjoint_and_whole(digits: Dataset, tasks: int, order: list[int] | None) -> None:
    stream = split_classes(digits, tasks, order)
    for part, labels in (("train", digits.train_labels), ("test", digits.test_labels)):
        found = [getattr(stream, part)(task) for task in range(tasks)]
        assert sum(len(samples) for samples in found) == len(labels)
        for task, samples in enumerate(found):
            assert samples.images.dtype == torch.uint8
            assert set(samples.labels.tolist()) == set(stream.task_classes(task))
    task_classes = [label for task in range(tasks) for label in stream.task_classes(task)]
    assert task_classes == list(range(10))
    assert [stream.seen(task) for task in range(tasks)] == [10 // tasks * (task + 1) for task in range(tasks)]
    assert [stream.train_size(task) for task in range(tasks)] == [len(stream.train(task)) for task in range(tasks)]


def test_a_label_is_the_place_of_its_class_in_the_order(digits: Dataset) -> None:
    """The same images whatever the number of tasks, and the class that the order names at each label."""
    for tasks in (2, 5):
        stream = split_classes(digits, tasks, ORDER)
        for task in range(tasks):
            samples = stream.train(task)
            for label in stream.task_classes(task):
                own = digits.train_images[digits.train_labels == ORDER[label]]
                assert torch.equal(samples.images[samples.labels == label], own)


def test_what_cannot_be_cut_is_refused(digits: Dataset) -> None:
    with pytest.raises(DataError, match="10 classes of digits cannot be dealt evenly to 3 tasks"):
        split_classes(digits, 3)
    with pytest.raises(DataError, match="each of 0 to 9 once"):
        split_classes(digits, 2, [0] * 10)
    stream = split_classes(digits, 2)
    for task in (-1, 2):
        with pytest.raises(DataError, match=f"task {task} is not one of 0 to 1"):
            stream.train(task)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_images_is_told_before_a_task_is_empty(digits: Dataset, part: str) -> None:
    images, labels = getattr(digits, f"{part}_images"), getattr(digits, f"{part}_labels")
    some = ~torch.isin(labels, torch.tensor([2, 3]))
    lacking = replace(digits, **{f"{part}_images": images[some], f"{part}_labels": labels[some]})
    with pytest.raises(DataError, match=f"class 2, 3 of digits has no {'training' if part == 'train' else part} image"):
        split_classes(lacking, 5)


def test_permuted_tasks_shuffle_pixels_by_one_permutation_each(digits: Dataset) -> None:
    stream = permuted(digits, 4, np.random.default_rng(0))
    plain = stream.train(0)
    assert torch.equal(plain.images, digits.train_images)
    assert torch.equal(plain.labels, digits.train_labels)
    seen = []
    for task in range(1, 4):
        found = stream.train(task)
        assert torch.equal(found.labels, plain.labels)
        assert torch.equal(found.images.flatten(1).sort(1).values, plain.images.flatten(1).sort(1).values)
        assert torch.equal(stream.train(task).images, found.images)
        # a pixel's history over all samples says where it went; test images go the same way
        columns = {tuple(column.tolist()) for column in plain.images.flatten(1).T}
        assert {tuple(column.tolist()) for column in found.images.flatten(1).T} == columns
        seen.append(found.images)
    assert not torch.equal(seen[0], seen[1])
    assert stream.task_classes(3) == range(10)
    assert stream.seen(0) == stream.num_classes == 10


def test_rotated_tasks_turn_images(digits: Dataset) -> None:
    stream = rotated(digits, 3, np.random.default_rng(0))
    again = rotated(digits, 3, np.random.default_rng(0))
    for task in range(3):
        assert torch.equal(stream.train(task).images, again.train(task).images)
        assert torch.equal(stream.train(task).labels, digits.train_labels)
    assert not torch.equal(stream.train(0).images, stream.train(1).images)


class Quarter:
    """A generator whose only angle is a quarter of a turn."""

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        return np.full(size, np.pi / 2)


def test_a_quarter_turn_is_exact(digits: Dataset) -> None:
    turned = rotated(digits, 1, Quarter()).train(0).images
    assert torch.equal(turned, torch.rot90(digits.train_images, 1, (2, 3))) or torch.equal(
        turned, torch.rot90(digits.train_images, -1, (2, 3))
    )


def test_the_seeds_of_streams_differ(digits: Dataset) -> None:
    one, other = (permuted(digits, 2, np.random.default_rng(seed)).train(1).images for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("tasks", [2, 5])
def test_where_borders_blur_every_sample_comes_once(digits: Dataset, tasks: int, share: float) -> None:
    """Each task gives its share away, as many to each other one; labels and test samples are those of the sharp stream."""
    sharp = split_classes(digits, tasks, ORDER)
    blurry = blurred(sharp, share, np.random.default_rng(1))
    sizes = [blurry.train_size(task) for task in range(tasks)]
    assert sizes == [len(blurry.train(task)) for task in range(tasks)]
    assert sum(sizes) == len(digits.train_labels)
    together = torch.cat([blurry.train(task).images for task in range(tasks)]).flatten(1)
    order, expected = np.lexsort(together.numpy().T), np.lexsort(digits.train_images.flatten(1).numpy().T)
    assert np.array_equal(together.numpy()[order], digits.train_images.flatten(1).numpy()[expected])
    for task in range(tasks):
        found, own = blurry.train(task), blurry.task_classes(task)
        assert own == sharp.task_classes(task)
        outside = sum(int(label) not in own for label in found.labels)
        others = [round(share * sharp.train_size(other)) for other in range(tasks) if other != task]
        assert sum(count // (tasks - 1) for count in others) <= outside <= sum(-(-count // (tasks - 1)) for count in others)
        assert len(found) - outside == sharp.train_size(task) - round(share * sharp.train_size(task))
        assert torch.equal(blurry.test(task).images, sharp.test(task).images)
        assert blurry.seen(task) == 10
    lengths = [blurred(sharp, share, np.random.default_rng(seed)).train_size(0) for seed in range(5)]
    assert len(set(lengths)) == 1  # what is drawn is which, not how many


def test_labels_of_a_blurred_stream_are_those_of_the_sharp_one(digits: Dataset) -> None:
    sharp = split_classes(digits, 5, ORDER)
    blurry = blurred(sharp, 0.4, np.random.default_rng(1))
    for task in range(5):
        found = blurry.train(task)
        original = digits.train_labels[blurry.comes == task]
        assert torch.equal(torch.tensor(ORDER)[found.labels], original)


def test_without_blur_nothing_is_drawn_and_nothing_changes(digits: Dataset) -> None:
    sharp, rng = split_classes(digits, 5, ORDER), np.random.default_rng(3)
    assert blurred(sharp, 0.0, rng) is sharp
    assert rng.random() == np.random.default_rng(3).random()


def test_one_task_has_no_borders(digits: Dataset) -> None:
    with pytest.raises(DataError, match="one task has no borders to blur"):
        blurred(split_classes(digits, 1), 0.2, np.random.default_rng(0))
