"""Exported networks give the outputs of the network, for any batch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import toolkit
from tests.test_simulate import ROOT
from toolkit import export
from toolkit.core import yaml12
from toolkit.export import ExportError, OutputsDiffer, to_onnx, to_torch_export
from toolkit.learning.pruning.groups import find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.models.lenet import lenet5
from toolkit.models.resnet import resnet
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")


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


SMALL = {
    "distributed": ("gs_sgd", {"program.steps": 6, "program.evaluate_every": 3, "seeds": 1}, ("dense", "gs-SGD")),
    "pruning": ("ga_lenet", {"seeds": 1, "program.control": False, "program.measure": False}, ("genetic", "filter-L1")),
    "training": ("hcgnet_edge", {"seeds": 1, "program.recipe.epochs": 1}, ("HCGNet", "CondenseNet")),
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=[] if name == "distributed" else pytest.mark.slow) for name in SMALL])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick run of every family that trains, of some arms."""
    scenario, changes, wanted = SMALL[request.param]
    path = ROOT / "scenarios" / f"{scenario}.yaml"
    tree = yaml12.read(path)
    arms = {name: arm for name, arm in tree["compare"].items() if any(name.startswith(word) for word in wanted)}
    out = tmp_path_factory.mktemp(request.param) / "run"
    toolkit.run(Scenario.load(path, {**changes, "compare": arms}, quick=True), out=out)
    return out


def test_a_run_leaves_its_networks_and_they_score_as_it_said(finished: Path) -> None:
    """Every arm's network comes back with the accuracy of the report."""
    report = pd.read_csv(finished / "report.csv")
    stems = sorted((finished / "models").glob("*.safetensors"))
    assert len(stems) == len(report["arm"].unique())
    for stem in stems:
        arm = stem.stem.rpartition("-s")[0]
        model, facts = export.trained(finished, arm)
        rows = report[report["arm"] == arm].set_index("metric")["value"]
        told = rows["final_accuracy"] if "final_accuracy" in rows else 1 - rows["error_after"]
        assert facts["test_accuracy"] == pytest.approx(told)
        spec = Scenario.load(finished / "scenario.yaml", own=False).arms()[arm].program.task
        data = spec.load().data
        with torch.no_grad():
            scores = model(data.normalise(data.test_images))
        if "units" not in facts:  # pruning tests on a part of the set
            assert float((scores.argmax(1) == data.test_labels).float().mean()) == pytest.approx(facts["test_accuracy"])


@pytest.mark.parametrize("kind", ["pt2", "safetensors"])
def test_the_command_writes_them(finished: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"net.{kind}"
    assert export.main([str(finished), "--format", kind, "--out", str(file)]) == 0
    assert file.is_file()
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "says"), [
    (("--arm", "nobody"), "--arm nobody: is not among the arms"), (("--seed", "99"), "has networks of the seeds 1"),
])
def test_a_network_that_is_not_there_is_told(
    finished: Path, options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main([str(finished), *options]) == 2
    assert says in capsys.readouterr().err


def test_a_run_without_networks_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(tmp_path)]) == 2
    assert "holds no trained network" in capsys.readouterr().err


def test_networks_are_resumed_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    """A network that was cut is as good as a run that was not finished."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    first = min((copy / "models").glob("*.safetensors"))
    before = first.read_bytes()
    first.write_bytes(before[:-5])
    (copy / "DONE").unlink()
    toolkit.run(Scenario.load(copy / "scenario.yaml", own=False), out=copy, resume=True)
    assert first.read_bytes() == before
