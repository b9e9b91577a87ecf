"""Annotated images of the user's: COCO json with a folder of images, and folders in the layout of PASCAL VOC.

    data = coco("instances_train.json", "train", side=320)
    data = voc("VOC2012", side=320)

Both are looked through before anything is learnt (`toolkit.datasets.detection.checks`). Images may lie in a folder or in a tar file.
"""

from __future__ import annotations

import tarfile
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import torch

from toolkit.core.once import read_once
from toolkit.datasets.cache import cache_folder, decoded_once
from toolkit.datasets.detection.annotations import Annotations, Box, ImageEntry, read_coco
from toolkit.datasets.detection.checks import Flaw, flaws, image_flaws, told, usable
from toolkit.datasets.detection.images import DetectionSet, InMemory, OnDisk, decoded, scaled_annotations
from toolkit.errors import DataError, Note

HELD_BYTES = 2e9
"""Pixels that are kept in memory at most; larger sets are decoded batch by batch."""


def coco(json: str | Path, images: str | Path, side: int, *, category_ids: tuple[int, ...] = ()) -> DetectionSet:
    """Return the set that a COCO json annotates.

    Args:
        json: the annotations.
        images: the folder, or tar file, of the images.
        side: pixels along each side; images are scaled into the upper left.
        category_ids: in the order of the labels; without them all in the order of their ids.

    Raises:
        DataError: something is not there, does not decode, or leaves open what is meant; everything of it is counted in one sentence.
    """
    annotations, found = checked(json, images)
    _tell(annotations, found)
    return _set(annotations, unpacked(Path(images)), side, category_ids)


def checked(json: str | Path, images: str | Path | None = None) -> tuple[Annotations, list[Flaw]]:
    """Return the annotations that can be used, and every flaw that was found, the harmless ones among them.

    Raises:
        DataError: a flaw leaves open what is meant.
    """
    annotations = read_coco(json)
    found = flaws(annotations)
    if images is not None:
        found += _flaws_of_images(annotations, unpacked(Path(images)))
    return usable(annotations, found), found


@read_once(16)
def _flaws_of_images(annotations: Annotations, folder: Path) -> list[Flaw]:
    return image_flaws(annotations, folder)


def voc(folder: str | Path, side: int, *, split: str | None = None) -> DetectionSet:
    """Return the set in *folder*, which has `Annotations` and `JPEGImages`; *split* names a list in `ImageSets/Main`.

    Raises:
        DataError: a part is not there or is not what it should be.
    """
    annotations = read_voc(folder, split=split)
    place = Path(folder) / "JPEGImages"
    found = [*flaws(annotations), *image_flaws(annotations, place)]
    mended = usable(annotations, found)
    _tell(mended, found)
    return _set(mended, place, side, ())


class FlawedImages(Note):
    """Annotated images have flaws that could be mended."""


def _tell(annotations: Annotations, found: list[Flaw]) -> None:
    if found:
        warnings.warn(f"{annotations.name}: {told(found)}; mended as far as it goes", FlawedImages, stacklevel=3)


def read_voc(folder: str | Path, *, split: str | None = None) -> Annotations:
    """Return VOC annotations: names in the order of the alphabet get the ids from 1; corners counted from 1 become x, y, width, height."""
    base = Path(folder)
    place = base / "Annotations"
    if not place.is_dir():
        raise DataError(f"{base}: has no folder Annotations; the layout of VOC is Annotations/*.xml beside JPEGImages")
    if split is None:
        files = sorted(place.glob("*.xml"))
    else:
        listing = base / "ImageSets" / "Main" / f"{split}.txt"
        if not listing.is_file():
            raise DataError(f"{listing}: is not there, so the split '{split}' is unknown")
        files = [place / f"{line.split()[0]}.xml" for line in listing.read_text(encoding="utf-8").splitlines() if line.split()]
    parsed = [_voc_file(file) for file in files]
    names = sorted({name for _, objects in parsed for name, _ in objects})
    number = {name: place for place, name in enumerate(names, 1)}
    images: list[ImageEntry] = []
    boxes: list[Box] = []
    for image_id, (entry, objects) in enumerate(parsed, 1):
        images.append(entry._replace(id=image_id))
        for name, (x1, y1, x2, y2) in objects:
            bbox = (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1)
            boxes.append(Box(len(boxes) + 1, image_id, number[name], bbox, bbox[2] * bbox[3]))
    return Annotations(tuple(images), tuple((number[name], name) for name in names), tuple(boxes), base.name)


def _voc_file(file: Path) -> tuple[ImageEntry, list[tuple[str, tuple[float, float, float, float]]]]:
    try:
        root = ET.parse(file).getroot()
        size = {each: int(float(root.findtext(f"size/{each}") or "")) for each in ("width", "height")}
        objects = []
        for item in root.iter("object"):
            corners = [float(item.findtext(f"bndbox/{each}") or "") for each in ("xmin", "ymin", "xmax", "ymax")]
            objects.append((str(item.findtext("name")), (corners[0], corners[1], corners[2], corners[3])))
    except FileNotFoundError as error:
        raise DataError(f"{file}: is listed and is not there") from error
    except (ET.ParseError, ValueError, OSError) as error:
        raise DataError(f"{file}: is no annotation in VOC's layout ({error})") from error
    return ImageEntry(0, root.findtext("filename") or f"{file.stem}.jpg", size["width"], size["height"]), objects


def _set(annotations: Annotations, folder: Path, side: int, category_ids: tuple[int, ...]) -> DetectionSet:
    files = [folder / image.file_name for image in annotations.images]
    pixels: InMemory | OnDisk = OnDisk(files, side)
    if len(files) * 3 * side * side <= HELD_BYTES:
        arrays = decoded_once(files, {"boxes": side}, lambda: {"pixels": np.stack([decoded(file, side) for file in files])})
        pixels = InMemory(torch.from_numpy(arrays["pixels"].astype(np.uint8, copy=False)))
    return DetectionSet(annotations.name, pixels, side, scaled_annotations(annotations, side), category_ids, annotations)


@read_once(16)
def unpacked(images: Path) -> Path:
    """Return the folder of *images*; a tar file is unpacked into the cache, once.

    Raises:
        DataError: it is neither, or is damaged.
    """
    if images.is_dir():
        return images
    if not images.is_file():
        raise DataError(f"{images}: is neither a folder nor a tar file of images")
    stat = images.stat()
    place = cache_folder() / f"{images.stem}-{stat.st_size}-{stat.st_mtime_ns}"
    if not place.is_dir():
        partial = place.with_suffix(".partial")
        try:
            with tarfile.open(images) as packed:
                packed.extractall(partial, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"{images}: cannot be unpacked ({error})") from error
        partial.rename(place)
    return place
