"""A tenth of Tiny-ImageNet at half of its size: the first 50 training images of each class and the first 10 to test, 32x32."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from toolkit.datasets import Dataset, Indices, Pixels, assemble, tiny_imagenet

TRAIN, TEST = 50, 10


def load(path: str | None = None) -> Dataset:
    """Return 10,000 images to learn from and 2,000 to test, uint8 (n, 3, 32, 32); *path* as for `toolkit.datasets.tiny_imagenet`."""
    whole = tiny_imagenet.load(path)
    train, test = _some(whole.train_images, whole.train_labels, TRAIN), _some(whole.test_images, whole.test_labels, TEST)
    return assemble("tiny_imagenet_tenth", train, test, whole.num_classes)


def _some(images: Tensor, labels: Tensor, count: int) -> tuple[Pixels, Indices]:
    """The first *count* images of each class, in the order of classes, each pixel the mean of four."""
    chosen = [int(place) for label in range(int(labels.max()) + 1) for place in (labels == label).nonzero()[:count, 0]]
    half = functional.avg_pool2d(images[chosen].float(), 2).round().byte()
    return half.numpy(), labels[chosen].numpy()
