"""How much of a network can be cut: parameters left at half the units, ours beside Torch-Pruning's.

    pip install -e .[test,learn,baselines]
    OMP_NUM_THREADS=1 python benchmarks/pruning_cover.py         # a table in Markdown; a minute

Each network is small and made of what people build with: grouped convolutions, shared layers, attention, dense heads. Both tools are
asked for half of the units of every group, with the layers of the answer left whole, and what comes out is run. Ours is right if it answers
as the network does with the cut units' outputs set to zero; for Torch-Pruning no such answer is known here: that it runs is all that is
looked at.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.learning.pruning.gates import masked_scores
from toolkit.learning.pruning.groups import PruningError, find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.learning.pruning.trace import Untraceable
from toolkit.models.condensenet import condensenet
from toolkit.models.densenet import densenet_bc
from toolkit.models.hcgnet import hcgnet_a1
from toolkit.models.mlp import mlp
from toolkit.models.resnet_cifar import resnet20


class Plain(nn.Module):
    def __init__(self, middle: nn.Module, channels: int = 16, wide: int | None = None) -> None:
        super().__init__()
        self.first, self.middle = nn.Conv2d(3, channels, 3, padding=1), middle
        self.last = nn.Conv2d(wide or channels, 8, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.last(functional.relu(self.middle(functional.relu(self.first(x))))))
        return self.head(x.mean((2, 3)))


class Halved(nn.Module):
    """Gated linear units: one half of the channels gates the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 32, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv(x).chunk(2, dim=1)
        return a * b.sigmoid()


class Twice(nn.Module):
    """One layer used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv(functional.relu(self.conv(x))))


class Tied(nn.Module):
    """Two linear layers with one weight, as an auto-encoder's."""

    def __init__(self) -> None:
        super().__init__()
        self.there = nn.Linear(32, 16)
        self.back = nn.Linear(16, 32)
        self.back.weight = nn.Parameter(self.there.weight.t().clone())
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.there(x))
        return self.head(functional.linear(x, self.there.weight.t(), self.back.bias))


class Transformer(nn.Module):
    """Two encoder layers over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(24, 32)
        self.layers = nn.Sequential(*(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True) for _ in range(2)))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 1, 3).flatten(2)
        return self.head(self.layers(self.embed(rows)).mean(1))


class OwnAttention(nn.Module):
    """Attention written out, with its MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.norm2 = nn.Linear(24, 32), nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.up, self.down, self.head = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.permute(0, 2, 1, 3).flatten(2))
        n, t, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, 4, 8).permute(2, 0, 3, 1, 4)
        x = x + self.out((q @ k.transpose(-1, -2) / 8**0.5).softmax(-1).matmul(v).transpose(1, 2).reshape(n, t, 32))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class Permuted(nn.Module):
    """Channels last before a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.inner, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv(x)).permute(0, 2, 3, 1)
        return self.head(functional.gelu(self.inner(x)).mean((1, 2)))


class InADict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Plain(nn.Conv2d(16, 16, 3, padding=1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"scores": self.inner(x)}


class Dense(nn.Module):
    """A score for every pixel, from two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.side, self.head = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = functional.relu(self.one(x))
        coarse = functional.relu(self.side(functional.relu(self.two(fine))))
        return self.head(fine + functional.interpolate(coarse, scale_factor=2, mode="nearest"))


class Flat(nn.Module):
    """Convolutions of one or three dimensions."""

    def __init__(self, conv: type[nn.Module], norm: type[nn.Module], inputs: int) -> None:
        super().__init__()
        self.one, self.norm = conv(inputs, 16, 3, padding=1), norm(16)
        self.two, self.head = conv(16, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.two(functional.relu(self.norm(self.one(x)))))
        return self.head(x.flatten(2).mean(2))


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 8, 8)


def conv(**settings: Any) -> nn.Module:
    return nn.Conv2d(16, 16, 3, padding=1, **settings)


