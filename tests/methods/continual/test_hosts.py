"""Hosts that replay: their losses against small cases worked out by hand, and the relations between them (CLFD 14)."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, softmax

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, check_step
from tests.methods.continual.driver import make, run_plan, train
from toolkit.learning.flat import weights
from toolkit.methods.continual import Batch
from toolkit.methods.continual.cls_er import better_scores
from toolkit.methods.continual.er_ace import asymmetric_cross_entropy


def test_er_is_the_mean_over_all_samples_of_the_step() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        maps, stored = twin.learner.replay()
        return cross_entropy(twin.net.scores(torch.cat([twin.images(batch), maps])), torch.cat([batch.labels, stored.labels]))

    check_step("er", by_hand)


def test_er_sum_is_twice_er_mean_at_equal_sizes() -> None:
    """Both forms of a step from the same state: twice the loss and twice the move."""
    results = {}
    for reduction in ("mean", "sum"):
        method, found, state = begun("er", 2, reduction="mean")
        before = weights(found.parameters)
        loss = method.model_copy(update={"reduction": reduction}).step(found, state, batch_of(found, 2 * SIZE))
        results[reduction] = float(loss), weights(found.parameters) - before
    assert found.replay_size == SIZE
    assert results["sum"][0] == pytest.approx(2 * results["mean"][0], rel=1e-6)
    torch.testing.assert_close(results["sum"][1], 2 * results["mean"][1], atol=1e-6, rtol=1e-4)


def test_der_by_hand() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        maps, stored = twin.learner.replay()
        scores = twin.net.scores(torch.cat([twin.images(batch), maps]))
        squares = (scores[SIZE:] - stored.extras["scores"]).square()
        return cross_entropy(scores[:SIZE], batch.labels) + 0.3 * squares.sum() / (len(stored) * 10)

    check_step("der", by_hand)


def test_derpp_by_hand_with_two_independent_draws() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        (maps, stored), (others, labelled) = twin.learner.replay(), twin.learner.replay()
        assert not torch.equal(stored.slots, labelled.slots)
        scores = twin.net.scores(torch.cat([twin.images(batch), maps, others]))
        now, then, again = torch.split(scores, [SIZE, len(stored), len(labelled)])
        distance = mse_loss(then, stored.extras["scores"])
        return cross_entropy(now, batch.labels) + 0.1 * distance + 0.5 * cross_entropy(again, labelled.labels)

    check_step("derpp", by_hand)


@pytest.mark.parametrize("name", ["der", "derpp"])
def test_der_stores_the_scores_of_the_network_that_saw_the_sample(name: str) -> None:
    method, found, state = begun(name)
    batch = batch_of(found)
    scores = copy.deepcopy(found.net).scores(found.clean(batch.images)).detach()
    method.step(found, state, batch)
    stored = found.memory().extra("scores")
    order = [int((scores - row).abs().sum(1).argmin()) for row in stored]
    torch.testing.assert_close(stored, scores[order])
    assert torch.equal(found.memory().labels, batch.labels[order])


@pytest.mark.parametrize(("name", "zeros"), [("der", ("alpha",)), ("derpp", ("alpha", "beta"))])
def test_without_its_weights_der_is_sgd(name: str, zeros: tuple[str, ...]) -> None:
    """One pass each, so that BatchNorm of the present samples is not that of the mixture."""
    settings: dict[str, Any] = dict.fromkeys(zeros, 0.0)
    sgd, plain, nothing = begun("sgd")
    method, found, state = begun(name, **settings)
    found.bn = plain.bn = "separate"
    for step in range(4):
        sgd.step(plain, nothing, batch_of(plain, SIZE * step))
        method.step(found, state, batch_of(found, SIZE * step))
    assert torch.equal(weights(plain.parameters), weights(found.parameters))
    assert len(found.memory()) > 0


def test_asymmetric_cross_entropy_by_hand() -> None:
    """6 classes, 4 of them seen, classes 2 and 3 in the batch: 0 and 1 do not count, 4 and 5 to come do."""
    scores = torch.tensor([[5.0, 1.0, 2.0, 0.0, 1.0, 0.0], [0.0, 9.0, 1.0, 3.0, 0.0, 1.0]])
    found = asymmetric_cross_entropy(scores, torch.tensor([2, 3]), 4)
    first = -2 + math.log(math.exp(2) + math.exp(0) + math.exp(1) + math.exp(0))
    second = -3 + math.log(math.exp(1) + math.exp(3) + math.exp(0) + math.exp(1))
    assert float(found) == pytest.approx((first + second) / 2, rel=1e-6)
    # the largest class seen counts although it is not in the batch; a smaller one does not
    alone = asymmetric_cross_entropy(scores[:1], torch.tensor([1]), 4)
    assert float(alone) == pytest.approx(-1 + math.log(math.exp(1) + math.exp(0) + math.exp(1) + math.exp(0)), rel=1e-6)


def test_er_ace_by_hand() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        maps, stored = twin.learner.replay()
        scores = twin.net.scores(torch.cat([twin.images(batch), maps]))
        return asymmetric_cross_entropy(scores[:SIZE], batch.labels, 10) + cross_entropy(scores[SIZE:], stored.labels)

    check_step("er_ace", by_hand, second=True)


def test_er_ace_replays_nothing_in_the_first_task() -> None:
    check_step("er_ace", lambda twin, batch, state: cross_entropy(twin.net.scores(twin.images(batch)), batch.labels))


@pytest.mark.parametrize("consistency", ["own", "shared"])
def test_cls_er_by_hand(consistency: str) -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        maps, stored = twin.learner.replay()
        target = better_scores(copy.deepcopy(state), maps, stored.labels)
        scores = twin.net.scores(torch.cat([twin.images(batch), maps]))
        then = twin.net.scores(maps) if consistency == "own" else scores[SIZE:]
        return cross_entropy(scores, torch.cat([batch.labels, stored.labels])) + 0.15 * (then - target).square().mean()

    check_step("cls_er", by_hand, plastic_rate=1.0, stable_rate=0.5, plastic_decay=0.3, consistency=consistency)


def test_cls_er_takes_the_scores_of_whichever_average_is_surer_of_the_true_class() -> None:
    _, found, state = begun("cls_er", 2)
    weight = state.plastic.model.classifier.weight
    weight.data += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    maps, stored = found.recall(torch.arange(len(found.memory())))
    with torch.no_grad():
        stable, plastic = state.stable.scores(maps), state.plastic.scores(maps)
        found_scores = better_scores(state, maps, stored.labels)
    stable_wins = 0
    for row, label in enumerate(stored.labels):
        wins = softmax(stable[row], 0)[label] > softmax(plastic[row], 0)[label]
        stable_wins += int(wins)
        assert torch.equal(found_scores[row], (stable if wins else plastic)[row])
    assert 0 < stable_wins < len(stored)


def test_cls_er_averages_follow_with_a_growing_memory() -> None:
    """a = min(1 - 1 / (step + 1), decay): one half after the first step; parameters alone, not BatchNorm's statistics."""
    method, found, state = begun("cls_er", plastic_rate=1.0, stable_rate=0.0, plastic_decay=0.6)
    begin = weights(found.parameters)
    buffers = [value.clone() for value in state.plastic.buffers()]
    method.step(found, state, batch_of(found))
    after = weights(found.parameters)
    torch.testing.assert_close(weights(list(state.plastic.parameters())), 0.5 * begin + 0.5 * after)
    method.step(found, state, batch_of(found, SIZE))
    expected = 0.6 * (0.5 * begin + 0.5 * after) + 0.4 * weights(found.parameters)
    torch.testing.assert_close(weights(list(state.plastic.parameters())), expected)
    assert torch.equal(weights(list(state.stable.parameters())), begin)
    assert not all(torch.equal(value, old) for value, old in zip(state.plastic.buffers(), buffers, strict=True)), "it sees replays"


