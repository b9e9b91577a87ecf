"""Detectors that come out of a run: what is kept of one with its pictures, and the same detector again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolkit.core.context import Context
from toolkit.core.network_file import network_paths, read_network
from toolkit.core.rundir import reading
from toolkit.datasets.detection.images import DetectionSet
from toolkit.errors import RunDirectoryError
from toolkit.learning.detection.inversion import Generated, to_bytes
from toolkit.learning.detection.prediction import Exportable, Found, drawn
from toolkit.methods.detection.prepared import network
from toolkit.methods.detection.settings import NetSettings
from toolkit.methods.trained import leave, put_into
from toolkit.models.detection.detector import Detector

PICTURES = "pictures."
SHOWN_SCORE = 0.3
"""Least score of a box in a picture."""
SHOWN = 20
"""Generated images that are kept."""


def pictures(
    test: DetectionSet, before: Sequence[Found], after: Sequence[Found], generated: Generated | None
) -> dict[str, NDArray[np.generic]]:
    """Return pictures as bytes (n, 3, height, width): detections before and after the increments, and generated objects."""
    found: dict[str, NDArray[np.generic]] = {}
    if before:
        images = test.pixels.take(torch.arange(len(before)))
        for name, answers in (("before", before), ("after", after)):
            shown = [_above(each, SHOWN_SCORE) for each in answers]
            drawings = [
                drawn(image, each.boxes, each.labels, test.names, each.scores, enlarged=2 if test.side < 200 else 1)
                for image, each in zip(images, shown, strict=True)
            ]
            found[PICTURES + name] = torch.stack(drawings).numpy()
    if generated is not None and len(generated.labels):
        images = to_bytes(generated.images[:SHOWN])
        drawings = [
            drawn(image, box.unsqueeze(0), label.unsqueeze(0), test.names, enlarged=2)
            for image, box, label in zip(images, generated.boxes, generated.labels, strict=False)
        ]
        found[PICTURES + "generated"] = torch.stack(drawings).numpy()
    return found


def _above(found: Found, score: float) -> Found:
    kept = found.scores >= score
    return Found(found.boxes[kept], found.scores[kept], found.labels[kept])


def hand_out(
    ctx: Context, detector: Detector, net: NetSettings, sizes: Sequence[int], test: DetectionSet, *,
    shown: dict[str, NDArray[np.generic]],
) -> None:
    """Leave *detector* and its pictures to whoever runs this."""
    facts: dict[str, Any] = {
        "detector": net.model_dump(mode="json"), "sizes": list(sizes), "names": list(test.names), "category_ids": list(test.ids),
        "side": test.side, "dataset": test.name,
    }
    leave(ctx, {**detector.state_dict(), **{name: torch.from_numpy(values) for name, values in shown.items()}}, facts)


def trained_detector(stem: Path) -> tuple[Detector, dict[str, Any]]:
    """Return the detector that a run left as *stem*, in eval mode, and what is known of it.

    Raises:
        RunDirectoryError: there is none, or its files are damaged.
    """
    weights, facts = _files(stem)
    with reading(stem):
        net = NetSettings(**{**facts["detector"], "weights": None})
        generator = torch.Generator().manual_seed(0)
        found = network(net, facts["sizes"][0], generator)
        for size in facts["sizes"][1:]:
            found.add_classes(size, generator)
        put_into(found, {name: value for name, value in weights.items() if not name.startswith(PICTURES)})
    found.eval()
    return found, facts


def exportable_detector(stem: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the detector as one that gives one tensor (n, cells, 4 + classes), and what is known of it.

    Raises:
        RunDirectoryError: as `trained_detector`.
    """
    detector, facts = trained_detector(stem)
    return Exportable(detector).eval(), {**facts, "shape": [3, facts["side"], facts["side"]]}


def kept_pictures(stem: Path) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of a run by name, bytes (n, 3, height, width)."""
    weights, _ = _files(stem)
    return {name.removeprefix(PICTURES): value for name, value in weights.items() if name.startswith(PICTURES)}


def _files(stem: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    weights, facts = read_network(stem)
    if "detector" not in facts:
        raise RunDirectoryError(f"{network_paths(stem)[1]}: it is of a network of another kind, and no detector's")
    return weights, facts
