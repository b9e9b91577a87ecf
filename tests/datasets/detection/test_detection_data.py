"""Annotated images: flaws are counted and named, classes are split by both protocols, scenes are what they say."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.datasets.detection.annotations import Annotations, Box, ImageEntry, read_coco
from toolkit.datasets.detection.checks import flaws, image_flaws, told, usable
from toolkit.datasets.detection.folders import FlawedImages, checked, coco, voc
from toolkit.datasets.detection.scenes import scenes
from toolkit.datasets.detection.split import split_classes
from toolkit.errors import DataError
from toolkit.split_classes import main


def annotations(boxes: list[tuple[int, int, tuple[float, float, float, float]]], images: int = 3, classes: int = 3) -> Annotations:
    return Annotations(
        tuple(ImageEntry(number, f"{number}.png", 100, 80) for number in range(1, images + 1)),
        tuple((number, f"c{number}") for number in range(1, classes + 1)),
        tuple(Box(place, image, category, bbox, bbox[2] * bbox[3]) for place, (image, category, bbox) in enumerate(boxes, 1)), "own",
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    own = annotations([(1, 1, (1, 2, 30.5, 4)), (2, 3, (5, 5, 5, 5))])
    assert read_coco(own.write(tmp_path / "own.json")) == own
    assert read_coco(own.to_coco()) == own


@pytest.mark.parametrize(("change", "says"), [
    ({"images": None}, "has no list 'images'"),
    ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]}, r"annotations\[0\]: its bbox must be four numbers"),
    ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, float("nan")]}]}, "its bbox must be four numbers"),
    ({"annotations": [{"image_id": "x", "category_id": 1, "bbox": [1, 2, 3, 4]}]}, r"needs a whole number 'image_id' \(got 'x'\)"),
    ({"images": [3]}, r"images\[0\]: must be an object"),
])
def test_what_is_no_coco_is_one_sentence_with_its_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_coco({**annotations([(1, 1, (1, 2, 3, 4))]).to_coco(), **change})
    assert "\n" not in str(caught.value)


def test_files_that_are_no_json_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_coco(tmp_path / "nowhere.json")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="is not JSON"):
        read_coco(tmp_path / "bad.json")


def test_harmless_flaws_are_counted_and_mended() -> None:
    own = annotations([
        (1, 1, (-5, -5, 20, 20)), (1, 1, (200, 10, 5, 5)), (1, 2, (10, 10, 0, 5)), (2, 2, (10, 10, 5, 5)), (2, 1, (10, 10, 5, -5)),
    ])
    found = {flaw.kind: flaw.count for flaw in flaws(own)}
    assert found == {
        "boxes over the border of their image": 1, "boxes outside their image": 1, "boxes without area": 2, "images without a box": 1,
        "categories without a box": 1,
    }
    mended = usable(own, flaws(own))
    assert [box.bbox for box in mended.boxes] == [(0, 0, 15, 15), (10, 10, 5, 5)]
    assert "2 boxes without area (first: box 3, 0 x 5)" in told(flaws(own))


@pytest.mark.parametrize(("own", "says"), [
    (annotations([(9, 1, (1, 1, 2, 2))]), r"1 boxes of unknown images \(first: box 1 of image 9\)"),
    (annotations([(1, 9, (1, 1, 2, 2)), (1, 8, (1, 1, 2, 2))]), "2 boxes of unknown categories"),
    (Annotations((ImageEntry(1, "a", 9, 9),) * 2, ((1, "c"),), ()), "duplicate image ids"),
    (Annotations((ImageEntry(1, "a", 9, 9),), ((1, "c"), (1, "d")), ()), "duplicate category ids"),
    (Annotations((ImageEntry(1, "a", 9, 9),), ((1, "c"),), (Box(1, 1, 1, (0, 0, 1, 1), 1),) * 2), "duplicate box ids"),
])
def test_flaws_that_leave_open_what_is_meant_are_refused_before_training(own: Annotations, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        usable(own, flaws(own))
    assert "\n" not in str(caught.value)


def folder(place: Path) -> Annotations:
    """Images of every depth: colour, grey, 16 bits, transparent, with a palette."""
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(colour).save(place / "1.png")
    Image.fromarray(colour[..., 0]).save(place / "2.png")
    Image.fromarray(colour[..., 0].astype(np.uint16) * 257).save(place / "3.png")
    Image.fromarray(np.dstack([colour, colour[..., :1]])).save(place / "4.png")
    Image.fromarray(colour).convert("P").save(place / "5.png")
    return annotations([(number, 1, (10, 10, 30, 20)) for number in range(1, 6)], images=5, classes=1)


def test_images_of_any_depth_are_read_and_named(tmp_path: Path) -> None:
    own = folder(tmp_path)
    found = {flaw.kind: flaw.count for flaw in image_flaws(own, tmp_path)}
    assert found == {"grey images": 1, "images of 16 bits": 1}
    with pytest.warns(FlawedImages, match=r"own: 1 grey images \(first: 2.png\); 1 images of 16 bits \(first: 3.png\)"):
        data = coco(own.write(tmp_path / "own.json"), tmp_path, 50)
    assert data.images.shape == (5, 3, 50, 50)
    assert torch.equal(data.images[1], data.images[2])  # 8 bits, and the same in 16
    assert data.annotations.boxes[0].bbox == (5, 5, 15, 10)
    rows = data.results([(torch.tensor([[5.0, 5, 20, 15]]), torch.tensor([0.9]), torch.tensor([0]))] * 5)
    assert rows[0]["bbox"] == pytest.approx([10, 10, 30, 20])


def test_images_that_do_not_decode_are_told_before_anything_is_learnt(tmp_path: Path) -> None:
    own = folder(tmp_path)
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "3.png").unlink()
    path = own.write(tmp_path / "own.json")
    says = r"1 images that do not decode \(first: 2.png\); 1 images that are not there \(first: 3.png\)"
    with pytest.raises(DataError, match=says) as caught:
        coco(path, tmp_path, 50)
    assert "\n" not in str(caught.value)


def test_images_in_a_tar_file_are_those_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "images"
    place.mkdir()
    path = folder(place).write(tmp_path / "own.json")
    with tarfile.open(tmp_path / "images.tar", "w") as packed:
        for file in sorted(place.iterdir()):
            packed.add(file, file.name)
    with pytest.warns(FlawedImages):
        assert torch.equal(coco(path, tmp_path / "images.tar", 50).images, coco(path, place, 50).images)
    _, found = checked(path, place)
    assert found


def test_voc_folders(tmp_path: Path) -> None:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "Annotations" / "a.xml").write_text(
        "<annotation><filename>a.jpg</filename><size><width>100</width><height>80</height></size>"
        "<object><name>dog</name><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object>"
        "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>100</xmax><ymax>80</ymax></bndbox></object></annotation>",
        encoding="utf-8",
    )
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n", encoding="utf-8")
    data = voc(tmp_path, 100, split="train")
    assert data.names == ("cat", "dog")
    assert [(box.category_id, box.bbox) for box in data.annotations.boxes] == [(2, (10, 20, 30, 40)), (1, (0, 0, 100, 80))]
    with pytest.raises(DataError, match="no folder Annotations"):
        voc(tmp_path / "JPEGImages", 100)
    with pytest.raises(DataError, match="the split 'val' is unknown"):
        voc(tmp_path, 100, split="val")


def mixed(seed: int = 0) -> Annotations:
    rng = np.random.default_rng(seed)
    shown = [rng.permutation(6)[: rng.integers(0, 4)] + 1 for _ in range(60)]
    boxes = [(image, int(category), (1.0, 1.0, 5.0, 5.0)) for image, own in enumerate(shown, 1) for category in own]
    return annotations(boxes, images=60, classes=6)


def test_5_later_steps_show_nothing_of_earlier_ones_and_no_image_is_lost() -> None:
    own = mixed()
    split = split_classes(own, [3, 2, 1])
    assert [step.category_ids for step in split.steps] == [(1, 2, 3), (4, 5), (6,)]
    shown = {image: {box.category_id for box in boxes} for image, boxes in own.of_images().items()}
    for number, step in enumerate(split.steps):
        earlier = {category for each in split.steps[:number] for category in each.category_ids}
        for image in step.annotations.images:
            assert not shown[image.id] & earlier
        assert {box.category_id for box in step.annotations.boxes} <= set(step.category_ids)
    taken = {image.id for step in split.steps for image in step.annotations.images}
    assert taken | set(split.dropped) == {image.id for image in own.images}
    assert not taken & set(split.dropped)


def test_co_occurrence_keeps_shared_images_with_old_objects_unlabelled() -> None:
    own = mixed()
    strict, loose = (split_classes(own, [3, 3], protocol).steps[1].annotations for protocol in ("non_co_occurrence", "co_occurrence"))
    assert {image.id for image in strict.images} < {image.id for image in loose.images}
    assert {box.category_id for box in loose.boxes} == {4, 5, 6}
    assert split_classes(own, [3, 3]).steps[0].annotations == split_classes(own, [3, 3], "co_occurrence").steps[0].annotations


@pytest.mark.parametrize("sizes", [[5, 5], [], [0, 3]])
def test_steps_that_cannot_be_made_are_told(sizes: list[int]) -> None:
    with pytest.raises(DataError, match="cannot be made of its 6 categories"):
        split_classes(mixed(), sizes)


def test_a_step_without_images_is_told() -> None:
    own = annotations([(1, 1, (1, 1, 2, 2)), (1, 2, (1, 1, 2, 2))], images=1, classes=2)
    with pytest.raises(DataError, match="step 1 has no image"):
        split_classes(own, [1, 1])


def test_the_command_writes_steps_and_tells_what_it_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mixed().write(tmp_path / "own.json")
    assert main([str(path), "3", "3", "--out", str(tmp_path / "steps")]) == 0
    said = capsys.readouterr().out
    assert "dropped:" in said
    assert "images without a box" in said
    step = json.loads((tmp_path / "steps" / "step_1.json").read_text(encoding="utf-8"))
    assert {box["category_id"] for box in step["annotations"]} == {4, 5, 6}
    assert main([str(path), "9", "9"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_scenes_have_tight_boxes_of_their_digits_apart_from_each_other() -> None:
    data = scenes(30, classes=(0, 3), side=64, seed=2)
    assert data.names == ("digit 0", "digit 3")
    assert torch.equal(data.images, scenes(30, classes=(0, 3), side=64, seed=2).images)
    assert not torch.equal(data.images, scenes(30, classes=(0, 3), side=64, seed=3).images)
    by_image = data.annotations.of_images()
    assert all(1 <= len(boxes) <= 4 for boxes in by_image.values())
    for box in data.annotations.boxes:
        x, y, width, height = box.bbox
        assert x >= 0
        assert y >= 0
        assert x + width <= 64
        assert y + height <= 64
        assert 20 <= height <= 44
    assert not flaws(data.annotations)


def test_unlabelled_digits_are_there_and_not_said() -> None:
    plain, hidden = (scenes(40, classes=(1,), side=64, seed=4, unlabelled=more) for more in ((), (0,)))
    assert len(hidden.annotations.boxes) < len(plain.annotations.boxes)
    assert {box.category_id for box in hidden.annotations.boxes} == {2}
