"""One level of the orthonormal 2-D Haar transform: a 2x2 block of pixels becomes four numbers of the same energy.

    a b     LL = (a + b + c + d) / 2     LH = (a - b + c - d) / 2     (pywt: cA, cV)
    c d     HL = (a + b - c - d) / 2     HH = (a - b - c + d) / 2     (pywt: cH, cD)

LH is low from top to bottom and high from left to right: it sees upright edges. Bands of images with C channels are stacked band by band:
C channels of LL, then of LH, HL and HH. An image of odd height or width is first lengthened by a copy of its last row or column.

Three ways to the same numbers: `haar2d` for torch (any device, differentiable), by eight additions of strided slices; `folded`, which makes
one 2x2 convolution of the transform and any linear map of its bands that acts site by site; and `toolkit.learning.wavelet_cpu`, compiled
loops from pixels to bands or maps, for preparing data. `decompose` and `compose` give other wavelets and several levels, by PyWavelets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.errors import UserError

BANDS = ("LL", "LH", "HL", "HH")


class WaveletError(UserError, ValueError):
    """A transform is asked for what it cannot do."""


def haar2d(images: Tensor) -> Tensor:
    """Return the four bands (..., 4 C, ceil(H / 2), ceil(W / 2)) of floating-point *images* (..., C, H, W)."""
    images = lengthened(images)
    upper, lower = images[..., 0::2, :], images[..., 1::2, :]
    sums, differences = upper + lower, upper - lower
    even, odd = slice(0, None, 2), slice(1, None, 2)
    bands = [
        sums[..., even] + sums[..., odd], sums[..., even] - sums[..., odd],
        differences[..., even] + differences[..., odd], differences[..., even] - differences[..., odd],
    ]
    return torch.cat(bands, dim=-3).mul(0.5)


def inverse_haar2d(bands: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return the images (..., C, H, W) of *bands* (..., 4 C, h, w); *size* is (H, W), by default (2 h, 2 w).

    Raises:
        WaveletError: *bands* are not four for each channel, or not those of images of that size.
    """
    channels, height, width = bands.shape[-3:]
    if channels % 4:
        raise WaveletError(f"haar: bands come in fours, LL, LH, HL and HH for each channel, got {channels} channels")
    rows, columns = (2 * height, 2 * width) if size is None else size
    if ((rows + 1) // 2, (columns + 1) // 2) != (height, width):
        expected = f"{(rows + 1) // 2} x {(columns + 1) // 2}"
        raise WaveletError(f"haar: an image of {rows} x {columns} has bands of {expected}, not {height} x {width}")
    ll, lh, hl, hh = bands.mul(0.5).chunk(4, dim=-3)
    above = torch.stack([ll + hl + (lh + hh), ll + hl - (lh + hh)], dim=-1).flatten(-2)
    below = torch.stack([ll - hl + (lh - hh), ll - hl - (lh - hh)], dim=-1).flatten(-2)
    return torch.stack([above, below], dim=-2).flatten(-3, -2)[..., :rows, :columns]


def low_band(images: Tensor) -> Tensor:
    """Return the LL band (..., C, ceil(H / 2), ceil(W / 2)) alone."""
    return functional.avg_pool2d(lengthened(images), 2).mul_(2.0)


def lengthened(images: Tensor) -> Tensor:
    """Return *images* (..., H, W), lengthened by a copy of the last row or column where their number is odd."""
    if images.shape[-2] % 2:
        images = torch.cat([images, images[..., -1:, :]], dim=-2)
    if images.shape[-1] % 2:
        images = torch.cat([images, images[..., -1:]], dim=-1)
    return images


def blocks(like: Tensor) -> Tensor:
    """Return the transform of one block as a matrix (4 bands, 4 pixels a, b, c, d), orthogonal, with type and device of *like*."""
    signs = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    return torch.tensor(signs, dtype=like.dtype, device=like.device).mul_(0.5)


def folded(weights: Tensor, matrix: Tensor | None = None) -> Tensor:
    """Return the kernel (outputs, C, 2, 2) of the convolution with stride 2 that equals *weights* (outputs, 4 C) times the bands of a site.

    *matrix* may be given as `blocks` returned it, to save making it.
    """
    matrix = blocks(weights) if matrix is None else matrix
    outputs, bands = weights.shape
    by_band = weights.view(outputs, 4, bands // 4)
    return (by_band.transpose(1, 2) @ matrix).view(outputs, bands // 4, 2, 2)


def decompose(images: Tensor, wavelet: str = "haar", levels: int = 1, mode: str = "periodization") -> list[Tensor]:
    """Return [LL of the last level, details of the last level, ..., details of the first] of *images* (n, C, H, W), by PyWavelets.

    Details are (n, 3 C, h, w): LH, HL, HH in the order of `haar2d`. Runs on the CPU and is not differentiable. With ``periodization`` every
    level halves the size (rounded up) whatever the wavelet's length; the other modes of PyWavelets give a few more rows and columns.
    """
    import pywt  # type: ignore[import-untyped]

    found = pywt.wavedec2(images.detach().cpu().numpy(), wavelet, mode=mode, level=levels, axes=(-2, -1))
    low, *details = found
    return [_tensor([low]), *(_tensor([vertical, horizontal, diagonal]) for horizontal, vertical, diagonal in details)]


def compose(parts: Sequence[Tensor], wavelet: str = "haar", mode: str = "periodization", size: tuple[int, int] | None = None) -> Tensor:
    """Return the images whose `decompose` gave *parts*, cut to *size* (H, W) if given."""
    import pywt

    low, *details = (part.detach().cpu().numpy() for part in parts)
    channels = low.shape[1]
    triples = [(part[:, channels : 2 * channels], part[:, :channels], part[:, 2 * channels :]) for part in details]
    images = torch.from_numpy(pywt.waverec2([low, *triples], wavelet, mode=mode, axes=(-2, -1)))
    return images if size is None else images[..., : size[0], : size[1]]


def _tensor(bands: Sequence[Any]) -> Tensor:
    return torch.cat([torch.from_numpy(band) for band in bands], dim=1)
