"""The front door from Python: what is at hand becomes a scenario, and the results are a scenario's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

import toolkit
from tests.test_architecture import loaded_after
from tests.test_simulate import ROOT
from toolkit import api
from toolkit.core import yaml12
from toolkit.errors import DataError, UserError
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))


class Net(nn.Module):
    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(24, 12)
        self.out = nn.Linear(12, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.hidden(self.body(images)).relu())


def coloured(labels: list[Any], each: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (n, 3, 8, 8), brighter from class to class, and their labels."""
    rng = np.random.default_rng(seed)
    x = [rng.integers(50 * place, 50 * place + 60, (each, 3, 8, 8)).astype(np.uint8) for place in range(len(labels))]
    return np.concatenate(x), np.repeat(np.array(labels), each)


class Mapped(TorchDataset):  # type: ignore[type-arg]
    """A map-style dataset of tensors from 0 to 1, as torchvision's ToTensor gives them."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.from_numpy(x).float() / 255, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.x[place], int(self.y[place])


DATA = coloured([3, 5, 11, 40])


@pytest.mark.parametrize("method", [{"method": "er"}, {"method": "clfd", "host": "er"}])
def test_learn_gives_what_the_scenario_gives(method: dict[str, Any], tmp_path: Path) -> None:
    """The scenario that is printed gives the same report when it is run by itself."""
    torch.manual_seed(1)
    result = api.learn(Net(), DATA, **method, split=2, buffer=10, batch=8, lr=0.05, out=tmp_path / "a")
    assert "class_il" in set(result.report["metric"])
    assert float(result.report.set_index("metric")["value"]["energy_total_j"]) > 0
    again = toolkit.run(Scenario.build(yaml12.parse(str(result.scenario), "printed")), out=tmp_path / "b")
    assert (tmp_path / "a" / "report.csv").read_bytes() == (tmp_path / "b" / "report.csv").read_bytes()
    network = result.network()
    with torch.no_grad():
        assert network(torch.zeros((3, 3, 8, 8))).shape == (3, 4)
    assert not network.training
    assert str(again.scenario) == str(result.scenario)


def test_a_network_begins_with_its_own_weights_and_stays_as_it_is(tmp_path: Path) -> None:
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    result = api.learn(net, DATA, method="sgd", split=2, lr=1e-30, batch=8, out=tmp_path / "a")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    learnt = dict(result.network().named_parameters())
    assert all(torch.allclose(learnt[name], weight, atol=1e-20) for name, weight in net.named_parameters())


def test_all_kinds_of_data_are_the_same(tmp_path: Path) -> None:
    x, y = DATA
    kinds = [
        (x, y), (torch.from_numpy(x), torch.from_numpy(y)), Mapped(x, y), ((x / 255).astype(np.float32), y),
        [(x[i], y[i]) for i in range(len(y))],
    ]
    specs = [from_kind(kind) for kind in kinds]
    loaded = [DatasetSpec.model_validate(spec).load() for spec in specs]
    for data in loaded[1:]:
        assert torch.equal(data.train_images, loaded[0].train_images)
        assert torch.equal(data.test_labels, loaded[0].test_labels)
        assert data.classes == ("3", "5", "11", "40")
    split = DatasetSpec.model_validate(from_kind((Mapped(x, y), Mapped(x[::3], y[::3])))).load()
    assert (len(split.train_labels), len(split.test_labels)) == (96, 32)


def from_kind(kind: Any) -> Any:
    from toolkit.datasets.from_memory import stored

    return stored(kind)


def test_a_list_has_one_data_set_for_each_task_of_any_size(tmp_path: Path) -> None:
    """Tasks of two, one and three classes, whose labels are names and not in order."""
    tasks = [coloured(["owl", "ant"]), coloured(["fox"], seed=1), coloured(["bee", "elk", "cat"], seed=2)]
    result = api.learn(Net(6), tasks, method="er", batch=8, lr=0.05, out=tmp_path / "a")
    stream = result.scenario.program.stream  # type: ignore[attr-defined]
    assert stream.classes == [["ant", "owl"], ["fox"], ["bee", "cat", "elk"]]
    facts = (tmp_path / "a" / "models" / "learn-s1.json").read_text()
    assert re.findall(r"ant|owl|fox|bee|cat|elk", facts) == ["ant", "owl", "fox", "bee", "cat", "elk"]


def test_fit_and_prune(tmp_path: Path) -> None:
    fitted = api.fit(Net(), DATA, recipe={"epochs": 2, "batch": 16, "lr": 0.05}, out=tmp_path / "a")
    assert "final_accuracy" in set(fitted.report["metric"])
    net = fitted.network()
    small = api.prune(
        net, DATA, keep=0.5, method={"type": "filter_l1"}, dense_epochs=0, fine_tune_epochs=1, rounds=1, out=tmp_path / "b"
    )
    left = sum(weight.numel() for weight in small.network().parameters())
    assert left <= 0.5 * sum(weight.numel() for weight in net.parameters())
    assert isinstance(small.network(), Net)


class Looking(nn.Module):
    """torch's encoder layer over patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
        self.out = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.layer(self.patches(images).flatten(2).transpose(1, 2)).mean(1))