CASES = (
    Case("plain convolutions", lambda: Plain(conv())),
    Case("grouped convolution", lambda: Plain(conv(groups=4))),
    Case("depthwise, then pointwise", lambda: Plain(nn.Sequential(conv(groups=16), nn.BatchNorm2d(16), nn.ReLU6(), nn.Conv2d(16, 16, 1)))),
    Case("GroupNorm", lambda: Plain(nn.Sequential(conv(), nn.GroupNorm(4, 16)))),
    Case("PReLU per channel", lambda: Plain(nn.Sequential(conv(), nn.PReLU(16)))),
    Case("ConvTranspose2d", lambda: Plain(nn.ConvTranspose2d(16, 16, 2, stride=2))),
    Case("chunk (gated linear unit)", lambda: Plain(Halved())),
    Case("shared module", lambda: Plain(Twice())),
    Case("tied weights", Tied, (32,)),
    Case("LayerNorm, attention written out", OwnAttention),
    Case("TransformerEncoderLayer", Transformer),
    Case("Conv1d", lambda: Flat(nn.Conv1d, nn.BatchNorm1d, 3), (3, 16)),
    Case("Conv3d", lambda: Flat(nn.Conv3d, nn.BatchNorm3d, 3), (3, 4, 8, 8)),
    Case("permute, then Linear", Permuted),
    Case("answer in a dict", InADict),
    Case("dense prediction", Dense),
    Case("MLP", lambda: mlp(10, in_channels=3, image_size=8)),
    Case("ResNet-20", lambda: resnet20(10, 3)),
    Case("DenseNet-BC", lambda: densenet_bc(10, 3), (3, 32, 32)),
    Case("CondenseNet", lambda: condensenet(10, 3), (3, 32, 32)),
    Case("HCGNet-A1", lambda: hcgnet_a1(10, 3), (3, 32, 32)),
)


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def ours(model: nn.Module, shape: tuple[int, ...]) -> str:
    """The share of parameters that is left, or why none go."""
    try:
        groups = find_groups(model, shape)
        mask = groups.dense()
        for group in groups.groups:
            mask[group.start + (group.size + 1) // 2 : group.start + group.size] = False
        small = rebuild(model, groups, mask)
        images = torch.randn((4, *shape), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            gap = float((small(images) - masked_scores(model, groups, mask, images)).abs().max())
    except (PruningError, Untraceable) as error:
        return f"refused: {str(error).partition(': ')[2]}"
    except Exception as error:  # told as a failure of ours
        return f"FAILS: {type(error).__name__}: {str(error)[:60]}"
    left = f"{size(small) / size(model):.2f}"
    return left if gap < 1e-4 else f"{left} WRONG by {gap:.2g}"


def theirs(model: nn.Module, shape: tuple[int, ...]) -> str:
    import torch_pruning as pruning

    images = torch.randn((4, *shape), generator=torch.Generator().manual_seed(1))
    model, before = copy.deepcopy(model), size(model)
    answer = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == 10]
    answer += [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.out_channels == 5]
    heads = {module: module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    try:
        pruner = pruning.pruner.MagnitudePruner(
            model, images, importance=pruning.importance.MagnitudeImportance(p=1), pruning_ratio=0.5, ignored_layers=answer, num_heads=heads
        )
        pruner.step()
        with torch.no_grad():
            model(images)
    except Exception as error:  # whatever it raises is its answer
        return f"fails: {type(error).__name__}: {str(error).splitlines()[0][:60]}"
    return f"{size(model) / before:.2f}"


def main() -> int:
    warnings.simplefilter("ignore")
    there = importlib.util.find_spec("torch_pruning") is not None
    print("| network | parameters | left by ours | left by Torch-Pruning |\n|---|---|---|---|")
    for case in CASES:
        torch.manual_seed(0)
        model = case.make().eval()
        print(f"| {case.name} | {size(model):,} | {ours(model, case.shape)} | {theirs(model, case.shape) if there else ''} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
