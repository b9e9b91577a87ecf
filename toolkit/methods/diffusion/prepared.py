"""What the arms of a seed have in common, made once per process: data, the networks that look, the base and its first halvings."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion import scaled, seeded_by
from toolkit.learning.diffusion.base import trained_base
from toolkit.learning.diffusion.distillation import Ladder, Stages, Targets
from toolkit.learning.diffusion.features import FeatureNet, trained_features
from toolkit.learning.diffusion.losses import preset
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.diffusion.settings import BaseSettings, Judging, NetSettings, Precision
from toolkit.models.unet import UNet, unet

SCHEDULE = Schedule()
CPU = torch.device("cpu")
MOST_KEPT_BYTES = 32 * 2**20


class Prepared(NamedTuple):
    """Where the compared losses begin."""

    images: Tensor
    """(n, channels, side, side) in [-1, 1]."""
    base: nn.Module
    teacher: nn.Module
    """Samples in `begin` steps."""
    looks: FeatureNet
    """The network in the losses."""
    judges: FeatureNet
    targets: dict[Hashable, Targets]
    """What the teacher said in first stages of the same length, batch and draws."""

    def targets_of(self, stages: Stages, workers: int) -> Targets | None:
        """Return where targets of a first stage are kept, for so many *workers*; None where they would take over `MOST_KEPT_BYTES`."""
        nbytes = self.images[0].nbytes * stages.batch * stages.length(stages.students[0]) * workers
        return None if nbytes > MOST_KEPT_BYTES else self.targets.setdefault((stages.begin, stages.batch, workers), {})


def network(spec: NetSettings, channels: int, generator: torch.Generator) -> UNet:
    """Return the network of *spec* for images of so many channels."""
    return unet(
        channels, spec.width, tuple(spec.multipliers), spec.blocks, tuple(spec.attention), groups=spec.groups, generator=generator
    )


@lru_cache(maxsize=8)
def prepared(
    data: DatasetSpec, path: str | None, net: NetSettings, base: BaseSettings, judging: Judging, begin: int, seed: int,
    device: torch.device = CPU, precision: Precision = "float32",
) -> Prepared:
    """Return what a seed begins with, on *device*; a pure function of its arguments."""

    def seeded(*names: object) -> torch.Generator:
        return seeded_by(seed if base.seed is None else base.seed, *names)

    images, labels = (each.to(device) for each in scaled(data.load(path)))
    looks, judges = (
        trained_features(
            images, labels, widths=widths, steps=judging.feature_steps, seed=int(torch.randint(2**31, (), generator=seeded(name)))
        )
        for name, widths in (("looks", judging.loss_widths), ("judges", judging.metric_widths))
    )
    begun = network(net, images.shape[1], seeded("model")).to(device)
    begun.half_type = None if precision == "float32" else torch.bfloat16
    whole = trained_base(
        begun, images, steps=base.steps, batch=base.batch, lr=base.lr, schedule=SCHEDULE,
        seeded=seeded,
    )
    teacher = whole
    if base.sampling > begin:
        stages = Stages(base.sampling, begin, base.halving_steps, batch=base.batch)
        ladder = Ladder(whole, images, preset("pd"), stages, schedule=SCHEDULE, seeded=seeded)
        ladder.run()
        teacher = ladder.student(begin)
    return Prepared(images, whole, teacher, looks, judges, {})