class Hourglass(nn.Module):
    """Down, up again by a transposed convolution beside what was there before, and a class for the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.GroupNorm(4, 8)
        self.up, self.fine = nn.ConvTranspose2d(8, 8, 4, stride=4), nn.Conv2d(3, 8, 3, padding=1)
        self.out = nn.Conv2d(16, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        coarse = self.up(self.norm(self.down(images)).relu())
        return self.out(torch.cat([coarse, self.fine(images)], 1).relu()).mean((2, 3))


@pytest.mark.parametrize("net", [Looking, Hourglass])
def test_the_genetic_search_cuts_what_people_build_today(net: type[nn.Module], tmp_path: Path) -> None:
    """Search, rebuild, fine-tune, and search in what is left: two rounds to three fifths of the parameters."""
    torch.manual_seed(3)
    whole = net()
    result = api.prune(
        whole, DATA, keep=0.6, dense_epochs=1, fine_tune_epochs=1, rounds=2, evaluations=20, **{"pruner.population": 8}, out=tmp_path / "a"
    )
    small = result.network()
    assert isinstance(small, net)
    assert sum(weight.numel() for weight in small.parameters()) <= 0.6 * sum(weight.numel() for weight in whole.parameters())
    values = result.report.set_index("metric")["value"]
    assert values["macs_factor"] > 0
    with torch.no_grad():
        assert small(torch.zeros((3, 3, 8, 8))).shape == (3, 4)


def test_what_builds_a_network_may_be_given(tmp_path: Path) -> None:
    result = api.fit(Net, DATA, recipe={"epochs": 1, "batch": 16}, seeds=2, out=tmp_path / "a")
    first, second = (dict(result.network(seed=seed).named_parameters()) for seed in (1, 2))
    assert not torch.equal(first["out.weight"], second["out.weight"])


def test_divergence_is_an_error_as_in_a_scenario(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"program\.lr: training .* with er .*"):
        api.learn(Net(), DATA, method="er", split=2, batch=8, lr=1e20, epochs=3, out=tmp_path / "a")


@pytest.mark.parametrize(("data", "says"), [
    (3, "int is no data set"), ((np.zeros((4, 3, 8, 8), np.uint8), np.zeros(3)), "give one label per image"),
    ((np.full((4, 3, 8, 8), 0.3), np.arange(4)), "neither normalised nor augmented"),
    ((np.full((4, 3, 8, 8), -1.0), np.arange(4)), "neither normalised nor augmented"),
    ([coloured([1, 2]), coloured([2, 3])], "class 2 is in more than one task"), ([], "the list is empty"),
    ([coloured([1, 2]), (coloured([4]), coloured([4]))], "for all of them or for none"),
])
def test_data_that_are_none_are_told(data: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        api.learn(Net(), data, out=tmp_path / "a")
    assert says in str(caught.value)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: api.learn(Net(3), DATA, split=2), "gives 3 scores for each image, and the data set has 4 classes"),
    (lambda: api.learn(Net(), DATA, split=2, methd="er"), "unknown key 'methd'; did you mean 'method'"),
    (lambda: api.learn(Net(), DATA, method="ewr", split=2), "did you mean 'er'"),
    (lambda: api.learn(Net(), DATA, split=2, stream={"classes": [[3, 5], [11]], "tasks": 2}), "class '40' of arrays"),
    (lambda: api.learn(Net(), DATA, split=2, stream={"classes": [[3, 5], [11, 40, 7]], "tasks": 2}), "'7' is no class"),
    (lambda: api.learn("toolkit.given:Nobody", DATA), "was given from Python by another process"),
    (lambda: api.prune(Net(), DATA, keep=1.5), "keep: 1.5 must be between 0 and 1"),
])
def test_mistakes_are_told_in_one_sentence(call: Any, says: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert says in str(caught.value)


def test_importing_it_loads_nothing_heavy() -> None:
    assert not loaded_after("import toolkit, toolkit.api; toolkit.api.learn") & {"torch", "pandas", "numpy", "pydantic"}


@pytest.mark.slow
def test_five_minutes_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every front door in docs/start.md, as it is written there."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "start.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "api." in block]
    assert len(blocks) == 3
    for block in blocks:
        assert len(block.strip().splitlines()) <= 6
        exec(block, {})
