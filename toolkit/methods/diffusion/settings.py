"""Settings of a distillation: the network, how its base is trained, how it is distilled, and what it is judged by."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field

from toolkit.core.part import Spec
from toolkit.methods.model_spec import ModelSpec

LossName = Literal["none", "pd", "cfd_pd", "rdd_pd", "cfd", "rdd", "feature_l2", "cd"]
Precision = Literal["float32", "bfloat16"]
Together = Literal["local", "shared", "stale"]


@final
class NetSettings(Spec):
    """A UNet; channels and side are those of the data."""

    width: int = Field(16, ge=2, le=512, description="channels of the first level")
    multipliers: list[int] = Field(default_factory=lambda: [1, 2], min_length=1, description="channels of each level, in widths")
    blocks: int = Field(1, ge=1, le=8, description="blocks per level")
    attention: list[int] = Field(default_factory=list, description="levels with attention besides the middle")
    groups: int = Field(8, ge=1, description="groups of each GroupNorm")
    labels: bool = Field(False, description="tell it the class of each image, and sample all classes alike")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the base while it is trained; students have none")


@final
class BaseSettings(Spec):
    """The training of the teacher of all, and progressive distillation to where the compared losses begin."""

    steps: int = Field(600, ge=1, description="steps of training of the base")
    batch: int = Field(64, ge=2, description="images per step")
    lr: float = Field(2e-3, gt=0, description="learning rate")
    sampling: int = Field(32, ge=1, description="steps of the base's sampler that the first halving begins from")
    halving_steps: int = Field(150, ge=1, description="steps of training of each halving before `begin`")
    warmup: int = Field(50, ge=1, description="first steps of training, over which the rate rises to lr")
    decay: float = Field(0.99, ge=0, lt=1, description="of the average of weights that becomes the base")
    seed: int | None = Field(None, ge=0, description="a base of its own for all seeds; without it each seed has one")


@final
class QueueSettings(Spec):
    """The memory of the relation term."""

    length: int = Field(2000, ge=1, description="vectors")
    keys: int = Field(512, ge=1, description="evenly spaced vectors that pixels are compared with")
    per_step: int = Field(128, ge=1, description="vectors that enter per step, of all workers together")
    official_bug: bool = Field(False, description="store what the published code stores: mixtures of channels of several images")
    together: Together = Field("shared", description="several workers: each its own pixels, all pixels each step, or all now and then")
    period: int = Field(8, ge=1, description="steps between two exchanges of a stale memory")


@final
class Judging(Spec):
    """How samples are judged: the networks and numbers that every distance is to be read with."""

    samples: int = Field(1000, ge=2, description="images made per number of steps")
    steps: list[int] = Field(default_factory=lambda: [4, 2, 1], min_length=1, description="steps of sampling that are judged")
    loss_net: ModelSpec | None = Field(None, description="network in the losses, e.g. densenet201, with `maps`; without it a small one")
    loss_widths: tuple[int, int] = Field((32, 64), description="channels of the small network in the losses")
    metric_widths: tuple[int, int] = Field((24, 32), description="channels of the network that judges, another with another seed")
    feature_steps: int = Field(300, ge=1, description="steps of training of both; a loss_net with weights has none")
    inception: bool = Field(False, description="take the published FID too, by the Inception network that TOOLKIT_INCEPTION names")
