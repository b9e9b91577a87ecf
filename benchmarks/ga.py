"""How fast masks are evaluated: LeNet-5, 50 random channel masks at one half, 2,000 images, one thread, CPU time.

    OMP_NUM_THREADS=1 python benchmarks/ga.py        # a minute

Prints individuals per CPU second for the plain loop (full network with gates), the rebuilt network, the kept prefix with a cut suffix, and
whole populations at once; then the search of hidden units only. All count the same mistakes, which is checked. Exit status 1 if the fastest
way of channel masks makes fewer than 30 individuals per CPU second, or is less than three times as fast as the plain loop in the same run.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from toolkit.learning.pruning.evaluate import Evaluator, Looped, Population, Suffix
from toolkit.learning.pruning.groups import Groups, find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.models.lenet import lenet5

IMAGES = 2000
INDIVIDUALS = 50
REQUIRED_PER_S, AIM_PER_S, REQUIRED_RATIO = 30.0, 37.0, 3.0
REPEATS = 3


class Rebuilt(Evaluator):
    """A small network per mask, from the first layer on: what most pruning code does."""

    def scores(self, mask: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            small = rebuild(self.model, self.groups, mask)
            return torch.cat([small(part) for part in torch.split(self.images, 250)])

    def _wrong(self, masks: np.ndarray, first: int) -> np.ndarray:
        return np.array([int((self.scores(mask).argmax(1) != self.labels).sum()) for mask in masks])


def per_second(evaluator: Evaluator, masks: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the individuals per CPU second of the best repetition, and their mistakes."""
    best_s = float("inf")
    for _ in range(REPEATS):
        begun_s = time.process_time()
        wrong = evaluator.wrong(masks)
        best_s = min(best_s, time.process_time() - begun_s)
    return len(masks) / best_s, wrong


def compared(title: str, groups: Groups, kinds: dict[str, type[Evaluator]], few: int) -> dict[str, float]:
    """Time every way on the same masks; the slow ones on the first *few*."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((IMAGES, 1, 28, 28), generator=generator)
    labels = torch.randint(10, (IMAGES,), generator=generator)
    masks = np.random.default_rng(2).random((INDIVIDUALS, groups.units)) < 0.5
    found, mistakes = {}, {}
    print(f"{title}: {INDIVIDUALS} masks of {groups.units} bits, {IMAGES} images")
    for name, kind in kinds.items():
        evaluator = kind(MODEL, groups, images, labels)
        fast = kind in (Population, Suffix)
        found[name], mistakes[name] = per_second(evaluator, masks if fast else masks[:few])
        assert (mistakes[name][:few] == next(iter(mistakes.values()))[:few]).all(), f"{name} counts other mistakes"
        ratio = found[name] / next(iter(found.values()))
        print(f"  {name:<34}{found[name]:>9.1f} per CPU s{found[name] * IMAGES:>12.0f} images/s{ratio:>9.1f} x the loop", flush=True)
    return found


MODEL = lenet5()


def main() -> int:
    torch.set_num_threads(1)
    channels = compared("channel masks", find_groups(MODEL, (1, 28, 28)), {
        "plain loop (gates)": Looped, "rebuilt network": Rebuilt, "kept prefix, cut suffix": Suffix, "whole population": Population,
    }, 6)
    compared("hidden units only", find_groups(MODEL, (1, 28, 28), only=["hidden"]), {
        "plain loop (gates)": Looped, "batched product of the last layer": Suffix,
    }, 6)
    rate = channels["whole population"]
    ratio = rate / channels["plain loop (gates)"]
    met = rate >= REQUIRED_PER_S and ratio >= REQUIRED_RATIO
    print(f"required: {REQUIRED_PER_S:g} per CPU s (aim {AIM_PER_S:g}), {REQUIRED_RATIO:g} x the loop; here {rate:.1f} and {ratio:.1f} x: "
          f"{'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
