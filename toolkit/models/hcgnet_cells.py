"""The parts of HCGNet: squeeze, multi-scale excitation with global context, update and forget gates, and their fusion.

Source: the reference implementation of Yang et al. 2020, *Gated Convolutional Networks with Hybrid Connectivity for Image Classification*
(AAAI, arXiv 1908.09699), read for its equations; the text of the paper was not at hand. Departures: gates work on pooled vectors as linear
layers, where the reference convolves 1x1 maps (same numbers, fewer calls); images need not be square.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError
from toolkit.models.attention import SelectiveKernel, SqueezeExcitation

Gates = Literal["smg", "no_forget", "no_update", "one_scale", "no_residual", "se", "sk", "none"]
"""What a module does with its squeezed maps s: `smg` is HCGNet, s f + n with forget gate f and update vector n.

`no_forget`: s + n. `no_update`: s f. `one_scale`: s f + the context of the 3x3 branch, the softmax over one scale being 1. `no_residual`: n
alone in the modules, while transitions, whose maps would have no place left, stay as they are. `se`, `sk`: a squeeze-and-excitation or a
selective-kernel unit on s. `none`: s.
"""


class Brc(nn.Module):
    """BatchNorm, ReLU, convolution without bias, in this order."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        convolved: Tensor = self.conv(functional.relu(self.norm(maps), inplace=True))
        return convolved


class ContextPooling(nn.Module):
    """Mean of maps z (batch, k, height, width) over positions p, weighted by softmax_p(w z_p + b).

    The softmax does not notice b, which is counted among the parameters all the same and never gets a gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, k)."""
        return context(maps, self.score.weight, self.score.bias)


def context(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Pool *maps* (batch, k, height, width) with *weight* (1, k) and *bias* (1,), see `ContextPooling`; no copy in either memory format."""
    positions = maps.flatten(2)
    shared = weight.unsqueeze(0).expand(len(maps), -1, -1)
    share = torch.baddbmm(bias.view(1, 1, 1), shared, positions).softmax(2)
    return torch.bmm(positions, share.transpose(1, 2)).squeeze(2)


class UpdateGate(nn.Module):
    """Mixes the contexts of two scales per channel: softmax over the scales of V tanh(norm(U [ga; gb])); the rows of V are stacked."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(2 * channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.select = nn.Linear(hidden, 2 * channels)

    def forward(self, contexts: Tensor) -> Tensor:
        """Return (batch, k) of the contexts (batch, 2 k) of both scales, one after the other."""
        logits = self.select(torch.tanh(self.norm(self.squeeze(contexts))))
        return mixed(contexts, logits)


def mixed(contexts: Tensor, logits: Tensor) -> Tensor:
    """Sum the two halves of *contexts* (batch, 2 k), weighted by a softmax over the two halves of *logits*."""
    shares = logits.view(len(logits), 2, -1).softmax(1)
    return (shares * contexts.view(len(contexts), 2, -1)).sum(1)


class ForgetGate(nn.Module):
    """Which share of each channel is kept: sigmoid(W2 tanh(norm(W1 context)))."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.pooling = ContextPooling(channels)
        self.squeeze = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, k)."""
        return torch.sigmoid(self.excite(torch.tanh(self.norm(self.squeeze(self.pooling(maps))))))


class GatedFusion(nn.Module):
    """What follows the squeeze: s f + n, where the update vector n stands at every position.

    The maps of the two branches are thrown away once pooled; only their context vectors reach the output. *reduction* divides the hidden
    sizes of both gates.
    """

    def __init__(self, channels: int, reduction: int, gates: Gates = "smg") -> None:
        super().__init__()
        if gates not in get_args(Gates):
            raise ModelError(f"hcgnet: gates '{gates}' are unknown (known: {', '.join(get_args(Gates))})")
        self.gates = gates
        if gates == "se":
            self.unit: nn.Module = SqueezeExcitation(channels, reduction)
        if gates == "sk":
            self.unit = SelectiveKernel(channels, channels, groups=channels, reduction=reduction)
        if gates in ("smg", "no_forget", "one_scale", "no_residual"):
            self.near = Brc(channels, channels, 3, groups=channels)
            self.near_pooling = ContextPooling(channels)
        if gates in ("smg", "no_forget", "no_residual"):
            self.far = Brc(channels, channels, 3, dilation=2, groups=channels)
            self.far_pooling = ContextPooling(channels)
            self.update = UpdateGate(channels, 2 * channels // reduction)
        if gates in ("smg", "no_update", "one_scale"):
            self.forget = ForgetGate(channels, channels // reduction)

    def forward(self, s: Tensor) -> Tensor:
        if self.gates == "none":
            return s
        if self.gates in ("se", "sk"):
            attended: Tensor = self.unit(s)
            return attended
        new = self._new(s)
        if self.gates == "no_residual":
            assert new is not None
            return new.expand_as(s)
        kept = s if self.gates == "no_forget" else s * self.forget(s)[:, :, None, None]
        return kept if new is None else kept + new

    def _new(self, s: Tensor) -> Tensor | None:
        """The update vector (batch, k, 1, 1)."""
        if self.gates == "no_update":
            return None
        near: Tensor = self.near_pooling(self.near(s))
        if self.gates == "one_scale":
            return near[:, :, None, None]
        new: Tensor = self.update(torch.cat((near, self.far_pooling(self.far(s))), 1))
        return new[:, :, None, None]


class Smg(nn.Module):
    """Squeeze, multi-scale excitation, gates: k new maps y from C maps x; the output is [x, y].

    Parameters with the gates of HCGNet and even k: C (4k + 2) + 14 k^2 + 40.5 k + 3.
    """

    def __init__(self, inputs: int, growth: int, gates: Gates = "smg") -> None:
        super().__init__()
        if growth < 2 or growth % 2 or growth % SQUEEZE_GROUPS:
            raise ModelError(f"hcgnet: growth {growth} is not a positive multiple of {SQUEEZE_GROUPS}")
        self.reduce = Brc(inputs, SQUEEZE_GROUPS * growth, 1)
        self.squeeze = Brc(SQUEEZE_GROUPS * growth, growth, 3, groups=SQUEEZE_GROUPS)
        self.fusion = GatedFusion(growth, 2, gates)

    def new_maps(self, maps: Tensor) -> Tensor:
        """Return y alone."""
        fused: Tensor = self.fusion(self.squeeze(self.reduce(maps)))
        return fused

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat((maps, self.new_maps(maps)), 1)


SQUEEZE_GROUPS = 4


class Transition(nn.Module):
    """Halves channels and sides, with the gates of the modules; nothing is concatenated.

    Of C channels o = floor(C / 2) are left; the 1x1 convolution keeps C - floor((C - o) / 2), the dense 3x3 of stride 2 leads to o.
    """

    def __init__(self, inputs: int, gates: Gates = "smg") -> None:
        super().__init__()
        self.outputs = inputs // 2
        middle = inputs - (inputs - self.outputs) // 2
        self.reduce = Brc(inputs, middle, 1)
        self.squeeze = Brc(middle, self.outputs, 3, stride=2)
        self.fusion = GatedFusion(self.outputs, 4, "smg" if gates == "no_residual" else gates)

    def forward(self, maps: Tensor) -> Tensor:
        fused: Tensor = self.fusion(self.squeeze(self.reduce(maps)))
        return fused
