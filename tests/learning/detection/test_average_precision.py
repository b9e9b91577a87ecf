"""Average precision: hand-computed cases, pycocotools beside it, and published numbers where their files are."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import DataError
from toolkit.learning.detection import evaluate

NAMES = ("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge", "AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge")


def coco(
    boxes: list[tuple[int, int, tuple[float, ...]]], images: int = 2, classes: int = 2, crowds: tuple[int, ...] = ()
) -> dict[str, Any]:
    return {
        "images": [{"id": number + 1, "file_name": f"{number}.png", "width": 200, "height": 200} for number in range(images)],
        "categories": [{"id": number + 1, "name": f"c{number + 1}"} for number in range(classes)],
        "annotations": [
            {"id": place + 1, "image_id": image, "category_id": category, "bbox": list(bbox), "area": bbox[2] * bbox[3],
             "iscrowd": int(place in crowds)}
            for place, (image, category, bbox) in enumerate(boxes)
        ],
    }


def result(image: int, category: int, bbox: tuple[float, ...], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}


def test_1_ground_truth_as_prediction_is_perfect() -> None:
    truth = coco([(1, 1, (10, 10, 20, 20)), (1, 2, (50, 50, 40, 60)), (2, 1, (0, 0, 150, 150))])
    found = evaluate(truth, [result(b["image_id"], b["category_id"], tuple(b["bbox"]), 0.9) for b in truth["annotations"]])
    assert found["AP"] == pytest.approx(1.0)
    assert found["per_class"]["c2"]["AP50"] == pytest.approx(1.0)
    assert found["APlarge"] == pytest.approx(1.0)


def test_a_false_one_before_a_true_one_halves_precision() -> None:
    truth = coco([(1, 1, (10, 10, 40, 40))], classes=1)
    found = evaluate(truth, [result(1, 1, (100, 100, 40, 40), 0.9), result(1, 1, (10, 10, 40, 40), 0.8)])
    assert found["AP"] == pytest.approx(0.5)
    assert found["AR1"] == pytest.approx(0.0)
    assert found["AR10"] == pytest.approx(1.0)


def test_an_overlap_counts_up_to_itself() -> None:
    """40 x 40 shifted by 8: IoU 32 / 48 = 0.667, so the first four of ten thresholds."""
    found = evaluate(coco([(1, 1, (10, 10, 40, 40))], classes=1), [result(1, 1, (18, 10, 40, 40), 0.9)])
    assert found["AP"] == pytest.approx(0.4)
    assert found["AP50"] == pytest.approx(1.0)
    assert found["AP75"] == pytest.approx(0.0)


def test_groups_are_means_of_their_classes() -> None:
    truth = coco([(1, 1, (10, 10, 40, 40)), (1, 2, (80, 80, 40, 40))])
    found = evaluate(truth, [result(1, 1, (10, 10, 40, 40), 0.9)], groups={"old": [1], "new": [2], "none": []})
    assert found["groups"]["old"]["AP"] == pytest.approx(1.0)
    assert found["groups"]["new"]["AP"] == pytest.approx(0.0)
    assert found["groups"]["none"]["AP"] == -1
    assert found["AP"] == pytest.approx(0.5)


def scattered(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of all sizes, some of them crowds, and detections near them, elsewhere, and twice."""
    rng = np.random.default_rng(seed)
    boxes, found = [], []
    for image in range(1, 13):
        for _ in range(rng.integers(0, 7)):
            x, y = rng.uniform(0, 100, 2)
            w, h = rng.choice([12, 40, 120]) * rng.uniform(0.7, 1.3, 2)
            category = int(rng.integers(1, 4))
            boxes.append((image, category, (x, y, w, h)))
            for _ in range(rng.integers(0, 4)):
                near = np.array([x, y, w, h]) + rng.normal(0, rng.choice([1, 4, 15]), 4)
                near[2:] = np.clip(near[2:], 2, None)
                found.append(result(image, int(rng.choice([category, category, 1])), tuple(near.tolist()), round(float(rng.random()), 1)))
    return coco(boxes, 12, 4, tuple(np.flatnonzero(rng.random(len(boxes)) < 0.15).tolist())), found


@pytest.mark.parametrize("seed", range(6))
def test_pycocotools_says_the_same(seed: int) -> None:
    tools, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    truth, detections = scattered(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = tools.COCO()
        reference.dataset = json.loads(json.dumps(truth))
        reference.createIndex()
        theirs = evaluation.COCOeval(reference, reference.loadRes(detections), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = evaluate(truth, detections)
    assert [ours[name] for name in NAMES] == pytest.approx(theirs.stats.tolist(), abs=1e-9)


@pytest.mark.parametrize(("folder", "truth", "detections"), [
    ("map-reference", "coco_gts.json", "coco_dets.json"), ("voc2012-100", "instances_val.json", "detections_val.json"),
])
def test_published_numbers(folder: str, truth: str, detections: str) -> None:
    place = Path(os.environ.get("TOOLKIT_DATA", "data")) / folder
    if not place.is_dir():
        pytest.skip(f"{place} is not there")
    expected = json.loads((place / "expected_pycocotools.json").read_text(encoding="utf-8"))
    found = evaluate(place / truth, place / detections)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("detections", "says"), [
    ([result(9, 1, (0, 0, 1, 1), 0.5)], "1 are of an image that is not among the annotations"),
    ([result(1, 9, (0, 0, 1, 1), 0.5)], "1 are of a category that is not among the annotations"),
    ([{"image_id": 1}], r"detections\[0\]: needs image_id, category_id, bbox and score"),
    ([result(1, 1, (0, 0, float("nan"), 1), 0.5)], "must be finite"),
    ("nowhere.json", "cannot be read"),
])
def test_what_is_no_detection_is_one_sentence(detections: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        evaluate(coco([(1, 1, (10, 10, 20, 20))]), detections)
    assert "\n" not in str(caught.value)


def test_nothing_found_is_nothing_and_no_error() -> None:
    found = evaluate(coco([(1, 1, (10, 10, 20, 20))]), [])
    assert found["AP"] == 0
    assert found["APlarge"] == -1
