"""HCGNet for inference alone: the same function, arranged for speed.

Three things are changed, none of which changes what is computed but for rounding. The maps of a block lie in one buffer that each module
writes its own into, instead of being copied together again and again; both the buffers and the largest intermediate result are kept from
call to call. BatchNorm is folded into the layer before it where that layer is linear (the 1x1 of every squeeze, the first layers of both
gates), and is one multiply-add where it is not. And memory format and kernel of the squeeze are chosen by time: the grouped 3x3 convolution
is slow on some processors for some widths, where the same one written out dense (zeros between groups, four times the products) is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError
from toolkit.models.hcgnet import HcgNet
from toolkit.models.hcgnet_cells import Brc, ForgetGate, GatedFusion, Smg, Transition, UpdateGate, context, mixed


@dataclass(frozen=True)
class Plan:
    """How one forward pass is done."""

    channels_last: bool = True
    """Channels as neighbours in memory, else whole maps."""
    dense_squeeze: bool = False
    """The grouped 3x3 convolutions of the modules as dense ones."""


PLANS = tuple(Plan(*choice) for choice in product((True, False), (False, True)))


class FastHcgNet:
    """An inference-only copy of *net*, whose weights it takes as they are now; the gates must be those of HCGNet.

    Called with images it times every plan on the first batch of each shape, and uses the fastest for that shape from then on. Several
    threads must not call one copy at a time, since they would share its buffers.
    """

    def __init__(self, net: HcgNet, plans: tuple[Plan, ...] = PLANS, clock: Callable[[], float] = time.perf_counter) -> None:
        self.plans = plans
        self.chosen: dict[tuple[int, ...], Plan] = {}
        """The fastest plan by shape of the images."""
        self._clock = clock
        self._image_stem = net.stem.eval() if isinstance(net.stem, nn.Sequential) else None
        with torch.no_grad():
            self._stages = {plan: [_Stage.of(layer, plan) for layer in net.layers if _gated(layer)] for plan in plans}
            self._stems = {plan: _formatted(net.stem.weight, plan) for plan in plans} if isinstance(net.stem, nn.Conv2d) else {}
            self._norm = _affine(net.norm)
            self._classifier = net.classifier.weight.detach().clone(), net.classifier.bias.detach().clone()
        self._memory: dict[str, Tensor] = {}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        shape = tuple(images.shape)
        if shape not in self.chosen:
            self.chosen[shape] = self.fastest(images)
        return self.run(images, self.chosen[shape])

    def fastest(self, images: Tensor, rounds: int = 3) -> Plan:
        """Return the plan whose shortest of *rounds* passes is shortest; plans take turns, after one pass each to warm up."""
        if len(self.plans) == 1:
            return self.plans[0]
        shortest = dict.fromkeys(self.plans, float("inf"))
        for plan in self.plans:
            self.run(images, plan)
        for _ in range(rounds):
            for plan in self.plans:
                began = self._clock()
                self.run(images, plan)
                shortest[plan] = min(shortest[plan], self._clock() - began)
        return min(self.plans, key=shortest.__getitem__)

    @torch.inference_mode()
    def run(self, images: Tensor, plan: Plan, preallocate: bool = True) -> Tensor:
        """Return the scores by one plan; without *preallocate* each module's maps are concatenated instead, with the same bits."""
        maps = self._stem(images, plan)
        for place, stage in enumerate(self._stages[plan]):
            maps = self._block(maps, stage, f"{place}", plan, preallocate) if stage.grows else stage.cells[0](maps, self._scratch)
        scale, shift = self._norm
        active = torch.addcmul(shift, maps, scale).relu_()
        return functional.linear(active.mean((2, 3)), *self._classifier)

    def _stem(self, images: Tensor, plan: Plan) -> Tensor:
        if plan.channels_last:
            images = torch.empty_like(images, memory_format=torch.channels_last).copy_(images)
        if self._image_stem is not None:
            stemmed: Tensor = self._image_stem(images)
            return stemmed
        return functional.conv2d(images, self._stems[plan], padding=1)

    def _block(self, maps: Tensor, stage: _Stage, name: str, plan: Plan, preallocate: bool) -> Tensor:
        if not preallocate:
            for cell in stage.cells:
                maps = torch.cat((maps, cell(maps, self._scratch)), 1)
            return maps
        batch, begin, height, width = maps.shape
        size = begin + sum(cell.growth for cell in stage.cells)
        buffer = self._dense(f"block {name}", (batch, size, height, width), plan.channels_last, maps)
        buffer[:, :begin] = maps
        for cell in stage.cells:
            buffer[:, begin : begin + cell.growth] = cell(buffer[:, :begin], self._scratch)
            begin += cell.growth
        return buffer

    def _scratch(self, maps: Tensor, channels_last: bool) -> Tensor:
        """Memory for one result of the shape of *maps*, the same for all cells."""
        return self._dense("scratch", tuple(maps.shape), channels_last, maps)

    def _dense(self, name: str, shape: tuple[int, ...], channels_last: bool, like: Tensor) -> Tensor:
        batch, channels, height, width = shape
        count = batch * channels * height * width
        kept = self._memory.get(name)
        if kept is None or kept.numel() < count or kept.dtype != like.dtype or kept.device != like.device:
            kept = self._memory[name] = like.new_empty(count)
        if channels_last:
            return kept[:count].view(batch, height, width, channels).permute(0, 3, 1, 2)
        return kept[:count].view(shape)


