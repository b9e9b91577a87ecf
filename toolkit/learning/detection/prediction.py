"""From images to boxes: decoding, suppression, and pictures with boxes drawn on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.models.detection.detector import Detector
from toolkit.models.detection.geometry import clipped
from toolkit.models.detection.nms import nms

LEAST_SCORE, CONSIDERED, OVERLAP, MOST = 0.05, 1000, 0.6, 100
"""Of the public settings: score, candidates per level before suppression, IoU of suppression, boxes per image."""


class Found(NamedTuple):
    """Objects found in one image, best first."""

    boxes: Tensor
    """(n, 4) corners in pixels."""
    scores: Tensor
    labels: Tensor


@torch.no_grad()
def predict(detector: Detector, images: Tensor, *, least_score: float = LEAST_SCORE, batch: int = 64) -> list[Found]:
    """Return what *detector* finds in *images* (n, 3, height, width), bytes or values from 0 to 1; its mode is left as it was."""
    training = detector.training
    detector.eval()
    found: list[Found] = []
    for part in torch.split(images, batch):
        found += _decoded(detector, as_values(part.to(detector.mean.device)), least_score)
    detector.train(training)
    return found


def as_values(images: Tensor) -> Tensor:
    """Return *images* as float32 from 0 to 1; bytes are divided by 255."""
    return images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images


def _decoded(detector: Detector, images: Tensor, least_score: float) -> Iterator[Found]:
    answer = detector(images)
    cells = detector.cells(answer)
    boxes = clipped(detector.boxes(answer, cells), images.shape[3], images.shape[2])
    scores = answer.logits.sigmoid()
    for own_boxes, own_scores in zip(boxes, scores, strict=True):
        places, begin = [], 0
        for count in cells.counts:
            level = own_scores[begin : begin + count].flatten()
            best = level.topk(min(CONSIDERED, level.numel()))
            places.append(best.indices[best.values >= least_score] + begin * own_scores.shape[1])
            begin += count
        place = torch.cat(places)
        cell, label = place // own_scores.shape[1], place % own_scores.shape[1]
        kept = nms(own_boxes[cell], own_scores.flatten()[place], OVERLAP, label)[:MOST]
        yield Found(own_boxes[cell[kept]].cpu(), own_scores.flatten()[place[kept]].cpu(), label[kept].cpu())


class Exportable(nn.Module):
    """A detector whose answer is one tensor (b, cells, 4 + classes): boxes and scores before suppression; what can be exported."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        answer = self.detector(images)
        return torch.cat([self.detector.boxes(answer, self.detector.cells(answer)), answer.logits.sigmoid()], dim=-1)


COLOURS = ((228, 26, 28), (55, 126, 184), (77, 175, 74), (152, 78, 163), (255, 127, 0), (166, 86, 40), (247, 129, 191), (0, 160, 160))


def drawn(
    image: Tensor, boxes: Tensor, labels: Tensor, names: Sequence[str], scores: Tensor | None = None, *, enlarged: int = 3
) -> Tensor:
    """Return *image* (3, height, width) of bytes *enlarged* and with *boxes* and their names on it, as bytes (3, ...)."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    picture = picture.resize((picture.width * enlarged, picture.height * enlarged), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    for place, (box, label) in enumerate(zip((boxes * enlarged).tolist(), labels.tolist(), strict=True)):
        x1, y1, x2, y2 = box
        colour = COLOURS[label % len(COLOURS)]
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=2)
        said = names[label] if scores is None else f"{names[label]} {float(scores[place]):.2f}"
        pen.text((x1 + 3, y1 + 2), said, fill=colour)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def save_picture(image: Tensor, path: str | Path) -> None:
    """Write *image* (3, height, width) of bytes to *path*, in the format of its ending."""
    from PIL import Image

    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(path)
