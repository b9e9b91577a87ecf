"""Exported networks give the outputs of the network, for any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from toolkit import export
from toolkit.export import ExportError, OutputsDiffer, to_onnx, to_torch_export
from toolkit.learning.pruning.groups import find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.models.lenet import lenet5
from toolkit.models.resnet import resnet


def pruned(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    groups = find_groups(model, shape)
    mask = np.random.default_rng(0).random(groups.units) < 0.5
    for group in groups.groups:
        mask[group.start] = True
    return rebuild(model, groups, mask).eval()


@pytest.mark.parametrize(("build", "shape"), [(lenet5, (1, 28, 28)), (resnet, (3, 16, 16))])
def test_a_pruned_network_goes_through_torch_export(build, shape, tmp_path: Path) -> None:
    small = pruned(build(), shape)
    path = to_torch_export(small, shape, tmp_path / "small.pt2")
    images = torch.randn((5, *shape), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        assert torch.allclose(torch.export.load(path).module()(images), small(images), atol=1e-5)


def test_a_pruned_network_goes_through_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    small = pruned(lenet5(), (1, 28, 28))
    path = to_onnx(small, (1, 28, 28), tmp_path / "small.onnx")
    images = torch.randn((5, 1, 28, 28), generator=torch.Generator().manual_seed(9))
    (scores,) = runtime.InferenceSession(str(path)).run(["scores"], {"images": images.numpy()})
    with torch.no_grad():
        assert np.allclose(scores, small(images).numpy(), atol=1e-5)


def test_other_outputs_are_told(tmp_path: Path) -> None:
    with pytest.raises(OutputsDiffer, match=r"x.pt2: its outputs differ from the network's by up to 1"):
        export._compare(torch.zeros(2), torch.ones(2), tmp_path / "x.pt2")


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match="needs the package onnx, which is not installed"):
        to_onnx(lenet5(), (1, 28, 28), tmp_path / "x.onnx")
