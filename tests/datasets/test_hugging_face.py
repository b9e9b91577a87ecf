"""Sets as Hugging Face's `datasets` saves them to disk: the same pictures and labels as a folder of PNG files gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.datasets import hugging_face, images
from toolkit.errors import DataError

hub = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    drawn = [Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(12)]
    for number, picture in enumerate(drawn):
        folder = tmp_path / "photos" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number:02}.png")
    return {"image": drawn, "label": [number % 2 for number in range(12)]}


def saved(tree: Any, folder: Path) -> Path:
    tree.save_to_disk(str(folder))
    return folder


def rows(columns: dict[str, list[Any]]) -> Any:
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog"])})
    return hub.Dataset.from_dict(columns, features=features)


def test_it_is_what_the_same_pictures_in_folders_are(pictures: dict[str, list[Any]], tmp_path: Path) -> None:
    """Both split a share of every class by the same seed; the order within a class differs, so sets are compared."""
    ours = hugging_face.load(saved(rows(pictures), tmp_path / "saved"), 16, test_share=0.34)
    folder = images.load(tmp_path / "photos", 16, test_share=0.34)
    assert ours.num_classes == folder.num_classes == 2
    assert torch.bincount(ours.train_labels).tolist() == torch.bincount(folder.train_labels).tolist()

    def seen(data: Any) -> set[tuple[int, bytes]]:
        pairs = [(data.train_images, data.train_labels), (data.test_images, data.test_labels)]
        return {(int(label), each.numpy().tobytes()) for stack, labels in pairs for each, label in zip(stack, labels, strict=True)}

    assert seen(ours) == seen(folder)


def test_its_own_splits_are_kept(pictures: dict[str, list[Any]], tmp_path: Path) -> None:
    whole = rows(pictures)
    tree = hub.DatasetDict({"train": whole.select(range(8)), "validation": whole.select(range(8, 12))})
    data = hugging_face.load(saved(tree, tmp_path / "saved"), 8, grey=True)
    assert (tuple(data.train_images.shape), len(data.test_labels)) == ((8, 1, 8, 8), 4)


@pytest.mark.parametrize(("change", "says"), [
    ({"image": "picture"}, "has no column 'picture'"), ({"folder": "nowhere"}, "is no folder"), ({"size": 0}, "must be from 1"),
    ({"folder": "photos"}, "as datasets.save_to_disk leaves it"), ({"folder": "odd"}, "it must have train and one of"),
])
def test_what_is_wrong_is_told(change: dict[str, Any], says: str, pictures: dict[str, list[Any]], tmp_path: Path) -> None:
    whole = rows(pictures)
    saved(whole, tmp_path / "saved")
    saved(hub.DatasetDict({"a": whole, "b": whole}), tmp_path / "odd")
    options: dict[str, Any] = {"folder": "saved", "size": 8, **change}
    with pytest.raises(DataError, match=says):
        hugging_face.load(tmp_path / options.pop("folder"), **options)
