"""Times the Count-Sketch and the selection of the largest against what plain torch offers, all in one run, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/sketch.py               # two minutes; d = 10**7, 5 x 500,000, k = 50,000
    python benchmarks/sketch.py --size 1000000 --cols 50000     # smaller; --device cuda where there is one

Rivals: a sketch by `index_add_` with hashes (int64) and signs (float32) stored beforehand, estimates gathered by the same and their
`torch.median`, `torch.topk` of the magnitudes. The floor is a copy of the vector. Each time is the best of `--repeats`, the candidates
taking turns, since other work on the machine only ever adds; the median is printed beside it. First calls are timed in a process of
their own, with an empty cache of compiled code and with a full one.

Exit status 1 if encode is less than 5 times as fast as its rival, or selection less than 3 times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from toolkit.learning import sketch_gpu
from toolkit.learning.sketch import CountSketch
from toolkit.learning.top_k import top_k

FIRST_CALLS = """
import time, torch
from toolkit.learning.sketch import CountSketch
sketch = CountSketch(5, 1600, 1, size=1000)
begin = time.perf_counter(); table = sketch.encode(torch.ones(1000)); encoded = time.perf_counter()
sketch.estimate(table); estimated = time.perf_counter()
sketch.top_k(table, 10); chosen = time.perf_counter()
print(encoded - begin, estimated - encoded, chosen - estimated)
"""


def first_calls(cache: str) -> list[float]:
    """Seconds of the first encode (with numba's own import), estimate and top_k of a fresh process."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    output = subprocess.run([sys.executable, "-c", FIRST_CALLS], capture_output=True, text=True, check=True, env=environment)
    return [float(word) for word in output.stdout.split()]


def measure(candidates: dict[str, Callable[[], object]], repeats: int, wait: Callable[[], object]) -> dict[str, list[float]]:
    """Milliseconds of each candidate, which take turns; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name, candidate in candidates.items():
            wait()
            begin = time.perf_counter()
            candidate()
            wait()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000_000)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--cols", type=int, default=500_000)
    parser.add_argument("--k", type=int, default=0, help="0.005 of the size unless given")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    d, k, device = args.size, args.k or args.size // 200, torch.device(args.device)
    on_cpu = device.type == "cpu"
    torch.set_num_threads(1)

    if on_cpu:
        with tempfile.TemporaryDirectory() as cache:
            print("first calls, s (encode with import of numba, estimate, top_k): ", end="")
            print(*(f"{label} " + ", ".join(f"{s:.2f}" for s in first_calls(cache)) for label in ("compiling", "from the cache")), sep="; ")

    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(d, dtype=np.float32)).to(device)
    plain = CountSketch(args.rows, args.cols, seed=1, size=d)
    fixed = CountSketch(args.rows, args.cols, seed=1, size=d, fraction_bits=16)
    begin = time.perf_counter()
    cells, signs = plain.cells(torch.arange(d, device=device))
    signs = signs.float()
    print(f"hashes of the rival: {cells.nbytes + signs.nbytes:.3g} bytes, stored in {time.perf_counter() - begin:.1f} s")

    table, fixed_table, copy = plain.encode(vector), fixed.encode(vector), torch.empty_like(vector)
    estimates = plain.estimate(table)

    def index_add() -> torch.Tensor:
        out = torch.zeros_like(table)
        for row in range(args.rows):
            out[row].index_add_(0, cells[row], signs[row] * vector)
        return out

    torch.testing.assert_close(index_add(), table, rtol=1e-5, atol=1e-4)

    def gathered() -> torch.Tensor:
        return (table.gather(1, cells) * signs).median(dim=0).values

    torch.testing.assert_close(gathered(), estimates, rtol=0, atol=0)
    candidates: dict[str, Callable[[], object]] = {
        "copy of the vector": lambda: copy.copy_(vector),
        "encode, index_add_ with stored hashes": index_add,
        "encode": lambda: plain.encode(vector),
        "encode, fixed point": lambda: fixed.encode(vector),
        "estimate, gather and median with stored hashes": gathered,
        "estimate": lambda: plain.estimate(table),
        "estimate, fixed point": lambda: fixed.estimate(fixed_table),
        "select, torch.topk": lambda: torch.topk(estimates.abs(), k),
        "select, top_k": lambda: top_k(estimates, k),
        "estimate and select": lambda: plain.top_k(table, k),
    }
    if not on_cpu and sketch_gpu.has_triton():
        print("kernels: Triton")
    times = measure(candidates, args.repeats, (lambda: None) if on_cpu else torch.cuda.synchronize)
    print(f"d = {d:,}, {args.rows} x {args.cols:,}, k = {k:,}, {device}; ms, best and median of {args.repeats}; multiples of the copy")
    floor = min(times["copy of the vector"])
    for name, found in times.items():
        print(f"{name:48s}{min(found):10.2f}{statistics.median(found):10.2f}{min(found) / floor:8.1f}")
    best = {name: min(found) for name, found in times.items()}
    encode = best["encode, index_add_ with stored hashes"] / best["encode"]
    select = best["select, torch.topk"] / best["select, top_k"]
    estimate = best["estimate, gather and median with stored hashes"] / best["estimate"]
    print(f"encode: {encode:.1f} times as fast as index_add_ (5 wanted)")
    print(f"top_k: {select:.1f} times as fast as torch.topk (3 wanted)")
    print(f"estimate: {estimate:.1f} times as fast as gather and median")
    for name, work in (("encode", plain.encode_work(d)), ("estimate", plain.decode_work(d))):
        rate = (work[1] + work[2]) / best[name] / 1e6
        print(f"{name}: {rate:.1f} GB/s of the bytes that its work states; the copy {8 * d / floor / 1e6:.1f} GB/s")
    return 0 if encode >= 5 and select >= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
