"""SSRE: a later step by hand, what learns and what stays, and sides that are folded without changing an answer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, to_the_second_task
from tests.methods.continual.driver import make
from toolkit.errors import ScenarioError
from toolkit.methods.continual.adapted_net import Adapted


def test_a_later_step_by_hand() -> None:
    method, found, state = begun("ssre", 2)
    to_the_second_task(method, found, state)
    method.step(found, state, batch_of(found))  # so that the sides say something
    batch, twin = batch_of(found, SIZE), Twin(found)
    generator = torch.Generator()
    generator.set_state(found.generator("method").get_state())
    classes = torch.randint(5, (SIZE,), generator=generator)  # rho = 1
    with torch.no_grad():
        images = twin.images(batch)
        features, before = twin.net.plain_expanded(images), state.teacher.plain_features(images)
        near = torch.stack([cosine_similarity(before, mean[None]) for mean in state.means[:5]]).amax(0)
        told = cross_entropy(twin.net.plain_classify(features)[:, :10] / 0.1, batch.labels, reduction="none")
        old = cross_entropy(twin.net.plain_classify(state.means[classes])[:, :10] / 0.1, classes)
        expected = ((1 - near) * told).mean() + 10 * old + (near * (features - before).norm(dim=1)).sum()
    assert not torch.equal(features, before)
    torch.testing.assert_close(method.step(found, state, batch), expected, atol=1e-5, rtol=1e-5)


def test_sides_say_nothing_at_first() -> None:
    method, found, state = begun("ssre", 1)
    images = found.clean(batch_of(found).images)
    with torch.no_grad():
        torch.testing.assert_close(method.predict(found, state, images), found.net(images))


def test_only_sides_and_classifier_learn_a_later_task() -> None:
    method, found, state = begun("ssre", 2)
    to_the_second_task(method, found, state)
    kept = {name: value.clone() for name, value in found.net.state_dict().items()}
    for place in range(3):
        method.step(found, state, batch_of(found, SIZE * place))
    changed = {name for name, value in found.net.state_dict().items() if not torch.equal(value, kept[name])}
    assert changed == {name for name in kept if ".side." in name or ".classifier." in name}


def test_folding_changes_no_answer() -> None:
    method, found, state = begun("ssre", 2)
    to_the_second_task(method, found, state)
    for place in range(3):
        method.step(found, state, batch_of(found, SIZE * place))
    images = found.clean(batch_of(found).images)
    with torch.no_grad():
        before, told = found.net.plain_expanded(images), method.predict(found, state, images)
        method.end_task(found, state)
        torch.testing.assert_close(found.net.plain_features(images), before)
        torch.testing.assert_close(method.predict(found, state, images), told)
    assert all(not each.side.weight.any() for each in found.net.adapted())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_side_has_the_shape_of_its_convolution(stride: int) -> None:
    both = Adapted(nn.Conv2d(2, 3, 3, stride, padding=1))
    nn.init.ones_(both.side.weight)
    both.is_open = True
    maps = torch.arange(50.0).view(1, 2, 5, 5)
    torch.testing.assert_close(both(maps) - both.main(maps), maps.sum(1, keepdim=True)[:, :, ::stride, ::stride].expand(-1, 3, -1, -1))


def test_a_network_without_such_convolutions_is_refused() -> None:
    model = nn.Sequential()
    model.features, model.classifier = nn.Flatten(), nn.Linear(4, 2)
    with pytest.raises(ScenarioError, match=r"^program\.task\.model: ssre adds to convolutions of 3x3 pixels, and Sequential has none"):
        make("ssre").network(model, (1, 2, 2), torch.Generator())
