"""Data that arrive later, from Python: outputs are given once, the past is gone, and a seed decides all."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
import torch
from torch import Tensor

from tests.methods.continual.driver import make
from toolkit.datasets.digits import load
from toolkit.errors import DataError, ScenarioError
from toolkit.methods.continual.arriving import Arriving
from toolkit.methods.continual.bases import WeakBase
from toolkit.models.resnet import resnet

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def of(*digits: int) -> tuple[Tensor, list[Hashable]]:
    """Images of some digits, and their names."""
    data = load()
    chosen = torch.isin(data.train_labels, torch.tensor(digits))
    return data.train_images[chosen], [WORDS[label] for label in data.train_labels[chosen].tolist()]


def arriving(name: str, seed: int = 0, memory: int = 0, lr: float = 1e-3) -> Arriving:
    model = resnet(10, nf=4, in_channels=1, generator=torch.Generator().manual_seed(seed))
    return Arriving(make(name), model, image_shape=(1, 8, 8), classes=10, seed=seed, memory=memory, lr=lr)


@pytest.mark.parametrize(("name", "memory"), [("etag", 0), ("gfr", 0), ("ssre", 0), ("lwf_mc", 0), ("er", 40)])
def test_outputs_are_given_once_and_kept(name: str, memory: int) -> None:
    learner = arriving(name, memory=memory)
    learner.partial_fit(*of(7, 3, 5), epochs=1)
    first = dict(learner.labels)
    assert sorted(first) == ["five", "seven", "three"]
    assert sorted(first.values()) == [0, 1, 2]
    learner.partial_fit(*of(0, 9), epochs=1)
    assert {label: learner.labels[label] for label in first} == first
    assert sorted(learner.labels.values()) == [0, 1, 2, 3, 4]
    assert set(learner.predict(of(7, 0)[0])) <= set(learner.labels)


def test_it_learns_and_a_seed_decides_how() -> None:
    found = []
    for _ in range(2):
        learner = arriving("gfr", lr=5e-3)
        losses = learner.partial_fit(*of(0, 1, 2), epochs=8)
        images, labels = of(0, 1, 2)
        told = learner.predict(images)
        found.append((losses, told))
    assert found[0] == found[1]
    assert losses[-1] < 0.5 * losses[0]
    assert sum(map(str.__eq__, map(str, told), map(str, labels))) > 0.8 * len(labels)


def test_the_past_is_gone() -> None:
    learner = arriving("etag")
    learner.partial_fit(*of(0, 1), epochs=1)
    assert not learner.learner.stream.present  # type: ignore[attr-defined]
    assert not len(learner.learner.stream.dataset.train_images)
    with pytest.raises(DataError, match=r"^stream: the samples of task 0 are gone"):
        learner.learner.stream.train(0)


def test_mistakes_are_told_in_a_sentence_and_change_nothing() -> None:
    learner = arriving("etag")
    images, labels = of(0, 1, 2)
    with pytest.raises(ScenarioError, match=r"^nothing has been learnt yet"):
        learner.predict(images)
    learner.partial_fit(images, labels, epochs=1)
    before = dict(learner.labels)
    for wrong, words in (
        (of(2, 4), r"^partial_fit: class two has been learnt before; a task brings new classes alone"),
        ((images, labels[:-1]), r"^partial_fit: \d+ images and \d+ labels; there must be one label per image"),
        ((images.float(), labels), r"^images: must be uint8 n x 1 x 8 x 8, got float32 "),
        ((images[:8], list("abcdefgh")), r"^partial_fit: 3 \+ 8 classes are more than the 10 outputs of the network"),
    ):
        with pytest.raises((ScenarioError, DataError), match=words):
            learner.partial_fit(*wrong, epochs=1)
    assert learner.labels == before
    with pytest.warns(WeakBase, match="the first task has 3 classes and a later one 4"):
        learner.partial_fit(*of(3, 4, 5, 6), epochs=1)
    with pytest.raises(ScenarioError, match=r"^method: joint learns all tasks at once"):
        arriving("joint")
    with pytest.raises(ScenarioError, match=r"^memory: er replays samples and needs a memory"):
        arriving("er")
    with pytest.raises(ScenarioError, match=r"the first task has one class"):
        arriving("etag").partial_fit(*of(1), epochs=1)
