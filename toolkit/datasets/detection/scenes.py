"""Digit scenes: handwritten digits on pieces of photographs, with tight boxes; made from what dependencies ship.

The digits are those of `toolkit.datasets.digits` (8 x 8, with scikit-learn) or `toolkit.datasets.mnist`; training scenes take the training
digits, test scenes the others. The photographs are the two that scikit-learn ships; training scenes take pieces of their left 70 %, test
scenes of their right 30 %. A scene has one to four digits of any colour, their sides 20 to 44 pixels, of which no two overlap by more than
a tenth of the smaller one; the photograph's brightness varies, and noise of deviation 0.02 lies over all.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from toolkit.datasets import Dataset, MissingDataError, digits, mnist
from toolkit.datasets.detection.annotations import Annotations, Box, ImageEntry
from toolkit.datasets.detection.images import DetectionSet, InMemory

Floats = NDArray[np.float32]
Source = Literal["digits", "mnist"]
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
TRAIN_SHARE = 0.7
HEIGHTS = (20, 44)
INK = 0.3
"""Coverage from which a pixel belongs to a digit's box."""
TRIES = 30
MOST_DIGITS = 4


@lru_cache(maxsize=1)
def photographs() -> tuple[Floats, ...]:
    """Return the photographs, (height, width, 3) from 0 to 1.

    Raises:
        MissingDataError: scikit-learn is not installed.
    """
    from PIL import Image

    spec = find_spec("sklearn")
    folder = Path(spec.origin).parent / "datasets" / "images" if spec is not None and spec.origin is not None else None
    if folder is None or not all((folder / name).is_file() for name in PHOTOGRAPHS):
        raise MissingDataError("digit scenes: scikit-learn, which ships the photographs, is not installed")
    found: list[Floats] = []
    for name in PHOTOGRAPHS:
        with Image.open(folder / name) as image:
            found.append(np.asarray(image.convert("RGB"), np.float32) / np.float32(255))
    return tuple(found)


def scenes(
    count: int, *, classes: tuple[int, ...] = tuple(range(10)), split: Literal["train", "test"] = "train", side: int = 96, seed: int = 0,
    source: Source = "digits", path: str | None = None, unlabelled: tuple[int, ...] = (),
) -> DetectionSet:
    """Return *count* scenes with digits of *classes*.

    Args:
        count: of scenes.
        classes: digits that occur and are annotated; category d + 1 is digit d.
        split: whose digits and whose part of the photographs.
        side: of a scene in pixels.
        seed: a scene is a function of it, its number, and the classes.
        source: of the digits.
        path: where these are, as their reader takes it.
        unlabelled: digits that occur too and are not annotated.

    Raises:
        MissingDataError: digits or photographs are not there.
    """
    data = (digits if source == "digits" else mnist).load(path)
    glyphs = _glyphs(data, split)
    images, entries = torch.empty((count, 3, side, side), dtype=torch.uint8), []
    boxes: list[Box] = []
    rng = np.random.default_rng([seed, 0 if split == "train" else 1, side, *sorted(classes), 77, *sorted(unlabelled)])
    for number in range(count):
        pixels, placed = _scene(rng, glyphs, (*classes, *unlabelled), side, split)
        images[number] = torch.from_numpy(pixels)
        entries.append(ImageEntry(number + 1, f"scene_{number + 1:05d}.png", side, side))
        for digit, (x, y, width, height) in placed:
            if digit in classes:
                boxes.append(Box(len(boxes) + 1, number + 1, digit + 1, (x, y, width, height), width * height))
    categories = tuple((digit + 1, f"digit {digit}") for digit in sorted(classes))
    return DetectionSet(f"digit scenes ({source})", InMemory(images), side, Annotations(tuple(entries), categories, tuple(boxes), "scenes"))


@lru_cache(maxsize=4)
def _glyphs(data: Dataset, split: str) -> dict[int, Floats]:
    """Return the digits of each class, (n, side, side) of coverage from 0 to 1."""
    images, labels = (data.train_images, data.train_labels) if split == "train" else (data.test_images, data.test_labels)
    return {digit: (images[labels == digit][:, 0].to(torch.float32) / 255).numpy() for digit in range(data.num_classes)}


def _scene(
    rng: np.random.Generator, glyphs: dict[int, Floats], classes: tuple[int, ...], side: int, split: str
) -> tuple[NDArray[np.uint8], list[tuple[int, tuple[float, float, float, float]]]]:
    """Return one scene (3, side, side) and what was placed in it."""
    canvas = _background(rng, side, split)
    placed: list[tuple[int, tuple[float, float, float, float]]] = []
    for _ in range(int(rng.integers(1, MOST_DIGITS + 1))):
        digit = int(rng.choice(classes))
        cover = _enlarged(glyphs[digit][rng.integers(len(glyphs[digit]))], int(rng.integers(HEIGHTS[0], min(HEIGHTS[1], side) + 1)))
        height, width = cover.shape
        for _ in range(TRIES):
            x, y = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
            if all(_shared((x, y, width, height), other) <= 0.1 for _, other in placed):
                break
        else:
            continue
        under = canvas[y : y + height, x : x + width]
        colour = rng.random(3, np.float32)
        while np.abs(colour - under.mean(axis=(0, 1))).max() < 0.35:  # a digit of the colour of its ground is not to be seen
            colour = rng.random(3, np.float32)
        canvas[y : y + height, x : x + width] = under + cover[..., None] * (colour - under)
        placed.append((digit, (float(x), float(y), float(width), float(height))))
    noisy = canvas + rng.normal(0, 0.02, canvas.shape).astype(np.float32)
    return np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1), placed


def _background(rng: np.random.Generator, side: int, split: str) -> Floats:
    pictures = photographs()
    picture = pictures[rng.integers(len(pictures))]
    edge = int(picture.shape[1] * TRAIN_SHARE)
    part = picture[:, :edge] if split == "train" else picture[:, edge:]
    y, x = (int(rng.integers(0, length - side + 1)) for length in part.shape[:2])
    piece: Floats = part[y : y + side, x : x + side] * np.float32(rng.uniform(0.6, 1.2))
    return piece.copy()


def _enlarged(glyph: Floats, height: int) -> Floats:
    """Return the ink of a digit cut out and brought to *height* pixels, its proportions kept."""
    inked = glyph > INK
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    ink = torch.from_numpy(glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])[None, None]
    width = max(4, round(height * ink.shape[3] / ink.shape[2]))
    large: Floats = functional.interpolate(ink, size=(height, min(width, height)), mode="bilinear", align_corners=False)[0, 0].numpy()
    cover: Floats = np.clip(np.float32(1.4) * large, 0, 1).astype(np.float32)
    return cover


def _shared(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Return the common area of two boxes x, y, width, height as a share of the smaller one."""
    across = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    down = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    return max(0.0, across) * max(0.0, down) / min(first[2] * first[3], second[2] * second[3])
