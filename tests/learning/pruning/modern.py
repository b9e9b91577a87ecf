"""Networks as they are written today, in small: attention, norms over channels, channels last, decoders, tied weights, answers in dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Encoder(nn.Module):
    """torch's encoder layers over rows of numbers."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.position = nn.Parameter(torch.zeros(1, 5, 16))
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, **options), 2, enable_nested_tensor=False
        )
        self.head = nn.Linear(16, 10)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(rows) + self.position)[:, 0])


class Crossed(nn.Module):
    """Attention from learnt queries to tokens, tokens first, keys and values of another width, and its shares thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.queries = nn.Linear(6, 12), nn.Parameter(torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(0)))
        self.attention = nn.MultiheadAttention(16, 4, kdim=12, vdim=12)
        self.head = nn.Linear(16, 10)

    def forward(self, rows: Tensor) -> Tensor:
        tokens = self.embed(rows).transpose(0, 1)
        queries = self.queries.expand(-1, tokens.size(1), -1)
        answer, _ = self.attention(queries, tokens, tokens)
        return self.head(answer.mean(0))


class Own(nn.Module):
    """Attention of one's own, in one way or another."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.heads, self.head_dim = how, 4, 4
        self.embed, self.norm, self.norm2 = nn.Linear(6, 16), nn.LayerNorm(16), nn.LayerNorm(16)
        self.q, self.k, self.v, self.qkv = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 48)
        self.out, self.up, self.down, self.head = nn.Linear(16, 16), nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, 10)

    def forward(self, rows: Tensor) -> Tensor:
        x = self.embed(rows)
        x = x + self.out(self.mixed(self.norm(x)))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))

    def mixed(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        if self.how == "fused, by attributes":
            q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        elif self.how == "fused, by numbers":
            q, k, v = self.qkv(x).reshape(n, t, 3, 4, 4).permute(2, 0, 3, 1, 4)
        elif self.how == "split, by width":
            q, k, v = (part.view(n, t, self.heads, width // self.heads).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        else:
            sizes = {"heads free": (-1, 4), "widths free": (4, -1)}[self.how]
            q, k, v = (layer(x).unflatten(-1, sizes).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if self.how == "fused, by attributes":
            mixed = ((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed.transpose(1, 2)
        return mixed.reshape(n, t, width) if "by" in self.how and "attributes" not in self.how else mixed.flatten(2)


class Grouping(nn.Module):
    """GroupNorm with some groups, with as many as channels, and with one."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 12, 3, padding=1), nn.GroupNorm(groups, 12)
        self.second, self.head = nn.Conv2d(12, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(functional.relu(self.second(functional.relu(self.norm(self.first(images))))).mean((2, 3)))


class Next(nn.Module):
    """ConvNeXt's block: depthwise, channels last, LayerNorm, two linear layers, a scale per channel, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(1, 8, 2, stride=2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 20), nn.Linear(20, 8)
        self.scale, self.head = nn.Parameter(torch.full((8, 1, 1), 0.5)), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        y = self.down(functional.gelu(self.up(self.norm(self.deep(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)
        return self.head((x + self.scale * y).mean((-2, -1)))


class Unet(nn.Module):
    """Down, up by a transposed convolution, what was there before strung on, and a score for every pixel, in a dict with lists."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 8, 3, padding=1)
        self.up, self.three = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Conv2d(10, 8, 3, padding=1)
        self.head, self.side = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 5, 1)

    def forward(self, images: Tensor) -> dict[str, Any]:
        fine = functional.relu(self.norm(self.one(images)))
        coarse = functional.relu(self.two(functional.max_pool2d(fine, 2)))
        joined = torch.cat([fine, self.up(coarse)], 1)
        return {"scores": self.head(functional.relu(self.three(joined))), "others": [(self.side(coarse), None)]}


class Decoder(nn.Module):
    """Transposed convolutions of one, two or three dimensions, plain, grouped and depthwise, and a last one that makes the image."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        up = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
        self.dims, self.code = dims, nn.Linear(6, 8)
        self.plain, self.grouped = up(8, 12, 2, stride=2), up(12, 6, 2, stride=2, groups=3)
        self.deep, self.last = up(6, 12, 3, padding=1, groups=6), up(12, 2, 3, padding=1)

    def forward(self, rows: Tensor) -> Tensor:
        x = functional.relu(self.code(rows)).reshape(len(rows), -1, *(1,) * self.dims)
        x = functional.relu(self.grouped(functional.relu(self.plain(x))))
        return self.last(functional.relu(self.deep(x)))


class Shuffled(nn.Module):
    """Channels that become pixels and pixels that become channels, padding by channels, chunks and gates."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(4, 12, 3, padding=1)
        self.three, self.head = nn.Conv2d(24, 8, 1), nn.Linear(10, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.pixel_shuffle(functional.relu(self.one(images)), 2)
        a, b = self.two(x).chunk(2, 1)
        x = functional.pixel_unshuffle(functional.glu(torch.cat([a, b], 1), 1), 2)
        x = functional.relu(self.three(x))
        return self.head(functional.pad(x, (0, 0, 0, 0, 1, 1)).flatten(2).mean(2))


class Language(nn.Module):
    """Tokens in, a score for each token out, by the weights that looked them up."""

    def __init__(self) -> None:
        super().__init__()
        self.look_up = nn.Embedding(11, 8)
        self.norm, self.up, self.down = nn.RMSNorm(8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.score = nn.Linear(8, 11, bias=False)
        self.score.weight = self.look_up.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.look_up(tokens)
        return self.score(self.norm(x + self.down(functional.silu(self.up(x)))))


class Tied(nn.Module):
    """An auto-encoder whose decoder has the encoder's weights, the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.bias = nn.Linear(6, 16), nn.Parameter(torch.zeros(6))
        self.head = nn.Linear(6, 10)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(functional.relu(functional.linear(functional.relu(self.there(rows)), self.there.weight.t(), self.bias)))


ROWS, IMAGES = (5, 6), (1, 8, 8)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (Encoder, ROWS), "encoder, norm first": (lambda: Encoder(norm_first=True, activation="gelu"), ROWS),
    "crossed": (Crossed, ROWS),
    **{f"own attention, {how}": (lambda how=how: Own(how), ROWS) for how in (
        "fused, by attributes", "fused, by numbers", "split, by width", "heads free", "widths free"
    )},
    "four groups": (lambda: Grouping(4), IMAGES), "a group per channel": (lambda: Grouping(12), IMAGES),
    "one group": (lambda: Grouping(1), IMAGES),
    "next": (Next, IMAGES), "unet": (Unet, IMAGES), **{f"decoder {dims}d": (lambda dims=dims: Decoder(dims), (6,)) for dims in (1, 2, 3)},
    "shuffled": (Shuffled, IMAGES), "tied": (Tied, (6,)),
}
"""How each is made, and the shape of a sample."""
