"""Mine: a data set to begin with. Bright squares in one of four corners.

    toolkit simulate SCENARIO.yaml --set program.task.dataset.type=mine        with this file beside the scenario
"""

from __future__ import annotations

import numpy as np

from toolkit.datasets import Dataset, assemble


def load(samples: int = 400, side: int = 16) -> Dataset:
    """Return the data set; arguments are what a scenario may set beside the type (`{type: mine, side: 24}`).

    Read your own files here. Images are uint8 (n, channels, height, width), labels int64 (n,) from 0.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, samples)
    images = rng.integers(0, 120, (samples, 1, side, side), dtype=np.uint8)
    half = side // 2
    for image, label in zip(images, labels, strict=True):
        down, right = divmod(int(label), 2)
        image[0, down * half : (down + 1) * half, right * half : (right + 1) * half] += 100
    kept = samples * 4 // 5
    return assemble("mine", (images[:kept], labels[:kept]), (images[kept:], labels[kept:]), 4, ("nw", "ne", "sw", "se"))
