"""All settings of a continual-learning run: what is learnt, by which method, with what memory and budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from toolkit.core.part import Spec
from toolkit.methods.accelerator import Accelerator
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.settings import Augment, BufferSpec, Sgd, StreamSpec, TaskBudget
from toolkit.methods.task import TaskSpec


class ContinualSettings(Spec):
    """The settings of `toolkit.methods.continual.program`."""

    renamed: ClassVar[Mapping[str, str]] = {"examine": "evaluate", "eval_heads": "eval_classes"}

    task: TaskSpec = Field(TaskSpec(), description="data set and network")
    stream: StreamSpec = Field(StreamSpec(), description="how the data set is cut into tasks")
    method: ContinualMethod = Field(description="how forgetting is kept small")
    buffer: BufferSpec = Field(BufferSpec(), description="what may be kept of old samples")
    budget: TaskBudget = Field(TaskBudget(), description="how long each task is learnt")
    batch: int = Field(32, ge=1, description="samples of the present task per step")
    drop_last: bool = Field(False, description="leave out the last, smaller batch of an epoch, for BatchNorm's sake")
    replay: int = Field(32, ge=1, description="samples drawn from the memory at a time")
    lr: float = Field(0.05, gt=0, description="learning rate at its highest")
    sgd: Sgd = Field(Sgd(), description="the optimiser beside its rate")
    bn: Literal["concat", "separate"] = Field("concat", description="one pass for present and replayed samples, or one each")
    recalibrate_bn: bool = Field(False, description="after each task, take BatchNorm's running statistics anew from the memory")
    augment: Augment = Field(Augment(), description="how training images are varied")
    frames_per_s: float | None = Field(None, gt=0, description="rate at which samples of a task's first epoch arrive; none: at once")
    eval_classes: Literal["seen", "all"] = Field("seen", description="classes that an answer may name in class-incremental evaluations")
    evaluate: Literal["task", "epoch"] = Field("task", description="when the tasks so far are evaluated")
    learn: bool = Field(True, description="false: nothing is learnt, and each step costs what the method's plan says")
    save_every: int = Field(0, ge=0, description="steps between two checkpoints; 0: at the end of each task only")
    accelerator: Accelerator = Field(
        "cpu", description="where torch computes: auto is a GPU where there is one, whose sums differ in last bits from a CPU's"
    )
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")
