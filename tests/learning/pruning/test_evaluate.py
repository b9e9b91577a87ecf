"""All ways of evaluating masks count the same mistakes."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tests.learning.pruning.networks import VIEWS, Viewed, lived_in, random_mask, seeded
from toolkit.learning.pruning.evaluate import Looped, Population, Suffix, best_evaluator, split
from toolkit.learning.pruning.groups import PruningError, find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.models.lenet import lenet5, lenet5_classic, lenet_300_100
from toolkit.models.resnet import resnet

IMAGES = 260
"""Not a multiple of any block."""


def problem(model, shape, only=(), seed=0):
    lived_in(model)
    groups = find_groups(model, shape, only)
    images = torch.randn((IMAGES, *shape), generator=seeded(seed))
    labels = torch.randint(10, (IMAGES,), generator=seeded(seed + 1))
    rng = np.random.default_rng(seed)
    masks = np.stack([random_mask(groups, rng, one_left=place == 0) for place in range(11)])
    return model, groups, images, labels, masks


CASES = {
    "lenet5": (lenet5, (1, 28, 28), (), Population, "conv2d max_pool2d flatten linear relu linear"),
    "classic": (lenet5_classic, (1, 28, 28), (), Population, "conv2d relu max_pool2d flatten linear relu linear relu linear"),
    "fc_only": (lenet5, (1, 28, 28), ("hidden",), Suffix, "linear"),
    "conv1_only": (lenet5, (1, 28, 28), ("conv1",), Population, "conv2d max_pool2d flatten linear relu linear"),
    "lenet_300_100": (lenet_300_100, (1, 28, 28), (), Suffix, "linear relu linear"),
    "batch_norm": (lambda: lenet5(batch_norm=True), (1, 28, 28), (), Suffix, "conv2d batch_norm max_pool2d flatten linear relu linear"),
    "resnet": (resnet, (3, 16, 16), (), Suffix, None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_mistakes_and_scores(name: str) -> None:
    """Check 6 of section 9 (GA), first half: kept prefix and rebuilt suffix count exactly the mistakes of the loop."""
    build, shape, only, kind, rest = CASES[name]
    model, groups, images, labels, masks = problem(build(), shape, only)
    fast = best_evaluator(model, groups, images, labels)
    assert type(fast) is kind
    calls, _ = split(groups)
    assert rest is None or " ".join(call.name for call in calls) == rest
    plain = Looped(model, groups, images, labels)
    expected = plain.wrong(masks)
    assert fast.wrong(masks).tolist() == expected.tolist()
    assert [int(fast.wrong(mask)[0]) for mask in masks] == expected.tolist()  # one at a time goes another way
    assert fast.wrong(masks, first=128).tolist() == plain.wrong(masks, first=128).tolist()
    for mask in masks[:3]:
        assert float((fast.scores(mask) - plain.scores(mask)).abs().max()) < 1e-5
        with torch.no_grad():
            assert float((fast.scores(mask) - rebuild(model, groups, mask)(images)).abs().max()) < 1e-5


def test_a_mask_is_judged_the_same_in_any_company() -> None:
    model, groups, images, labels, masks = problem(lenet5(), (1, 28, 28))
    fast = best_evaluator(model, groups, images, labels)
    together = fast.wrong(masks)
    assert fast.wrong(masks[::-1]).tolist() == together[::-1].tolist()
    assert fast.wrong(masks[:5]).tolist() == together[:5].tolist()


def test_the_cached_way_is_at_least_three_times_as_fast() -> None:
    """Check 6 of section 9 (GA), second half: at N = 50; it is over ten times, so that a busy machine does not matter."""
    model, groups, _, _, _ = problem(lenet5(), (1, 28, 28))
    images = torch.randn((500, 1, 28, 28), generator=seeded(0))
    labels = torch.randint(10, (500,), generator=seeded(1))
    masks = np.random.default_rng(0).random((50, groups.units)) < 0.5
    fast, plain = best_evaluator(model, groups, images, labels), Looped(model, groups, images, labels)
    fast.wrong(masks[:8])
    begun_s = time.process_time()
    fast.wrong(masks)
    middle_s = time.process_time()
    plain.wrong(masks[:10])
    assert 5 * (time.process_time() - middle_s) > 3 * (middle_s - begun_s)


@pytest.mark.parametrize("view", VIEWS)
def test_every_image_is_judged_however_maps_are_laid_out(view: str) -> None:
    """A tape taken on two images holds for any number: sizes of the batch on it are free."""
    torch.manual_seed(0)
    model, groups, images, labels, masks = problem(Viewed(VIEWS[view]), (1, 8, 8))
    plain = [int((rebuild(model, groups, mask)(images).argmax(1) != labels).sum()) for mask in masks]
    assert Looped(model, groups, images, labels).wrong(masks).tolist() == plain
    assert best_evaluator(model, groups, images, labels).wrong(masks).tolist() == plain
    assert best_evaluator(model, groups, images, labels).scores(masks[0]).shape == (IMAGES, 10)
    assert min(plain) > IMAGES // 2  # labels are random: nearly all are wrong


def test_scores_for_other_than_all_images_are_refused() -> None:
    model, groups, images, labels, masks = problem(lenet5(), (1, 28, 28))
    with pytest.raises(PruningError, match="gives 100 rows of scores for 250 images"):
        Looped(model, groups, images[:100], labels).wrong(masks)
