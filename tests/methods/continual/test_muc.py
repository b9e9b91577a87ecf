"""MUC: a later step by hand, side classifiers that agree on samples and differ elsewhere, and a trunk that they leave alone."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from tests.methods.continual.by_hand import Twin, batch_of, begun, to_the_second_task
from toolkit.methods.continual.muc import disordered


def test_a_later_step_by_hand() -> None:
    method, found, state = begun("muc", 2)
    to_the_second_task(method, found, state)
    with torch.no_grad():
        for weight in found.parameters:
            weight.add_(0.01)
    batch, twin = batch_of(found), Twin(found)
    images = twin.images(batch)
    with torch.no_grad():
        told = twin.net.plain_wide(twin.net.plain_features(images))
        said = state.teacher.plain_wide(state.teacher.plain_features(images))
        expected = cross_entropy(told[:, :10], batch.labels)
        for begin in (0, 10, 20):
            old, new = (scores[:, begin : begin + 5] / 2 for scores in (said, told))
            expected = expected - (old.softmax(1) * new.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(method.step(found, state, batch), expected)


def test_side_classifiers_are_trained_and_nothing_else() -> None:
    method, found, state = begun("muc", 2)
    before = {name: value.clone() for name, value in found.net.state_dict().items()}
    method.end_task(found, state)
    changed = {name for name, value in found.net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"more.weight", "more.bias"}


def test_the_discrepancy_lets_sides_differ_on_samples_of_no_class() -> None:
    apart = []
    for weight in (0.0, 5.0):
        method, found, state = begun("muc", 8, discrepancy=weight, side_epochs=20)
        method.end_task(found, state)
        images = disordered(found.clean(found.stream.train(0).images[:100]), torch.Generator().manual_seed(3))
        found.net.eval()
        with torch.no_grad():
            told = found.net.plain_wide(found.net.plain_features(images))[:, 10:].view(100, 2, 10)[:, :, :5].softmax(2)
        apart.append(float((told[:, 0] - told[:, 1]).abs().mean()))
    assert apart[1] > apart[0]


def test_disordered_images_keep_their_pixels() -> None:
    images = torch.randn((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    found = disordered(images, torch.Generator().manual_seed(1))
    assert not torch.equal(found, images)
    assert torch.equal(found.flatten(2).sort(2).values, images.flatten(2).sort(2).values)
