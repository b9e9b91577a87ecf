"""Times ways to one level of the 2-D Haar transform of RGB images, and of the encoder of CLFD, all in one run on one thread.

    OMP_NUM_THREADS=1 python benchmarks/wavelet.py

Candidates: PyWavelets, strided slices in torch, the transform and three 1x1 convolutions step by step, the encoder folded into one
convolution, and the compiled loops that prepare data. CPU time, the best of `--repeats`; the candidates take turns.

Exit status 1 if the compiled transform is below 240,000 images/s at 32x32 or 2,000 at 224x224; wanted are 600,000 and 10,000.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import pywt
import torch

from toolkit.learning import wavelet_cpu
from toolkit.learning.wavelet import haar2d
from toolkit.methods.continual.frequency import Encoder

LEAST = {32: 240_000.0, 224: 2_000.0}
AIM = {32: 600_000.0, 224: 10_000.0}
BATCH = {32: 64, 64: 64, 224: 8}


def rates(candidates: dict[str, Callable[[], object]], batch: int, repeats: int) -> dict[str, float]:
    """Images per second of CPU time of each candidate; the first round is not counted."""
    best = dict.fromkeys(candidates, float("inf"))
    for turn in range(repeats + 1):
        for name, candidate in candidates.items():
            calls = 20 if turn else 1
            begin = time.process_time()
            for _ in range(calls):
                candidate()
            if turn:
                best[name] = min(best[name], (time.process_time() - begin) / calls)
    return {name: batch / seconds for name, seconds in best.items()}


def candidates_for(side: int) -> dict[str, Callable[[], object]]:
    batch = BATCH[side]
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, side, side), dtype=np.uint8)
    floats = pixels.astype(np.float32)
    tensor = torch.from_numpy(floats)
    encoder = Encoder(3, torch.Generator().manual_seed(0)).requires_grad_(False)
    kernel = encoder.kernel().numpy()
    mean, std = np.array([0.491, 0.482, 0.447], np.float32), np.array([0.247, 0.244, 0.262], np.float32)
    bands, maps = np.empty((batch, 12, side // 2, side // 2), np.float32), np.empty((batch, 3, side // 2, side // 2), np.float32)
    normal = torch.from_numpy((floats / 255 - mean[:, None, None]) / std[:, None, None])
    np.testing.assert_allclose(wavelet_cpu.bands(pixels, mean, std), haar2d(normal).numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(wavelet_cpu.encode(pixels, kernel, mean, std), encoder.by_bands(normal).numpy(), rtol=0, atol=1e-4)
    return {
        "transform: pywt.dwt2": lambda: pywt.dwt2(floats, "haar", axes=(-2, -1)),
        "transform: slices (haar2d)": lambda: haar2d(tensor),
        "transform: compiled, float32": lambda: wavelet_cpu.bands(floats, out=bands),
        "transform: compiled, pixels, normalised": lambda: wavelet_cpu.bands(pixels, mean, std, bands),
        "encoder: slices and three convolutions": lambda: encoder.by_bands(tensor),
        "encoder: one convolution": lambda: encoder(tensor),
        "encoder: compiled, float32": lambda: wavelet_cpu.encode(floats, kernel, out=maps),
        "encoder: compiled, pixels, normalised": lambda: wavelet_cpu.encode(pixels, kernel, mean, std, maps),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {side: rates(candidates_for(side), BATCH[side], args.repeats) for side in BATCH}
    print(f"{'images/s of CPU time, RGB':42s}" + "".join(f"{f'{side} px':>14s}" for side in BATCH))
    for name in found[32]:
        print(f"{name:42s}" + "".join(f"{found[side][name]:14,.0f}" for side in BATCH))
    status = 0
    for side, least in LEAST.items():
        slowest = min(rate for name, rate in found[side].items() if name.startswith("transform: compiled"))
        print(f"{side} px: {slowest:,.0f} images/s ({least:,.0f} needed, {AIM[side]:,.0f} wanted)")
        status |= slowest < least
    return status


if __name__ == "__main__":
    sys.exit(main())
