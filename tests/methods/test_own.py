"""Networks and data of one's own: taken by name from beside the scenario, checked in one sentence, and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.core import yaml12
from toolkit.datasets import Dataset
from toolkit.datasets.own import as_pixels, own_dataset, stratified
from toolkit.errors import DataError, UserError
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.task import TaskSpec
from toolkit.scenario import Scenario
from toolkit.simulate import main

Image = pytest.importorskip("PIL.Image")
pytestmark = [pytest.mark.filterwarnings("ignore::toolkit.core.trust.OwnModule"), pytest.mark.usefixtures("undrawn_module")]

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes: int, in_channels: int, width: int = 8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.LazyLinear(num_classes) if width < 0 else nn.Linear(width * 64, num_classes)

    def forward(self, images):
        return self.head(self.body(images).flatten(1))

def not_a_network(num_classes: int):
    return 3
"""
READER = """
import numpy as np
from toolkit.datasets.own import own_dataset

def load(count: int = 40):
    x = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16)).astype(np.uint8)
    y = np.arange(count) % 2
    x[y == 1] //= 4
    return own_dataset("mine", (x, y), (x[:10], y[:10]))
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: photographs of two kinds in sub-folders, a network, a reader, and an npz file; with a cache of its own."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "study"
    rng = np.random.default_rng(1)
    for label, (name, ending) in enumerate((("cat", "png"), ("dog", "jpg"))):
        place = folder / "photos" / name
        place.mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(100 * label, 100 * label + 60, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.{ending}")
    stem = f"nets_{tmp_path.name.replace('-', '_')}"  # a module is imported once in a process, and every test has one of its own
    (folder / f"{stem}.py").write_text(NETS)
    (folder / f"{stem}_data.py").write_text(READER)
    x, y = rng.integers(0, 256, (30, 16, 16)).astype(np.uint8), np.repeat([3, 7, 9], 10)
    np.savez(folder / "mine.npz", x=x, y=y)
    (folder / "stem").write_text(stem)
    return folder


def scenario(study: Path, dataset: object, model: object = "Net", **more: object) -> Path:
    tree: dict[str, Any] = {
        "name": "own", "seeds": 1, "fabric": {"type": "cluster", "workers": 2, "device": "raspberry_pi_5"},
        "program": {
            "type": "distributed", "method": "dense", "steps": 6, "batch": 8, "lr": 0.05, "evaluate_every": 3,
            "task": {"dataset": dataset, "model": {"name": f"{(study / 'stem').read_text()}:{model}"}, **more},
        },
    }
    path = study / "own.yaml"
    path.write_text(yaml12.dump(tree))
    return path


PHOTOS = {"type": "images", "folder": "photos", "size": 16}


def test_a_folder_of_photographs_and_a_network_beside_the_scenario_are_trained(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From another working directory, in one process and in two, with the same bytes."""
    path = scenario(study, PHOTOS)
    for jobs in ("1", "2"):
        options = ["--out", str(study.parent / f"out{jobs}"), "--jobs", jobs, "--set", "seeds=2", "--quiet"]
        assert main([str(path), *options]) == 0, capsys.readouterr().err
    reports = [(study.parent / f"out{jobs}" / "report.csv").read_bytes() for jobs in ("1", "2")]
    assert reports[0] == reports[1]
    assert f"{(study / 'stem').read_text()} beside the scenario" in capsys.readouterr().err


def test_what_is_written_back_is_read_again(study: Path) -> None:
    """A resolved scenario holds the folder's place, so that it can be opened from anywhere; a plain name stays one."""
    loaded = Scenario.load(scenario(study, PHOTOS))
    tree = loaded.dump()
    assert tree["program"]["task"]["dataset"] == {**PHOTOS, "folder": str((study / "photos").resolve())}
    assert TaskSpec().model_dump(mode="json")["dataset"] == "digits"
    assert Scenario.build(tree, home=loaded.home).dump() == tree


def test_images_are_split_by_class_and_scaled(study: Path) -> None:
    data = DatasetSpec.model_validate({"type": "images", "folder": str(study / "photos"), "size": 16, "test_share": 0.25}).load()
    assert isinstance(data, Dataset)
    assert data.classes == ("cat", "dog")
    assert tuple(data.train_images.shape) == (30, 3, 16, 16)
    assert torch.bincount(data.test_labels).tolist() == [5, 5]
    dark, bright = (float(data.train_images[data.train_labels == label].float().mean()) for label in (0, 1))
    assert dark < 60 < bright


def test_images_are_decoded_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.datasets import images

    calls = []
    true = images.decoded
    monkeypatch.setattr(images, "decoded", lambda *args, **kwargs: calls.append(1) or true(*args, **kwargs))
    first, second = images.load(study / "photos", 16), images.load(study / "photos", 16)
    assert len(calls) == 1
    assert torch.equal(first.train_images, second.train_images)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(study / "photos" / "cat" / "0.png")
    assert not torch.equal(images.load(study / "photos", 16).train_images, first.train_images) or len(calls) == 2
    assert len(calls) == 2


