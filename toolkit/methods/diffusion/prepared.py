"""What the arms of a seed have in common, made once per process: data, the networks that look, the base and its first halvings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion import scaled, seeded_by
from toolkit.learning.diffusion.base import BaseRecipe, BaseTraining
from toolkit.learning.diffusion.distillation import Ladder, Stages, Targets
from toolkit.learning.diffusion.drawing import Images
from toolkit.learning.diffusion.features import FeatureNet, small_features, trained_features
from toolkit.learning.diffusion.losses import preset
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.diffusion.settings import BaseSettings, Judging, NetSettings, Precision
from toolkit.models.unet import UNet, unet

SCHEDULE = Schedule()
CPU = torch.device("cpu")
MOST_KEPT = 8
"""Beginnings that are remembered."""
MOST_KEPT_BYTES = 32 * 2**20


class Prepared(NamedTuple):
    """Where the compared losses begin."""

    drawn: Images
    """(n, channels, side, side) in [-1, 1], as batches are drawn from them."""
    classes: int
    base: nn.Module
    teacher: nn.Module
    """Samples in `begin` steps."""
    looks: FeatureNet
    """The network in the losses."""
    judges: FeatureNet
    targets: dict[Hashable, Targets]
    """What the teacher said in first stages of the same length, batch and draws."""

    @property
    def images(self) -> Tensor:
        """(n, channels, side, side) in [-1, 1]."""
        return self.drawn.images

    def labels(self, count: int) -> Tensor | None:
        """Return the classes of *count* samples, all classes alike; None where the network is not told any."""
        return None if self.drawn.labels is None else (torch.arange(count) % self.classes).to(self.images.device)

    def targets_of(self, stages: Stages, workers: int) -> Targets | None:
        """Return where targets of a first stage are kept, for so many *workers*; None where they would take over `MOST_KEPT_BYTES`."""
        nbytes = self.images[0].nbytes * stages.batch * stages.length(stages.students[0]) * workers
        return None if nbytes > MOST_KEPT_BYTES else self.targets.setdefault((stages.begin, stages.batch, workers), {})


def network(spec: NetSettings, channels: int, classes: int, generator: torch.Generator, *, training: bool = False) -> UNet:
    """Return the network of *spec* for images of so many channels and classes; with its dropout where it is *training* as a base."""
    return unet(
        channels, spec.width, tuple(spec.multipliers), spec.blocks, tuple(spec.attention), classes if spec.labels else 0,
        spec.dropout if training else 0.0, groups=spec.groups, generator=generator,
    )


def looking(judging: Judging, shape: tuple[int, ...], classes: int) -> Callable[[torch.Generator], FeatureNet]:
    """Return what builds the network in the losses for images of *shape* (channels, side, side).

    Raises:
        DiffusionError: the model that is named has no `maps`.
    """
    spec = judging.loss_net
    if spec is None:
        return lambda generator: small_features(shape[0], judging.loss_widths, classes, generator)

    def build(generator: torch.Generator) -> FeatureNet:
        model = spec.build(generator, num_classes=classes, in_channels=shape[0], image_size=shape[1])
        net = FeatureNet(shape[0], 0, model)
        with torch.no_grad():
            net.channels = int(model.eval().maps(torch.zeros(1, *shape)).shape[1])  # type: ignore[operator]
        return net

    return build


class Making(NamedTuple):
    """All that what is prepared depends on."""

    data: DatasetSpec
    path: str | None
    net: NetSettings
    base: BaseSettings
    judging: Judging
    begin: int
    flip: bool
    seed: int
    device: torch.device = CPU
    precision: Precision = "float32"


_MADE: OrderedDict[Making, Prepared] = OrderedDict()


def prepared(
    making: Making, kept: dict[str, Any] | None = None, keep: Callable[[dict[str, Any]], None] | None = None, every: int = 50
) -> Prepared:
    """Return what a seed begins with, a pure function of *making*; the last few are remembered.

    The training of the base, and then its halvings, go on from *kept*, and *keep* is told where they are, *every* so many steps.
    """
    if making not in _MADE:
        _MADE[making] = _made(making, kept or {}, keep, every)
        while len(_MADE) > MOST_KEPT:
            _MADE.popitem(last=False)
    return _MADE[making]


def _made(making: Making, kept: dict[str, Any], keep: Callable[[dict[str, Any]], None] | None, every: int) -> Prepared:
    base, judging = making.base, making.judging

    def seeded(*names: object) -> torch.Generator:
        return seeded_by(making.seed if base.seed is None else base.seed, *names)

    images, labels = (each.to(making.device) for each in scaled(making.data.load(making.path)))
    shape, classes = tuple(images.shape[1:]), int(labels.max()) + 1

    def classifier(name: str, widths: tuple[int, int], steps: int, build: Callable[[torch.Generator], FeatureNet] | None) -> FeatureNet:
        seed = int(torch.randint(2**31, (), generator=seeded(name)))
        return trained_features(images, labels, widths=widths, steps=steps, seed=seed, build=build)

    given = judging.loss_net is not None and judging.loss_net.weights is not None
    looks = classifier("looks", judging.loss_widths, 0 if given else judging.feature_steps, looking(judging, shape, classes))
    judges = classifier("judges", judging.metric_widths, judging.feature_steps, None)
    drawn = Images(images, labels if making.net.labels else None, making.flip)
    begun = network(making.net, shape[0], classes, seeded("model"), training=True).to(making.device)
    half = None if making.precision == "float32" else torch.bfloat16
    begun.half_type = half
    recipe = BaseRecipe(base.steps, base.batch, base.lr, decay=base.decay, warmup=base.warmup)
    training = BaseTraining(begun, drawn, recipe, schedule=SCHEDULE, seeded=seeded)
    if "base" in kept:
        training.load_state_dict(kept["base"])

    def tell(state: Callable[[], dict[str, Any]]) -> Callable[[int], None] | None:
        if keep is None:
            return None
        return lambda step: keep(state()) if step % every == 0 else None

    trained = training.run(tell(lambda: {"base": training.state_dict()}))
    whole = network(making.net, shape[0], classes, seeded("model")).to(making.device)
    whole.half_type = half
    whole.load_state_dict(trained.state_dict())
    whole.requires_grad_(False).eval()
    teacher: nn.Module = whole
    if base.sampling > making.begin:
        stages = Stages(base.sampling, making.begin, base.halving_steps, batch=base.batch)
        ladder = Ladder(whole, drawn, preset("pd"), stages, schedule=SCHEDULE, seeded=seeded)
        if "halvings" in kept:
            ladder.load_state_dict(kept["halvings"])
        ladder.run(on_step=tell(lambda: {"base": training.state_dict(), "halvings": ladder.state_dict()}))
        teacher = ladder.student(making.begin)
    return Prepared(drawn, classes, whole, teacher, looks, judges, {})