def test_cls_er_is_examined_with_the_stable_average() -> None:
    method, found, state = begun("cls_er", 2, plastic_rate=1.0, stable_rate=0.5)
    found.net.eval()
    images = found.clean(batch_of(found).images)
    with torch.no_grad():
        state.stable.eval()
        expected = state.stable(images)
        state.stable.train()
        assert torch.equal(method.predict(found, state, images), expected)
    assert state.stable.training


def test_fdr_by_hand() -> None:
    def by_hand(twin: Twin, batch: Batch, state: Any) -> Tensor:
        maps, stored = twin.learner.replay()
        scores = twin.net.scores(torch.cat([twin.images(batch), maps]))
        distance = (softmax(scores[SIZE:], 1) - stored.extras["scores"]).square().sum(1).sqrt()
        return cross_entropy(scores[:SIZE], batch.labels) + 0.3 * distance.mean()

    check_step("fdr", by_hand, second=True)


def test_fdr_shares_its_memory_evenly_among_the_tasks_so_far() -> None:
    method, found, state = begun("fdr", 1)
    method.end_task(found, state)
    capacity = found.memory().capacity
    assert len(found.memory()) == capacity
    stored = found.memory().extra("scores").clone()
    torch.testing.assert_close(stored.sum(1), torch.ones(capacity))
    labels = found.memory().labels.clone()
    found.task = 1
    method.step(found, state, batch_of(found))
    method.end_task(found, state)
    share = capacity // 2
    assert torch.equal(found.memory().labels[:share], labels[:share])
    assert torch.equal(found.memory().extra("scores")[:share], stored[:share])
    assert set(found.memory().labels[share:].tolist()) <= set(range(5, 10))
    assert len(found.memory()) == 2 * share


def test_methods_that_store_scores_say_so() -> None:
    storing = {name for name in ("er", "der", "derpp", "er_ace", "cls_er", "fdr", "gss") if make(name).stores_scores}
    assert storing == {"der", "derpp", "fdr"}
    assert run_plan(make("der")).sample_nbytes == run_plan(make("er")).sample_nbytes + 40


@pytest.mark.slow
def test_sgd_forgets_all_but_the_last_task_and_joint_is_above_all() -> None:
    """Five tasks of two digits, ten epochs: SGD at 20 +- 1.5 %, JOINT above every host."""
    settings: dict[str, Any] = {
        "task": {"dataset": "digits", "model": {"name": "resnet"}}, "stream": {"tasks": 5}, "batch": 32, "replay": 32,
        "buffer": {"images": 50}, "budget": {"epochs": 10},
    }
    seeds = {"sgd": 5, "joint": 1, "er": 1, "derpp": 1, "er_ace": 1, "gem": 1}
    found = {
        name: [train(name, seed, **settings).context.values("seen_accuracy")[-1] for seed in range(count)] for name, count in seeds.items()
    }
    assert sum(found["sgd"]) / 5 == pytest.approx(0.20, abs=0.015)
    for name, values in found.items():
        assert name == "joint" or max(values) < min(found["joint"])
    assert found["er"][0] >= 0.5
