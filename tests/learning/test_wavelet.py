from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor

from toolkit.learning import wavelet_cpu
from toolkit.learning.wavelet import WaveletError, blocks, compose, decompose, folded, haar2d, inverse_haar2d, low_band

SIZES = [(2, 2), (8, 8), (32, 32), (7, 8), (8, 7), (33, 35), (1, 1), (1, 6), (46, 18)]


def images(height: int, width: int, channels: int = 3, count: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(height * width), dtype=dtype)


def test_a_block_by_hand() -> None:
    block = torch.tensor([[[[1.0, 2.0], [3.0, 8.0]]]])
    assert haar2d(block).flatten().tolist() == [7.0, -3.0, -4.0, 2.0]
    assert torch.equal(inverse_haar2d(haar2d(block)), block)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_inverse_gives_the_images_back_whatever_their_size(height: int, width: int) -> None:
    """Check 2 of section 9 (CLFD), first part; odd sizes as well."""
    before = images(height, width)
    bands = haar2d(before)
    assert bands.shape == (4, 12, (height + 1) // 2, (width + 1) // 2)
    after = inverse_haar2d(bands, (height, width))
    assert after.shape == before.shape
    assert float((after - before).abs().max()) < 1e-6
    if height % 2 == 0 and width % 2 == 0:
        assert float(bands.square().sum() / before.square().sum()) == pytest.approx(1, abs=1e-6)
        assert torch.equal(inverse_haar2d(bands), after)


@pytest.mark.parametrize("size", [2, 8, 32, 18])
def test_bands_are_those_of_pywavelets(size: int) -> None:
    """Check 2 of section 9 (CLFD), second part."""
    given = images(size, size + 4)
    low, (horizontal, vertical, diagonal) = pywt.dwt2(given.numpy(), "haar", axes=(-2, -1))
    for band, expected in zip(haar2d(given).chunk(4, dim=1), (low, vertical, horizontal, diagonal), strict=True):
        assert np.abs(band.numpy() - expected).max() < 1e-6
    torch.testing.assert_close(low_band(given), torch.from_numpy(low))


def test_gradients() -> None:
    """Check 2 of section 9 (CLFD), third part."""
    for height, width in ((4, 6), (3, 5)):
        given = images(height, width, 2, 2, torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(haar2d, given)
        assert torch.autograd.gradcheck(inverse_haar2d, (haar2d(given), (height, width)))
    matrix = blocks(torch.empty((), dtype=torch.float64))
    assert torch.equal(matrix @ matrix.T, torch.eye(4, dtype=torch.float64))


def test_any_map_of_the_bands_is_one_convolution() -> None:
    weights = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    given = images(16, 10)
    expected = torch.einsum("ob,nbhw->nohw", weights, haar2d(given))
    found = torch.conv2d(given, folded(weights), stride=2)
    assert float((found - expected).abs().max()) < 1e-5


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("pixels", [True, False])
def test_compiled_loops_give_what_torch_gives(height: int, width: int, pixels: bool) -> None:
    rng = np.random.default_rng(height + width)
    raw = rng.integers(0, 256, (3, 2, height, width), dtype=np.uint8)
    given = raw if pixels else raw.astype(np.float32)
    mean, std = np.array([0.4, 0.6], np.float32), np.array([0.2, 0.3], np.float32)
    weights = rng.standard_normal((3, 8)).astype(np.float32)
    kernel = folded(torch.from_numpy(weights)).numpy()

    plain = torch.from_numpy(raw.astype(np.float32))
    normal = (plain / (255 if pixels else 1) - torch.from_numpy(mean).view(2, 1, 1)) / torch.from_numpy(std).view(2, 1, 1)
    for tensor, moments in ((plain, (None, None)), (normal, (mean, std))):
        bands = haar2d(tensor)
        maps = torch.einsum("ob,nbhw->nohw", torch.from_numpy(weights), bands)
        scale = float(tensor.abs().max())
        assert np.abs(wavelet_cpu.bands(given, *moments) - bands.numpy()).max() < 3e-6 * scale
        assert np.abs(wavelet_cpu.encode(given, kernel, *moments) - maps.numpy()).max() < 1e-5 * scale


def test_results_can_be_written_where_the_caller_wants_them() -> None:
    given = np.zeros((2, 3, 8, 8), np.uint8)
    out = np.full((2, 12, 4, 4), 7, np.float32)
    assert wavelet_cpu.bands(given, out=out) is out
    assert not out.any()
    for bad in (np.empty((2, 12, 4, 5), np.float32), np.empty((2, 12, 4, 4), np.float64)):
        with pytest.raises(WaveletError, match=r"the result is contiguous float32 \(2, 12, 4, 4\)"):
            wavelet_cpu.bands(given, out=bad)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_other_wavelets_and_several_levels(wavelet: str, levels: int) -> None:
    given = images(64, 96)
    parts = decompose(given, wavelet, levels)
    assert [tuple(part.shape) for part in parts] == [
        (4, 3, 64 >> levels, 96 >> levels), *((4, 9, 64 >> level, 96 >> level) for level in range(levels, 0, -1))
    ]
    torch.testing.assert_close(compose(parts, wavelet, size=(64, 96)), given, rtol=1e-5, atol=1e-5)
    if wavelet == "haar":
        bands = haar2d(given)
        torch.testing.assert_close(parts[-1], bands[:, 3:])
        for _ in range(levels - 1):
            bands = haar2d(bands[:, :3])
        torch.testing.assert_close(torch.cat(parts[:2], dim=1), bands, rtol=1e-5, atol=1e-5)


def test_mistakes_are_named() -> None:
    with pytest.raises(WaveletError, match="bands come in fours"):
        inverse_haar2d(torch.zeros(1, 6, 2, 2))
    with pytest.raises(WaveletError, match="an image of 9 x 8 has bands of 5 x 4, not 4 x 4"):
        inverse_haar2d(torch.zeros(1, 4, 4, 4), (9, 8))
    with pytest.raises(WaveletError, match=r"got float64 \(1, 1, 2, 2\)"):
        wavelet_cpu.bands(np.zeros((1, 1, 2, 2)))  # type: ignore[arg-type]
    with pytest.raises(WaveletError, match="must be contiguous"):
        wavelet_cpu.bands(np.zeros((1, 1, 4, 4), np.uint8)[..., ::2])
    with pytest.raises(WaveletError, match=r"need a kernel \(outputs, 3, 2, 2\), got \(3, 1, 2, 2\)"):
        wavelet_cpu.encode(np.zeros((1, 3, 4, 4), np.uint8), np.zeros((3, 1, 2, 2), np.float32))
