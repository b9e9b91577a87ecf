"""All settings of a run of incremental detection."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from toolkit.core.part import Spec, default_part
from toolkit.methods.accelerator import Accelerator
from toolkit.methods.detection import DetectionMethod
from toolkit.methods.detection.settings import (
    ArrivalSettings,
    BaseSettings,
    DataSettings,
    InversionSettings,
    NetSettings,
    SplitSettings,
    TrainingSettings,
)


class DetectionSettings(Spec):
    """What is learnt in which steps, by which method."""

    data: DataSettings = Field(DataSettings(), description="images and boxes")
    split: SplitSettings = Field(SplitSettings(), description="classes of each step")
    net: NetSettings = Field(NetSettings(), description="the detector")
    base: BaseSettings = Field(BaseSettings(), description="the first detector, before anything new comes")
    training: TrainingSettings = Field(TrainingSettings(epochs=6), description="how each step is trained")
    method: DetectionMethod = default_part("egor", "how increments are learnt")
    inversion: InversionSettings = Field(InversionSettings(), description="how images are made out of the old detector")
    arrival: ArrivalSettings = Field(ArrivalSettings(), description="when new classes arrive, and what is done meanwhile")
    crops_per_class: int = Field(10, ge=1, le=1000, description="real crops that are kept of each class, by methods that keep any")
    learn: bool = Field(True, description="false: nothing is learnt, all is priced")
    pictures: int = Field(4, ge=0, le=100, description="test images whose detections before and after are kept with the network")
    save_every: int = Field(50, ge=1, description="steps between two checkpoints, of drivers that keep any")
    accelerator: Accelerator = Field(
        "cpu", description="where torch computes: auto is a GPU where there is one, whose sums differ in last bits from a CPU's"
    )
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")

    @model_validator(mode="after")
    def _batches_have_room(self) -> Self:
        if self.method.replayed(self.training.batch) >= self.training.batch:
            raise ValueError(f"training.batch: {self.training.batch} image leaves no room for new ones beside replayed ones; take more")
        if self.data.kind == "blank" and self.learn:
            raise ValueError("data.kind: there is nothing to learn from blank images; set program.learn: false")
        return self
