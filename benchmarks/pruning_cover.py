"""How much of a network can be cut: parameters left at half the units, ours beside Torch-Pruning's.

    pip install -e .[test,learn,baselines]
    OMP_NUM_THREADS=1 python benchmarks/pruning_cover.py         # a table in Markdown; a minute

Each network is small and made of what people build with: grouped convolutions, shared layers, attention, dense heads. Both tools are
asked for half of the units of every group, with the layers of the answer left whole, and what comes out is run. Ours is right if it answers
as the network does with the cut units' gates closed; for Torch-Pruning no such answer is known here: that it runs is all that is looked at.
It is told what it has to be told: the attention modules' heads, and to take heads whole. It has two minutes for each network.
"""

from __future__ import annotations

import copy
import importlib.util
import signal
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
from toolkit.learning.pruning.trace import Untraceable, leaves
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
    """An auto-encoder whose decoder has the encoder's weight, the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.bias, self.head = nn.Linear(32, 16), nn.Parameter(torch.zeros(32)), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.linear(functional.relu(self.there(x)), self.there.weight.t(), self.bias))


class Tokens(nn.Module):
    """A small language model: the scores' weight is the one that looked the tokens up."""

    def __init__(self) -> None:
        super().__init__()
        self.look_up, self.norm = nn.Embedding(10, 32), nn.LayerNorm(32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.score = nn.Linear(32, 10, bias=False)
        self.score.weight = self.look_up.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.score(self.norm(self.layer(self.look_up(tokens))))


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


class FreeAttention(OwnAttention):
    """The same with the number of heads left open, and torch's product."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.permute(0, 2, 1, 3).flatten(2))
        q, k, v = (part.unflatten(2, (-1, 8)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, 2))
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class Next(nn.Module):
    """ConvNeXt's block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 32, 2, stride=2), nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)
        self.scale, self.head = nn.Parameter(torch.ones(32, 1, 1)), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.down(functional.gelu(self.up(self.norm(self.deep(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)
        return self.head((x + self.scale * y).mean((2, 3)))


class Unet(nn.Module):
    """Down, up by a transposed convolution, what was there before strung on, and a score for every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.up, self.norm, self.three = nn.ConvTranspose2d(32, 16, 2, stride=2), nn.GroupNorm(4, 32), nn.Conv2d(32, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = functional.relu(self.one(x))
        coarse = self.up(functional.relu(self.two(functional.max_pool2d(fine, 2))))
        return self.head(functional.relu(self.three(self.norm(torch.cat([fine, coarse], 1)))))


class Upscaled(nn.Module):
    """Channels that become pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.two(functional.pixel_shuffle(functional.relu(self.one(x)), 2))))


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
    dtype: torch.dtype = torch.float32

    def batch(self) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        if self.dtype == torch.long:
            return torch.randint(10, (4, *self.shape), generator=generator)
        return torch.randn((4, *self.shape), generator=generator)


def conv(**settings: Any) -> nn.Module:
    return nn.Conv2d(16, 16, 3, padding=1, **settings)


CASES = (
    Case("plain convolutions", lambda: Plain(conv())),
    Case("grouped convolution", lambda: Plain(conv(groups=4))),
    Case("depthwise, then pointwise", lambda: Plain(nn.Sequential(conv(groups=16), nn.BatchNorm2d(16), nn.ReLU6(), nn.Conv2d(16, 16, 1)))),
    Case("GroupNorm", lambda: Plain(nn.Sequential(conv(), nn.GroupNorm(4, 16)))),
    Case("GroupNorm with one group", lambda: Plain(nn.Sequential(conv(), nn.GroupNorm(1, 16)))),
    Case("PReLU per channel", lambda: Plain(nn.Sequential(conv(), nn.PReLU(16)))),
    Case("ConvTranspose2d", lambda: Plain(nn.ConvTranspose2d(16, 16, 2, stride=2))),
    Case("ConvTranspose2d, grouped", lambda: Plain(nn.ConvTranspose2d(16, 16, 2, stride=2, groups=4))),
    Case("chunk (gated linear unit)", lambda: Plain(Halved())),
    Case("shared module", lambda: Plain(Twice())),
    Case("tied weights, transposed", Tied, (32,)),
    Case("tied embedding and scores", Tokens, (6,), torch.long),
    Case("attention written out, sizes as numbers", OwnAttention),
    Case("attention written out, heads open", FreeAttention),
    Case("TransformerEncoderLayer", Transformer),
    Case("ConvNeXt block", Next),
    Case("U-Net", Unet),
    Case("pixel shuffle", Upscaled),
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


def ours(model: nn.Module, case: Case) -> str:
    """The share of parameters that is left, or why none go."""
    try:
        groups = find_groups(model, case.shape, dtype=case.dtype)
        mask = groups.dense()
        for group in groups.groups:
            mask[group.start + (group.size + 1) // 2 : group.start + group.size] = False
        small = rebuild(model, groups, mask)
        with torch.no_grad():
            pairs = zip(leaves(small(case.batch())), leaves(masked_scores(model, groups, mask, case.batch())), strict=True)
            gap = max(float((a - b).abs().max()) for a, b in pairs)
    except (PruningError, Untraceable) as error:
        return f"refused: {str(error).partition(': ')[2]}"
    except Exception as error:  # told as a failure of ours
        return f"FAILS: {type(error).__name__}: {str(error)[:60]}"
    left = f"{size(small) / size(model):.2f}"
    return left if gap < 1e-4 else f"{left} WRONG by {gap:.2g}"


def theirs(model: nn.Module, case: Case) -> str:
    import torch_pruning as pruning

    model, before = copy.deepcopy(model), size(model)
    answer = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == 10]
    answer += [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.out_channels == 5]
    heads = {module: module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    signal.alarm(LIMIT_S)
    try:
        pruner = pruning.pruner.MagnitudePruner(
            model, case.batch(), importance=pruning.importance.MagnitudeImportance(p=1), pruning_ratio=0.5, ignored_layers=answer,
            num_heads=heads, prune_num_heads=bool(heads), head_pruning_ratio=0.5,
        )
        pruner.step()
        with torch.no_grad():
            model(case.batch())
    except TooLong:
        return f"not done in {LIMIT_S} s"
    except Exception as error:  # whatever it raises is its answer
        return f"fails: {type(error).__name__}: {str(error).splitlines()[0][:60]}"
    finally:
        signal.alarm(0)
    return f"{size(model) / before:.2f}"


class TooLong(BaseException):
    """Two minutes are over."""


LIMIT_S = 120


def _too_long(*_: Any) -> None:
    raise TooLong


def main() -> int:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)
    there = importlib.util.find_spec("torch_pruning") is not None
    print("| network | parameters | left by ours | left by Torch-Pruning |\n|---|---|---|---|")
    for case in CASES:
        torch.manual_seed(0)
        model = case.make().eval()
        print(f"| {case.name} | {size(model):,} | {ours(model, case)} | {theirs(model, case) if there else ''} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
