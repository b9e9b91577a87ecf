"""Baselines that hold weights, distil, choose exemplars or project gradients, against small cases worked out by hand (CLFD 14)."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax, one_hot, softmax

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, check_step, to_the_second_task
from tests.methods.continual.driver import make, run_plan, train
from toolkit.errors import ScenarioError
from toolkit.learning.flat import gradient_of, weights
from toolkit.methods.continual import Batch
from toolkit.methods.continual.bulk import scores_of
from toolkit.methods.continual.icarl import herd
from toolkit.methods.continual.lwf import distillation


def test_oewc_by_hand() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        theta = torch.cat([weight.flatten() for weight in twin.learner.parameters])
        penalty: Tensor = (state.fisher * (theta - state.anchor + 0.01).square()).sum()
        return cross_entropy(twin.net.scores(twin.images(batch)), batch.labels) + 10 * penalty

    method, found, state = begun("oewc", 2)
    to_the_second_task(method, found, state)
    state.anchor -= 0.01  # so that there is something to pull back
    batch, twin = batch_of(found), Twin(found)
    state.anchor += 0.01
    loss = by_hand(twin, batch, state)
    state.anchor -= 0.01
    expected = twin.stepped(loss)
    torch.testing.assert_close(method.step(found, state, batch), loss.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights(found.parameters), expected, atol=1e-5, rtol=1e-4)


def test_fisher_information_is_not_negative_and_adds_up() -> None:
    """F <- gamma F + F_t: with nothing learned in between, the second task's own share comes on top."""
    method, found, state = begun("oewc", 2, gamma=0.5)
    method.end_task(found, state)
    first = state.fisher.clone()
    assert (first >= 0).all()
    assert first.max() > 0
    method.end_task(found, state)
    torch.testing.assert_close(state.fisher, 1.5 * first)
    assert torch.equal(state.anchor, weights(found.parameters))


def test_si_by_hand() -> None:
    """Two steps of the second task: clipped gradient with penalty, path of the cross-entropy's gradient alone, Omega at the end."""
    method, found, state = begun("si", 2, damping=0.1)
    method.end_task(found, state)
    found.task = 1
    assert float(state.importance.mean()) >= 0
    state.importance += 10 * torch.rand(state.importance.shape, generator=torch.Generator().manual_seed(0))
    state.anchor -= 0.1
    omega, anchor, path = state.importance.clone(), state.anchor.clone(), torch.zeros_like(state.path)
    clipped = False
    for step in range(2):
        batch, twin = batch_of(found, SIZE * step), Twin(found)
        before = weights(found.parameters)
        ce = gradient_of(cross_entropy(twin.net.scores(twin.images(batch)), batch.labels), twin.learner.parameters)
        total = ce + 2 * 0.5 * omega * (before - anchor)
        clipped |= bool((total.abs() > 1).any())
        method.step(found, state, batch)
        after = weights(found.parameters)
        torch.testing.assert_close(after, before - found.lr * total.clamp(-1, 1), atol=1e-6, rtol=1e-4)
        path += ce * (before - after)
    torch.testing.assert_close(state.path, path, atol=1e-6, rtol=1e-3)
    method.end_task(found, state)
    torch.testing.assert_close(state.importance, omega + path / ((after - anchor).square() + 0.1), atol=1e-6, rtol=1e-3)
    assert not state.path.any()
    assert clipped


def test_distillation_by_hand() -> None:
    """q^(1/2) of probabilities (.64, .36) is (.8, .6) / 1.4; of (.5, .5) it is the same again."""
    old, new = torch.tensor([[0.64, 0.36]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert float(distillation(old, new, 2.0)) == pytest.approx(math.log(2), rel=1e-6)
    assert float(distillation(new, old, 2.0)) == pytest.approx(-0.5 * (math.log(0.8 / 1.4) + math.log(0.6 / 1.4)), rel=1e-6)
    assert float(distillation(old, old, 2.0)) <= float(distillation(old, new, 2.0))


def test_lwf_by_hand() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        scores = twin.net.scores(twin.images(batch))
        old, new = state.scores[batch.index, :5], scores[:, :5]
        kd = -(softmax(old / 2, 1) * log_softmax(new / 2, 1)).sum(1).mean()
        return cross_entropy(scores[:, :10], batch.labels) + 0.5 * kd

    check_step("lwf", by_hand, second=True)
    check_step("lwf", lambda twin, batch, state: cross_entropy(twin.net.scores(twin.images(batch))[:, :5], batch.labels))


def test_lwf_warms_up_the_new_heads_and_nothing_else() -> None:
    method, found, state = begun("lwf", 2)
    before = {name: value.clone() for name, value in found.net.state_dict().items()}
    samples = found.stream.train(1)
    to_the_second_task(method, found, state)
    changed = [name for name, value in found.net.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["model.classifier.weight", "model.classifier.bias"]
    for name in changed:
        assert torch.equal(found.net.state_dict()[name][:5], before[name][:5])
        assert not torch.equal(found.net.state_dict()[name][5:], before[name][5:])
    assert found.net.training
    assert torch.equal(state.scores, scores_of(found, samples.images))


# iCaRL


def test_herding_by_hand() -> None:
    """On a line with mean 2: first 2, then 1 and 3 in turn keep the mean nearest; ties go to the first."""
    assert herd(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]]), 3).tolist() == [2, 1, 3]
    assert herd(torch.tensor([[0.0], [6.0]]), 5).tolist() == [0, 1]
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    chosen = herd(features, 10)
    assert len(set(chosen.tolist())) == 10
    assert (features[chosen].mean(0) - features.mean(0)).norm() < (features[:10].mean(0) - features.mean(0)).norm()


