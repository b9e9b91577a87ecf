"""On an accelerator every tensor follows network and images: shown on a device that is not there (`pretend`)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.methods.continual.driver import NAMES, Watched, drive, make, program
from tests.methods.continual.pretend import Elsewhere, OnTheDevice, moved
from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.methods.accelerator import accelerator
from toolkit.methods.continual import program as program_module
from toolkit.methods.continual import run_plan as run_plan_module
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.run_plan import RunPlan

pytestmark = pytest.mark.filterwarnings("ignore::toolkit.methods.continual.bases.WeakBase")


@pytest.fixture(autouse=True)
def plans_of_their_own():
    """Plans that are made where nothing is counted are forgotten."""
    yield
    for kept in (run_plan_module.unweighted, run_plan_module._planned):
        kept.cache_clear()


class Silent(Watched):
    """A context that keeps no checkpoints and takes no networks: both move what they are given to the CPU."""

    def save(self, step: int, state: Any) -> None:
        pass

    def hand_out(self, *given: Any) -> None:
        pass


def elsewhere(run_plan: RunPlan, device: torch.device) -> RunPlan:
    moved(run_plan.net)
    data = run_plan.stream.dataset
    names = ("train_images", "train_labels", "test_images", "test_labels")
    data = dataclasses.replace(data, **{name: Elsewhere(getattr(data, name)) for name in names})
    return dataclasses.replace(run_plan, stream=dataclasses.replace(run_plan.stream, dataset=data))


def accuracies(name: str, **settings: Any) -> list[float]:
    context = Silent(0)
    drive(program(make(name), **settings), context)
    return context.values("examined:class_il")


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_follows_the_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for counting in ("_count", "count_loss", "over_weights"):  # counting lays networks that have shapes alone beside the real one
        monkeypatch.setattr(ContinualNet, counting, lambda *given, **named: None)
    monkeypatch.setattr(ContinualNet, "encoding_work", lambda *given, **named: Work())
    settings: dict[str, Any] = {"batch": 240}  # three steps a task: each is slow on what pretends
    if make(name).takes_maps:
        settings["augment"] = {"crop": 2, "flip": True}
    expected = accuracies(name, **settings)
    monkeypatch.setattr(program_module, "placed", elsewhere)
    with OnTheDevice():
        assert accuracies(name, **settings) == expected


def test_a_tensor_that_is_left_behind_is_seen() -> None:
    weights = Elsewhere(torch.ones(3))
    with OnTheDevice(), pytest.raises(AssertionError, match="lies on the CPU"):
        weights + torch.ones(3)
    with OnTheDevice():
        assert (weights + torch.ones(3, device=weights.device)).inner.tolist() == [2, 2, 2]


def test_an_accelerator_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert accelerator("auto") == accelerator("cpu") == torch.device("cpu")
    with pytest.raises(ScenarioError, match=r"program\.accelerator: torch finds no GPU here"):
        accelerator("cuda")