def test_a_damaged_cache_is_done_without(study: Path) -> None:
    from toolkit.datasets import images

    first = images.load(study / "photos", 16)
    (kept,) = (study.parent / "cache").glob("*.npz")
    for content in (kept.read_bytes()[:-100], b"PK", b""):
        kept.write_bytes(content)
        assert torch.equal(images.load(study / "photos", 16).train_images, first.train_images)


def test_a_network_of_ones_own_comes_out_where_its_code_is_trusted(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run directory names code; without trust it is refused by that name, and not called damaged."""
    monkeypatch.delenv("TOOLKIT_TRUST", raising=False)
    out, stem = study.parent / "out", (study / "stem").read_text()
    assert main([str(scenario(study, PHOTOS)), "--out", str(out), "--jobs", "1", "--quiet"]) == 0
    command = [sys.executable, "-m", "toolkit.export", str(out), "--format", "safetensors", "--out", str(out / "net.safetensors")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(study), str(Path(__file__).parents[2])])}
    refused = subprocess.run(command, env=paths, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert f"--trust {stem}" in refused.stderr
    assert "damaged" not in refused.stderr
    assert subprocess.run([*command, "--trust", stem], env=paths, check=False).returncode == 0


@pytest.mark.parametrize("model", [
    {"name": "resnet18", "options": {"nf": 4}}, {"name": "Net"}, {"name": "Net", "classifier": "head"},
])
@pytest.mark.parametrize("method", ["er", {"type": "clfd", "host": "er", "parts": "selection"}])
def test_photographs_are_learnt_one_class_after_the_other(study: Path, model: dict[str, object], method: object) -> None:
    """Data and networks of one's own through continual learning, as docs/data.md says."""
    tree = yaml12.read(scenario(study, PHOTOS))
    tree["fabric"]["workers"] = 1
    model = {**model, "name": f"{(study / 'stem').read_text()}:Net"} if model["name"] == "Net" else model
    tree["program"] = {
        "type": "continual", "method": method, "stream": {"tasks": 2}, "buffer": {"images": 5}, "budget": {"epochs": 1}, "batch": 8,
        "replay": 4, "task": {"dataset": PHOTOS, "model": model},
    }
    (study / "own.yaml").write_text(yaml12.dump(tree))
    out = study.parent / "continual"
    assert main([str(study / "own.yaml"), "--out", str(out), "--jobs", "1", "--quiet"]) == 0
    assert (out / "report.csv").is_file()


def test_a_table_names_images_in_any_layout(study: Path) -> None:
    from toolkit.datasets import images

    rows = ["file,label,split"] + [f"cat/{n}.png,a,{'test' if n < 3 else 'train'}" for n in range(9)]
    rows += [f"dog/{n}.jpg,b,{'test' if n < 2 else 'train'}" for n in range(9)]
    (study / "l.csv").write_text("\n".join(rows))
    data = images.load(study / "photos", 8, labels=study / "l.csv", grey=True)
    assert tuple(data.train_images.shape) == (13, 1, 8, 8)
    assert torch.bincount(data.test_labels).tolist() == [3, 2]


def test_arrays_in_a_file_are_taken(study: Path) -> None:
    data = DatasetSpec.model_validate({"type": "arrays", "file": str(study / "mine.npz")}).load()
    assert data.classes == ("3", "7", "9")
    assert tuple(data.train_images.shape) == (24, 1, 16, 16)
    assert set(data.train_labels.tolist()) == {0, 1, 2}


def test_a_reader_of_ones_own_is_taken(study: Path) -> None:
    name = (study / "stem").read_text() + "_data"
    loaded = Scenario.load(scenario(study, {"type": name, "count": 24}))
    assert len(loaded.program.task.load().data.train_labels) == 24
    with pytest.raises(UserError, match="has no option 'counts'; did you mean 'count'"):
        Scenario.load(scenario(study, {"type": name, "counts": 24}))


def test_weights_of_a_network_of_ones_own_come_from_the_seed_alone(study: Path) -> None:
    task = Scenario.load(scenario(study, PHOTOS)).program.task.load()
    torch.manual_seed(5)
    first = task.build(torch.Generator().manual_seed(3))
    state = torch.get_rng_state()
    second = task.build(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = task.build(torch.Generator().manual_seed(4))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize(("dataset", "model", "says"), [
    ({"type": "images", "folder": "nowhere"}, "Net", "is no folder"),
    ({"type": "images"}, "Net", "missing 1 required positional argument: 'folder'"),
    ({"type": "images", "folder": "photos", "sizes": 3}, "Net", "has no option 'sizes'; did you mean 'size'"),
    ({"type": "images", "folder": "photos", "size": "big"}, "Net", "option 'size': input should be a valid integer"),
    ({"folder": "photos"}, "Net", "needs a 'type'"),
    ("imagse", "Net", "dataset 'imagse' is unknown; did you mean 'images'"),
    ("numpy.linalg", "Net", "runs only where you trust it: --trust numpy"),
    ({"type": "NETS"}, "Net", "has no function load"),
    ("antigravity.up", "Net", "runs only where you trust it: --trust antigravity"),
    (PHOTOS, "Nett", "has no class or function 'Nett'"),
    (PHOTOS, "not_a_network", "gives int, and must give a torch.nn.Module"),
])
def test_what_cannot_be_is_told(study: Path, dataset: object, model: str, says: str) -> None:
    if dataset == {"type": "NETS"}:  # the module that holds the network
        dataset = {"type": (study / "stem").read_text()}
    with pytest.raises(UserError) as caught:
        Scenario.load(scenario(study, dataset, model)).check()
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_module_that_does_not_import_is_told_with_its_line(study: Path) -> None:
    (study / "brokennet.py").write_text("import torch\nclass Net(\n")
    path = scenario(study, "digits")
    path.write_text(path.read_text().replace((study / "stem").read_text(), "brokennet"))
    with pytest.raises(UserError, match=r"'brokennet' does not import \(SyntaxError: .*line 2"):
        Scenario.load(path)


def pixels(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(("images", "says"), [
    (pixels(4, 8, 8, 3), "with channels last; give x.transpose(0, 3, 1, 2)"),
    (pixels(4, 8), "give (n, channels, height, width)"),
    (pixels(0, 3, 8, 8), "give (n, channels, height, width)"),
    (np.full((4, 3, 8, 8), 0.5), "images are float64 from 0.5 to 0.5; give bytes"),
    (np.full((4, 3, 8, 8), 300), "pixels run from 300 to 300; they must be from 0 to 255"),
    (np.full((4, 3, 8, 8), "x"), "they must be bytes from 0 to 255"),
])
def test_images_that_are_none_are_told(images: np.ndarray, says: str) -> None:
    with pytest.raises(DataError) as caught:
        as_pixels("x", images)
    assert says in str(caught.value)


def test_grey_images_get_their_channel() -> None:
    assert as_pixels("x", pixels(4, 8, 8)).shape == (4, 1, 8, 8)
    assert as_pixels("x", np.full((4, 3, 8, 8), 255)).dtype == np.uint8


@pytest.mark.parametrize(("train", "test", "says"), [
    ((pixels(4, 3, 8, 8), np.arange(4) % 2), (pixels(2, 1, 8, 8), np.arange(2)), "they must agree"),
    ((pixels(4, 3, 8, 8), np.arange(3) % 2), (pixels(2, 3, 8, 8), np.arange(2)), "give one label per image"),
    ((pixels(4, 3, 8, 8), np.arange(4) / 2), (pixels(2, 3, 8, 8), np.arange(2)), "they must be whole numbers or texts"),
    ((pixels(4, 3, 8, 8), np.arange(4) % 2), (pixels(2, 3, 8, 8), np.array([0, 5])), "no training image has the label 5"),
])
def test_parts_that_do_not_fit_are_told(train: tuple, test: tuple, says: str) -> None:
    with pytest.raises(DataError) as caught:
        own_dataset("x", train, test)
    assert says in str(caught.value)


def test_labels_with_holes_are_numbered_and_keep_their_names() -> None:
    labels = np.array([10, 30, 10, 30])
    data = own_dataset("x", (pixels(4, 3, 8, 8), labels), (pixels(2, 3, 8, 8), np.array([30, 10])))
    assert (data.num_classes, data.classes) == (2, ("10", "30"))
    assert data.test_labels.tolist() == [1, 0]


def test_a_stratified_split_takes_its_share_of_every_class() -> None:
    labels = np.array(["a"] * 10 + ["b"] * 20 + ["c"] * 2)
    train, test = stratified(labels, 0.2, 7)
    assert sorted([*train, *test]) == list(range(32))
    assert [int((labels[test] == name).sum()) for name in "abc"] == [2, 4, 1]
    assert stratified(labels, 0.2, 7)[1].tolist() == test.tolist() != stratified(labels, 0.2, 8)[1].tolist()
    with pytest.raises(DataError, match="class z has one image"):
        stratified(np.array(["z", "y", "y"]), 0.2, 0)


def test_the_reader_in_the_page_is_the_reader_here() -> None:
    """The module that docs/data.md shows is the one that these tests run."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    assert textwrap.dedent(READER).strip() in page
