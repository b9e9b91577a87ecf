"""Networks that come out of continual learning: built again from what was left, they answer as the method did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.methods.continual.driver import NAMES, Watched, drive, make, program
from toolkit.core.network_file import part_stem, write_network
from toolkit.export import to_onnx, to_torch_export
from toolkit.methods.continual import program as program_module
from toolkit.methods.continual.answering import leave_networks
from toolkit.methods.trained_network import trained_network

pytestmark = pytest.mark.filterwarnings("ignore::toolkit.methods.continual.bases.WeakBase")


class Leaving(Watched):
    """A context that writes what is left."""

    stem: Path

    def hand_out(self, weights: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any], part: str = "") -> None:
        write_network(part_stem(self.stem, part), weights, facts)


def finished(name: str, folder: Path, **settings: Any) -> tuple[Any, Any, Any]:
    """Run a method to its end; return it with its learner and state, having left its networks as *folder*/net."""
    ends: list[tuple[Any, Any, Any]] = []

    def noting(ctx: Any, task: Any, method: Any, learner: Any, state: Any) -> None:
        ends.append((method, learner, state))
        leave_networks(ctx, task, method, learner, state)

    context = Leaving(0)
    context.stem = folder / "net"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_module, "leave_networks", noting)
        drive(program(make(name), **{"batch": 180, **settings}), context)  # four steps a task
    (end,) = ends
    return end


def answers(method: Any, learner: Any, state: Any) -> tuple[torch.Tensor, torch.Tensor]:
    images = learner.clean(learner.stream.test(0).images[:40])
    learner.net.eval()
    with torch.no_grad():
        return images, method.predict(learner, state, images)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_that_comes_out_answers_as_the_method_does(name: str, tmp_path: Path) -> None:
    method, learner, state = finished(name, tmp_path)
    model, facts = trained_network(tmp_path / "net")
    images, expected = answers(method, learner, state)
    with torch.no_grad():
        assert torch.equal(model(images), expected)
    assert 0 < facts["test_accuracy"] <= 1
    assert facts["classes"] == [str(label) for label in range(10)]
    if name in ("er", "cls_er", "si"):  # nothing of the method is in it: the user's own network, and no more
        assert "continual" not in facts
        assert set(model.state_dict()) == set(learner.net.model.state_dict())


@pytest.mark.parametrize("name", ["e2net", "clfd-e2net"])
def test_the_representative_of_e2net_comes_out_as_a_network_of_its_own(name: str, tmp_path: Path) -> None:
    method, learner, state = finished(name, tmp_path)
    subnet, facts = trained_network(part_stem(tmp_path / "net", "representative"))
    inner = state.host if name.startswith("clfd") else state
    host = method.host if name.startswith("clfd") else method
    images, _ = answers(method, learner, state)
    with torch.no_grad():
        torch.testing.assert_close(subnet(images), host.predict(learner, inner, images, inner.config))
    whole, _ = trained_network(tmp_path / "net")
    assert sum(weight.numel() for weight in subnet.parameters()) < sum(weight.numel() for weight in whole.parameters())
    assert facts["test_accuracy"] <= 1


@pytest.mark.parametrize("name", ["er", "clfd-er", "e2net", "icarl"])
def test_they_are_exported(name: str, tmp_path: Path) -> None:
    """`to_torch_export` compares what it has written on another batch."""
    finished(name, tmp_path)
    parts = ["", "representative"] if name == "e2net" else [""]
    for part in parts:
        model, facts = trained_network(part_stem(tmp_path / "net", part))
        assert to_torch_export(model, facts["shape"], tmp_path / "net.pt2").is_file()


@pytest.mark.parametrize("name", ["er", "clfd-er", "icarl"])
def test_they_become_onnx(name: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    finished(name, tmp_path)
    model, facts = trained_network(tmp_path / "net")
    assert to_onnx(model, facts["shape"], tmp_path / "net.onnx").is_file()


def test_a_network_that_was_parted_comes_out_as_it_was_built(tmp_path: Path) -> None:
    task = {"dataset": "digits28", "model": {"name": "lenet5"}}
    method, learner, state = finished("er", tmp_path, task=task, batch=64)
    model, facts = trained_network(tmp_path / "net")
    assert type(model).__name__ == "LeNet5"
    images, expected = answers(method, learner, state)
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected)
    assert "continual" not in facts


def test_classes_are_named_in_the_order_of_the_outputs(tmp_path: Path) -> None:
    _, learner, _ = finished("sgd", tmp_path, stream={"tasks": 2, "order": "seeded"})
    _, facts = trained_network(tmp_path / "net")
    order = [str(label) for labels in learner.stream.classes for label in labels]
    assert facts["classes"] == order != sorted(order)
