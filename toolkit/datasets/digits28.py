"""The handwritten digits of `digits`, enlarged from 8x8 to 28x28 pixels for networks that were made for MNIST.

Bilinear interpolation to 24x24 (pixel centres aligned as usual, not corners) and a border of two black pixels on each side. Labels and
split are those of `digits`. No detail is gained by it: accuracies compare with each other only, not with MNIST's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch.nn import functional

from toolkit.datasets import Dataset, Indices, Pixels, assemble, digits

INNER = 24
BORDER = 2


def load(path: str | Path | None = None) -> Dataset:
    """Return the enlarged digits: images (n, 1, 28, 28) of ten classes; *path* as for `digits`.

    Raises:
        MissingDataError: scikit-learn is not installed, or the file is not at *path*.
        DataError: the file is not what it should be.
    """
    return _enlarged(digits.load(path))


@lru_cache(maxsize=2)
def _enlarged(small: Dataset) -> Dataset:
    def part(images: torch.Tensor, labels: torch.Tensor) -> tuple[Pixels, Indices]:
        large = functional.interpolate(images.to(torch.float32), size=(INNER, INNER), mode="bilinear", align_corners=False)
        return functional.pad(large.round(), (BORDER,) * 4).to(torch.uint8).numpy(), labels.numpy()

    return assemble("digits28", part(small.train_images, small.train_labels), part(small.test_images, small.test_labels), small.num_classes)
