"""PASS and IL2A: a later step by hand, classes of their own making, and what prototypes keep."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, to_the_second_task
from tests.methods.continual.driver import make
from toolkit.errors import ScenarioError
from toolkit.methods.continual.auxiliary_net import turned
from toolkit.methods.continual.fetril import nearest
from toolkit.methods.continual.il2a import mixing_share, pair_labels
from toolkit.methods.continual.wide_net import class_means, radius
from toolkit.models.resnet import resnet18

FEATURES = torch.tensor([[0.0, 2.0], [2.0, 2.0], [5.0, 1.0], [5.0, 3.0]])
LABELS = torch.tensor([0, 0, 1, 1])


def test_means_and_radius_by_hand() -> None:
    """Each class varies by 1 in one of two directions: tr(Cov) / d = 1/2."""
    assert class_means(FEATURES, LABELS, 3).tolist() == [[1, 2], [5, 2], [0, 0]]
    assert float(radius(FEATURES, LABELS, 2)) == pytest.approx(0.5**0.5)


def test_pairs_have_labels_of_their_own() -> None:
    first, second = torch.tensor([4, 5, 6, 6, 5]), torch.tensor([5, 4, 4, 5, 5])
    assert pair_labels(first, second, range(4, 7), 7).tolist() == [7, 7, 8, 9, 5]


def copied(found: torch.Generator) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(found.get_state())
    return generator


def test_a_later_step_of_pass_by_hand() -> None:
    method, found, state = begun("pass_il", 2, weight_decay=0.0)
    to_the_second_task(method, found, state)
    assert state.means[:5].norm() > 0
    assert not state.means[5:].any()
    with torch.no_grad():
        for weight in found.parameters:
            weight.add_(0.01)
    batch, twin, generator = batch_of(found), Twin(found), copied(found.generator("method"))
    classes = torch.randint(5, (found.batch,), generator=generator)
    noise = torch.randn((found.batch, found.net.feature_size), generator=generator)
    with torch.no_grad():
        views = turned(twin.images(batch), 4)
        features = twin.net.plain_features(views)
        upright = twin.net.plain_classify(features)
        joint = torch.cat([batch.labels + 10 * view for view in range(4)])
        new = cross_entropy(torch.cat([upright, twin.net.more(features)], 1) / 0.1, joint)
        moved = state.means[classes] + state.spread * noise
        old = cross_entropy(torch.cat([twin.net.plain_classify(moved), twin.net.more(moved)], 1) / 0.1, classes)
        expected = new + 10 * old + 10 * (features - state.teacher.plain_features(views)).norm()
    torch.testing.assert_close(method.step(found, state, batch), expected, atol=1e-4, rtol=1e-5)


def test_a_later_step_of_il2a_by_hand() -> None:
    method, found, state = begun("il2a", 2, weight_decay=0.0)
    to_the_second_task(method, found, state)
    with torch.no_grad():
        for weight in found.parameters:
            weight.add_(0.01)
    batch, twin, generator = batch_of(found), Twin(found), copied(found.generator("method"))
    images, own = twin.images(batch), list(range(5, 10))
    partner = torch.randperm(SIZE, generator=generator)
    share = mixing_share(generator)
    classes = torch.randint(5, (found.batch,), generator=generator)
    every = [(first, second) for first in range(10) for second in range(first + 1, 10)]
    pairs = [(first, second) for first in own for second in own if first < second]
    outputs = [*range(10), *(10 + every.index(pair) for pair in pairs)]
    targets = batch.labels.tolist()
    for place in range(SIZE):
        first, second = sorted((targets[place], targets[int(partner[place])]))
        targets.append(first if first == second else 10 + pairs.index((first, second)))
    with torch.no_grad():
        both = torch.cat([images, share * images + (1 - share) * images[partner]])
        features, weights = twin.net.plain_features(both), twin.net.model.classifier.weight
        new = cross_entropy(twin.net.plain_wide(features)[:, outputs], torch.tensor(targets))
        scores = twin.net.plain_classify(state.means[classes])
        for place, label in enumerate(classes.tolist()):
            for other in range(10):
                apart = weights[other] - weights[label]
                scores[place, other] += 1.25 * apart @ state.spread[label] @ apart
        distance = (features - state.teacher.plain_features(both)).norm()
        expected = new + 10 * cross_entropy(scores, classes) + 10 * distance
    torch.testing.assert_close(method.step(found, state, batch), expected, atol=1e-4, rtol=1e-5)


def test_covariances_are_those_of_the_features() -> None:
    method, found, state = begun("il2a", 2)
    method.end_task(found, state)
    samples = found.stream.train(0)
    found.net.eval()
    with torch.no_grad():
        own = found.net.plain_features(found.clean(samples.images[samples.labels == 3]))
    torch.testing.assert_close(state.spread[3], torch.cov(own.T, correction=0), atol=1e-6, rtol=1e-4)
    assert not state.spread[5:].any()


def test_images_that_are_not_square_are_not_turned() -> None:
    with pytest.raises(ScenarioError, match=r"^program\.method: pass_il turns images by 90 degrees, and those of 4x8 are not square"):
        make("pass_il").network(resnet18(10), (3, 4, 8), torch.Generator())


def test_shares_are_beta_distributed_and_cut() -> None:
    """Beta(20, 20) has mean 1/2, and a fifth of it lies outside 0.4 to 0.6."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([mixing_share(generator) for _ in range(4000)], dtype=torch.float64)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.005)
    assert (float(drawn.min()), float(drawn.max())) == (0.4, 0.6)
    assert float(((drawn == 0.4) | (drawn == 0.6)).double().mean()) == pytest.approx(0.203, abs=0.03)


def test_the_nearest_new_class_is_that_of_the_largest_cosine() -> None:
    old, new = torch.tensor([[1.0, 0.0], [0.0, 5.0], [3.0, 3.1]]), torch.tensor([[9.0, 1.0], [0.1, 0.2]])
    assert nearest(old, new).tolist() == [0, 1, 1]


def test_a_later_step_of_fetril_moves_samples_of_the_nearest_class() -> None:
    method, found, state = begun("fetril", 2)
    to_the_second_task(method, found, state)
    samples = found.stream.train(1)
    with torch.no_grad():
        features = found.net.plain_features(found.clean(samples.images))
    batch, twin, generator = batch_of(found), Twin(found), copied(found.generator("method"))
    classes = torch.randint(5, (SIZE,), generator=generator)
    drawn = torch.rand(SIZE, generator=generator)
    moved = []
    for old, place in zip(classes.tolist(), drawn.tolist(), strict=True):
        new = 5 + int(torch.stack([torch.cosine_similarity(state.means[old], mean, dim=0) for mean in state.means[5:]]).argmax())
        own = features[samples.labels == new]
        moved.append(own[int(place * len(own))] - own.mean(0) + state.means[old])
    scores = twin.net.plain_classify(torch.cat([features[:SIZE], torch.stack(moved)]))
    expected = (cross_entropy(scores[:SIZE], batch.labels) + cross_entropy(scores[SIZE:], classes)) / 2
    torch.testing.assert_close(method.step(found, state, batch), expected.detach(), atol=1e-5, rtol=1e-5)
