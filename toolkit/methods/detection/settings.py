"""Settings of incremental detection: the data, the detector, its first training, the increments, and how old objects are generated."""

from __future__ import annotations

from typing import Annotated, Literal, Self, final

from pydantic import Field, model_validator

from toolkit.core.part import Spec
from toolkit.datasets.detection.split import Protocol
from toolkit.learning.detection.inversion import InversionRecipe
from toolkit.learning.detection.training import Rule

Width = Annotated[int, Field(ge=4, le=2048)]
Classes = Annotated[int, Field(ge=1, le=10_000)]


@final
class DataSettings(Spec):
    """Digit scenes; a data set of one's own, COCO json beside images, or folders in the layout of VOC; or what images weigh."""

    kind: Literal["scenes", "coco", "voc", "blank"] = Field(
        "scenes", description="digit scenes, COCO json, VOC folders, or images without content, for runs that learn nothing"
    )
    side: int = Field(96, ge=32, le=2048, description="pixels along each side of what the detector is given")
    train: int = Field(1500, ge=1, le=1_000_000, description="scenes of each step")
    objects: int = Field(8, ge=1, le=500, description="of blank images, the most in one")
    test: int = Field(300, ge=1, le=1_000_000, description="scenes for testing")
    digits: Literal["digits", "mnist"] = Field("digits", description="whose digits are in the scenes")
    seed: int = Field(0, ge=0, description="of the scenes; the same for all seeds of a comparison")
    folder: str | None = Field(None, description="of a data set of one's own; without it looked up by `name` in TOOLKIT_DATA or data")
    name: str | None = Field(None, description="folder in TOOLKIT_DATA or data")
    train_json: str = Field("instances_train.json", description="annotations in the folder; of VOC the list in ImageSets/Main")
    train_images: str = Field("train", description="folder or tar file of images in the folder")
    test_json: str = Field("instances_test.json", description="annotations for testing")
    test_images: str = Field("test", description="their images")

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.kind in ("coco", "voc") and self.folder is None and self.name is None:
            raise ValueError(f"data of kind {self.kind} need a folder, or a name to look for in TOOLKIT_DATA")
        return self


@final
class NetSettings(Spec):
    """The detector."""

    backbone: Literal["compact", "hcgnet", "resnet50"] = Field("compact", description="what it is built on")
    widths: list[Width] = Field(default_factory=lambda: [16, 32, 64, 96], min_length=3, max_length=6, description="channels of compact")
    channels: int | None = Field(None, ge=8, le=1024, description="of pyramid and head; without it those of the backbone's detector")
    weights: str | None = Field(None, description="file with the backbone's weights, called as torchvision calls them")
    freeze_norms: bool = Field(False, description="BatchNorm stands still in the first training too")
    freeze_first: bool = Field(False, description="stem and first stage stand still")


@final
class TrainingSettings(Spec):
    """How a detector is trained."""

    epochs: int = Field(14, ge=1, description="passes over the images")
    batch: int = Field(32, ge=1, le=1024, description="images per step")
    lr: float = Field(1e-3, gt=0, description="largest learning rate")
    rule: Rule = Field("adamw", description="AdamW through one cycle, or SGD with steps as in the papers")
    flip: bool = Field(False, description="mirror half of the images; not for digits")


@final
class BaseSettings(Spec):
    """The first detector, common to all arms of a seed."""

    training: TrainingSettings = Field(TrainingSettings(), description="how the first detector is trained")
    joint_epochs: int = Field(10, ge=1, description="passes of joint training over all images")
    seed: int | None = Field(None, ge=0, description="one first detector for all seeds; without it each seed has its own")


@final
class InversionSettings(Spec):
    """How old objects are generated; `toolkit.learning.detection.inversion`."""

    per_class: int = Field(10, ge=1, le=1000, description="images of each old class")
    side: int = Field(64, ge=32, le=1024, description="pixels of a canvas")
    iterations: int = Field(400, ge=1, description="steps of gradient")
    lr: float = Field(0.1, gt=0, description="Adam's rate at the beginning; falls on a cosine")
    betas: tuple[float, float] = Field((0.5, 0.9), description="Adam's; (0, 0) moves by signs")
    longer: tuple[float, float] = Field((0.45, 0.7), description="longer side of a box, in sides of the canvas")
    jitter: int = Field(6, ge=0, description="pixels by which images are rolled")
    flip: float = Field(0.0, ge=0, le=1, description="chance of mirroring")
    brightness: float = Field(0.0, ge=0, le=1, description="deviation of added brightness")
    erase: float = Field(0.0, ge=0, le=1, description="chance of a grey rectangle")
    detection: float = Field(10.0, ge=0, description="weight of the detection loss")
    variation: float = Field(1.0, ge=0, description="weight of total variation")
    statistics: float = Field(0.1, ge=0, description="weight of BatchNorm's statistics")
    first_statistics: float = Field(0.3, ge=0, description="more weight of the first BatchNorm's")
    at_once: int | None = Field(None, ge=1, le=10_000, description="images inverted together; without it one of each old class")

    @model_validator(mode="after")
    def _shares_are_shares(self) -> Self:
        low, high = self.longer
        if not 0 < low <= high <= 1:
            raise ValueError(f"longer: shares {low:g} to {high:g} of a canvas must rise and lie between 0 and 1")
        if not (0 <= self.betas[0] < 1 and 0 <= self.betas[1] < 1):
            raise ValueError(f"betas: must be from 0 to below 1 (got {self.betas})")
        return self

    def recipe(self) -> InversionRecipe:
        return InversionRecipe(
            per_class=self.per_class, side=self.side, iterations=self.iterations, rate=self.lr, betas=self.betas, longer=self.longer,
            jitter=self.jitter, flip=self.flip, brightness=self.brightness, erase=self.erase, detection=self.detection,
            variation=self.variation, statistics=self.statistics, first_statistics=self.first_statistics,
        )


@final
class ArrivalSettings(Spec):
    """When new images come, and when old objects are generated for them."""

    idle_s: float = Field(0.0, ge=0, description="time from the end of a step until the images of the next are there")
    generate: Literal["idle", "arrival"] = Field("arrival", description="while the device is idle, or when new images are there")


@final
class SplitSettings(Spec):
    """Which classes come when."""

    sizes: list[Classes] = Field(
        default_factory=lambda: [5, 5], min_length=2, max_length=1000, description="classes of each step, by the order of their ids"
    )
    protocol: Protocol = Field("non_co_occurrence", description="drop later images with earlier classes, or keep these unlabelled")