def test_icarl_by_hand() -> None:
    """New classes against labels, old ones against the old network's sigmoids, the exemplars' share of the epoch mixed in."""
    method, found, state = begun("icarl", 2)
    to_the_second_task(method, found, state)
    batch, twin = batch_of(found), Twin(found)
    exemplars = state.order[: SIZE * len(state.order) // state.samples]
    method.step(found, state, batch)
    expected = weights(found.parameters)
    maps, stored = twin.learner.recall(exemplars)
    images, labels = torch.cat([twin.images(batch), maps]), torch.cat([batch.labels, stored.labels])
    targets = torch.zeros(len(labels), 10)
    targets[torch.arange(len(labels)), labels] = 1
    with torch.no_grad():
        targets[:, :5] = state.old.scores(images).sigmoid()[:, :5]
    loss = binary_cross_entropy_with_logits(twin.net.scores(images), targets)
    torch.testing.assert_close(twin.stepped(loss), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("heads", "counted"), [("seen", 5), ("all", 10)])
def test_icarls_loss_is_a_mean_over_the_heads_that_it_says(heads: str, counted: int) -> None:
    method, found, state = begun("icarl", 2, heads=heads)
    batch, twin = batch_of(found), Twin(found)
    method.step(found, state, batch)
    expected = weights(found.parameters)
    targets = one_hot(batch.labels, 10).float()[:, :counted]
    loss = binary_cross_entropy_with_logits(twin.net.scores(twin.images(batch))[:, :counted], targets)
    torch.testing.assert_close(twin.stepped(loss), expected, atol=1e-6, rtol=1e-5)


def test_icarl_mixes_every_exemplar_in_once_an_epoch() -> None:
    method, found, state = begun("icarl", 2)
    to_the_second_task(method, found, state)
    shares = [slots for size in (100, 300, state.samples - 400) for slots in method._share(found, state, size)]
    assert sorted(torch.cat(shares).tolist()) == list(range(len(found.memory())))


def test_icarl_keeps_as_many_exemplars_of_every_class_and_names_the_nearest_mean() -> None:
    method, found, state = begun("icarl", 3)
    method.end_task(found, state)
    capacity = found.memory().capacity
    assert torch.bincount(found.memory().labels).tolist() == [capacity // 5] * 5
    first = [found.memory().images[found.memory().labels == label] for label in range(5)]
    found.task = 1
    method.begin_task(found, state)
    method.end_task(found, state)
    assert torch.bincount(found.memory().labels).tolist() == [capacity // 10] * 10
    for label in range(5):
        assert torch.equal(found.memory().images[found.memory().labels == label], first[label][: capacity // 10])
    found.net.eval()
    with torch.no_grad():
        images = found.clean(batch_of(found).images)
        scores = method.predict(found, state, images)
        features = torch.nn.functional.normalize(found.net.plain_features(images))
    nearest = [int((state.means - row).norm(dim=1).argmin()) for row in features]
    assert scores.argmax(1).tolist() == nearest
    torch.testing.assert_close(state.means.norm(dim=1), torch.ones(10))


# Projections and selections


@pytest.mark.parametrize("name", ["a_gem", "gem"])
def test_projected_steps_oppose_no_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gradient that was applied in the second task against the references of its step."""
    from toolkit.methods.continual import a_gem, gem

    module, function = (a_gem, "project_half_space") if name == "a_gem" else (gem, "project_cone")
    plain, least = getattr(module, function), []
    changed = 0

    def watched(gradient: Tensor, references: Tensor, *margin: float) -> Tensor:
        nonlocal changed
        if gradient.is_meta:  # the plan's
            return plain(gradient, references, *margin)  # type: ignore[no-any-return]
        found: Tensor = plain(gradient, references, *margin)
        changed += found is not gradient
        least.append(float((references.view(-1, len(gradient)).double() @ found.double()).min()))
        return found

    monkeypatch.setattr(module, function, watched)
    train(name)
    assert len(least) == 7
    assert min(least) >= (-1e-6 if name == "a_gem" else -1e-4)
    assert changed


@pytest.mark.parametrize("name", ["a_gem", "gem"])
def test_projecting_methods_are_sgd_in_the_first_task_and_remember_its_last_samples(name: str) -> None:
    _, plain, _ = begun("sgd", 3)
    _, found, _ = begun(name, 3)
    assert torch.equal(weights(plain.parameters), weights(found.parameters))
    share = found.memory().capacity // 2
    assert len(found.memory()) == share
    last = batch_of(found, 3 * SIZE - share, share)
    stored = found.clean(last.images).flatten(1)
    assert {tuple(row.tolist()) for row in found.memory().images.flatten(1)} == {tuple(row.tolist()) for row in stored}


def test_gss_lets_into_a_full_memory_what_points_away_from_it() -> None:
    method, found, state = begun("gss", 2, subset=20)
    assert len(found.memory()) == found.memory().capacity == len(state.values)
    before = state.values.clone()
    labels = found.memory().labels.clone()
    alike = torch.full((SIZE,), 1.5)
    object.__setattr__(method, "_likeness", lambda *_: alike)
    method._select(found, state, batch_of(found, 2 * SIZE))
    assert torch.equal(state.values, before), "cosines above 0 never enter"
    apart = torch.full((SIZE,), 1e-3)
    object.__setattr__(method, "_likeness", lambda *_: apart)
    method._select(found, state, batch_of(found, 3 * SIZE))
    entered = state.values == 1e-3
    assert entered.sum() > 5, "s / (s + c) is nearly 1"
    assert torch.equal(found.memory().labels[~entered], labels[~entered])


def test_gss_scores_are_one_plus_the_largest_cosine() -> None:
    method, found, _ = begun("gss", 2, subset=100)
    batch = batch_of(found, 2 * SIZE, 3)
    maps, stored = found.recall(torch.arange(len(found.memory())), augmented=False)
    scores = method._likeness(found, batch)
    found.net.eval()

    def gradient(image: Tensor, label: Tensor) -> Tensor:
        loss = cross_entropy(found.net.plain_scores(image[None]), label[None])
        return torch.nn.functional.normalize(gradient_of(loss, found.parameters), dim=0)

    known = torch.stack([gradient(image, label) for image, label in zip(maps, stored.labels, strict=True)])
    own = torch.stack([gradient(image, label) for image, label in zip(found.clean(batch.images), batch.labels, strict=True)])
    torch.testing.assert_close(scores, 1 + (own @ known.T).amax(1), atol=1e-5, rtol=1e-4)


def test_hal_by_hand() -> None:
    """From the old weights, against the gradient of the cross-entropy and that of lambda mean (f(e) - f'(e))^2 together."""
    method, found, state = begun("hal", 2)
    to_the_second_task(method, found, state)
    batch, twin = batch_of(found), Twin(found)
    maps, stored = twin.learner.replay()
    scores = twin.net.scores(torch.cat([twin.images(batch), maps]))
    first = gradient_of(cross_entropy(scores, torch.cat([batch.labels, stored.labels])), twin.learner.parameters)
    twin.net.eval()
    begin = weights(twin.learner.parameters)
    ahead = copy.deepcopy(twin.net)
    torch.nn.utils.vector_to_parameters(begin - found.lr * first, [weight for weight in ahead.parameters() if weight.requires_grad])
    change = 0.2 * (twin.net.scores(state.maps) - ahead.scores(state.maps).detach()).square().mean()
    second = gradient_of(change, twin.learner.parameters)
    method.step(found, state, batch)
    torch.testing.assert_close(weights(found.parameters), begin - found.lr * (first + second), atol=1e-6, rtol=1e-4)
    assert len(state.maps) == 5
    assert change > 0


def test_hal_anchors_are_what_would_be_forgotten() -> None:
    """The loss that anchors minimise falls while they are learned."""
    losses = []
    for steps in (1, 30):
        method, found, state = begun("hal", 2, anchor_steps=steps)
        labels, twin = torch.tensor(list(found.task_classes)), Twin(found)
        forgetful = method._after_the_memory(twin.learner)
        method.end_task(found, state)
        found.net.eval()
        forgetful.eval()
        with torch.no_grad():
            features = found.net.features(state.maps)
            kept = cross_entropy(found.net.classify(features), labels, reduction="sum")
            lost = cross_entropy(forgetful.scores(state.maps), labels, reduction="sum")
        losses.append(float(kept - lost + 0.1 * (features - state.mean).square().sum()))
    assert losses[1] < losses[0]


def test_icarl_refuses_tasks_without_new_classes() -> None:
    run = run_plan(make("icarl"), stream={"tasks": 2, "kind": "permuted"})
    with pytest.raises(ScenarioError, match=r"program\.stream\.kind: icarl"):
        make("icarl").check(run.stream, run.capacity)


@pytest.mark.parametrize(("name", "least", "says"), [
    ("gem", 2, "2 tasks need"), ("a_gem", 2, "2 tasks need"), ("icarl", 10, "each of 10 classes"), ("hal", 11, "10 anchors"),
])
def test_too_small_a_memory_is_refused_in_one_sentence(name: str, least: int, says: str) -> None:
    for images in (least, least - 1):
        run = run_plan(make(name), buffer={"images": images, "equal": "samples"})
        if images == least:
            make(name).check(run.stream, run.capacity)
        else:
            with pytest.raises(ScenarioError, match=says):
                make(name).check(run.stream, run.capacity)