Scratch = Callable[[Tensor, bool], Tensor]
Affine = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Stage:
    """The modules of a block, or a transition."""

    cells: list[_Cell]
    grows: bool

    @classmethod
    def of(cls, layer: nn.Module, plan: Plan) -> _Stage:
        if isinstance(layer, Transition):
            return cls([_Cell(layer, plan)], False)
        return cls([_Cell(module, plan) for module in layer.children() if isinstance(module, Smg)], True)


class _Cell:
    """A module or transition with folded norms, in the memory format of one plan."""

    def __init__(self, module: Smg | Transition, plan: Plan) -> None:
        fusion = module.fusion
        if fusion.gates != "smg":
            raise ModelError(f"hcgnet: inference is arranged for the gates of HCGNet (smg), not for '{fusion.gates}'")
        self.channels_last = plan.channels_last
        self.first = _affine(module.reduce.norm)
        scale, shift = _affine(module.squeeze.norm)
        self.reduce = _formatted(module.reduce.conv.weight * scale.view(-1, 1, 1, 1), plan), shift.flatten()
        conv = module.squeeze.conv
        dense = plan.dense_squeeze and conv.groups > 1
        self.squeeze = _formatted(_written_out(conv.weight, conv.groups) if dense else conv.weight, plan)
        self.groups, self.stride = 1 if dense else conv.groups, conv.stride
        self.growth = conv.out_channels
        self.branches = [
            (_affine(branch.norm), _formatted(branch.conv.weight, plan), int(branch.conv.dilation[0]), *_score(fusion, name))
            for name, branch in _branches(fusion)
        ]
        self.update = _folded(fusion.update)
        self.forget = _folded(fusion.forget)
        self.forget_score = fusion.forget.pooling.score.weight.detach().clone(), fusion.forget.pooling.score.bias.detach().clone()

    def __call__(self, maps: Tensor, scratch: Scratch) -> Tensor:
        """Return the new maps."""
        scale, shift = self.first
        active = torch.addcmul(shift, maps, scale, out=scratch(maps, self.channels_last)).relu_()
        squeezed = functional.conv2d(active, *self.reduce).relu_()
        s = functional.conv2d(squeezed, self.squeeze, stride=self.stride, padding=1, groups=self.groups)
        contexts = []
        for (gain, offset), weight, dilation, score, bias in self.branches:
            branch = functional.conv2d(
                torch.addcmul(offset, s, gain).relu_(), weight, padding=dilation, dilation=dilation, groups=self.growth
            )
            contexts.append(context(branch, score, bias))
        both = torch.cat(contexts, 1)
        new = mixed(both, _gate(both, self.update))
        kept = torch.sigmoid(_gate(context(s, *self.forget_score), self.forget))
        return torch.addcmul(new[:, :, None, None], s, kept[:, :, None, None])


def _gated(layer: nn.Module) -> bool:
    return isinstance(layer, (Transition, nn.Sequential))


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Affine:
    """A norm with stored statistics as scale and shift, each (1, channels, 1, 1)."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias.detach() - norm.running_mean * scale
    return scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)


def _formatted(weight: Tensor, plan: Plan) -> Tensor:
    return weight.detach().clone(memory_format=torch.channels_last if plan.channels_last else torch.contiguous_format)


def _written_out(weight: Tensor, groups: int) -> Tensor:
    """The weight (outputs, inputs / groups, h, w) of a grouped convolution as that of a dense one, zero between groups."""
    outputs, inputs, height, width = weight.shape
    dense = weight.new_zeros(groups, outputs // groups, groups, inputs, height, width)
    for group in range(groups):
        dense[group, :, group] = weight[group * (outputs // groups) : (group + 1) * (outputs // groups)]
    return dense.view(outputs, groups * inputs, height, width)


def _branches(fusion: GatedFusion) -> list[tuple[str, Brc]]:
    return [("near", fusion.near), ("far", fusion.far)]


def _score(fusion: GatedFusion, name: str) -> tuple[Tensor, Tensor]:
    score = (fusion.near_pooling if name == "near" else fusion.far_pooling).score
    return score.weight.detach().clone(), score.bias.detach().clone()


def _folded(gate: UpdateGate | ForgetGate) -> tuple[Affine, Affine]:
    """Both layers of a gate, the norm between them folded into the first."""
    last = gate.select if isinstance(gate, UpdateGate) else gate.excite
    scale, shift = (values.flatten() for values in _affine(gate.norm))
    weight = gate.squeeze.weight.detach() * scale.unsqueeze(1)
    return (weight, gate.squeeze.bias.detach() * scale + shift), (last.weight.detach().clone(), last.bias.detach().clone())


def _gate(pooled: Tensor, layers: tuple[Affine, Affine]) -> Tensor:
    first, last = layers
    return functional.linear(torch.tanh(functional.linear(pooled, *first)), *last)
