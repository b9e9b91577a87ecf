"""Exact nearest windows of consecutive queries: the searches of this project against scikit-learn, SciPy and stumpy, in one run.

    OMP_NUM_THREADS=1 python benchmarks/knn.py [--sizes 1e4 1e5 1e6] [--seconds 3]

A link keeps its last n cells; with every query comes a new cell and the oldest is dropped. Each query asks for the k = 5 windows nearest
to the latest m = 24 cells among those whose target, six cells later, is known. Queries per CPU second of this process, what a search
needs to keep up with the series included. An index of all windows cannot be kept up: the k-d tree is built anew every `REBUILD` cells and
newer windows are compared one by one; the row above it shows the same tree without that, which is no search of the series any more.
A tree lives on windows that lie in few dimensions, as a tide's do; --series noise shows it without.
Every answer is compared with brute force. What is not installed is left out (stumpy and faiss are not among the project's extras). Below,
the same through the predictor itself: pairs of `update` and `predict`, whatever else these do.

The recurrence passes over its n sums once in so many cells, and has to read and write them and to read the series: how fast this machine
adds one array to another of that size is the limit that memory sets. Exit status 1 when a figure of `REQUIRED` is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from toolkit.acoustic.prediction import paa
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.recurrence import Recurrence
from toolkit.acoustic.prediction.search import brute, windows_of

M, K, AHEAD = 24, 5, 6
REBUILD = 1000
REQUIRED = {10_000: 20_000, 100_000: 2_000, 1_000_000: 180}
AIMED_AT = {10_000: 50_000, 100_000: 7_000, 1_000_000: 550}
"""Queries per CPU second of the recurrence, by cells."""
Query = Callable[[int], np.ndarray]
"""Squared distances (K,) of the nearest windows at the time of cell number *size* - 1."""


def series(n: int, kind: str) -> np.ndarray:
    """Half-hourly, in dB: tide, day and weather with a memory; or noise."""
    t = np.arange(n)
    if kind == "noise":
        return 12.0 + 5.0 * np.random.default_rng(0).standard_normal(n)
    weather = np.convolve(np.random.default_rng(0).standard_normal(n + 50), np.ones(51) / 7, "valid")
    return 12.0 + 5.0 * np.sin(2 * np.pi * t / 24.84) + 3.0 * np.sin(2 * np.pi * t / 48) + weather[:n]


def incremental(values: np.ndarray, n: int) -> Query:
    state = Recurrence(M)

    def query(size: int) -> np.ndarray:
        row = values[size - n : size]
        state.follow(row, size - 1)
        return state.search(row, n - 1 - AHEAD, K).squares * M

    return query


def numpy_brute(values: np.ndarray, n: int) -> Query:
    return lambda size: brute(windows_of(values[size - n : size], M), values[size - M : size], n - 1 - AHEAD, K).squares


def segment_means(values: np.ndarray, n: int) -> Query:
    return lambda size: paa.search(values[size - n : size], M, n - 1 - AHEAD, K).squares


def sklearn_brute(values: np.ndarray, n: int) -> Query:
    from sklearn.neighbors import NearestNeighbors

    def query(size: int) -> np.ndarray:  # fitting keeps a reference and works nothing out
        index = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(windows_of(values[size - n : size - AHEAD], M))
        return index.kneighbors(values[None, size - M : size])[0][0] ** 2

    return query


def fixed_tree(values: np.ndarray, n: int) -> Query:
    from scipy.spatial import cKDTree

    index = cKDTree(windows_of(values[: n - AHEAD], M))
    return lambda size: index.query(values[size - M : size], K)[0] ** 2


def rebuilt_tree(values: np.ndarray, n: int) -> Query:
    from scipy.spatial import cKDTree

    built, index = -REBUILD, None

    def query(size: int) -> np.ndarray:
        nonlocal built, index
        if size - built >= REBUILD:  # over windows that stay within the kept cells until the next time
            built = size
            index = cKDTree(windows_of(values[size - n + REBUILD : size - AHEAD], M))
        rows = windows_of(values[size - n : size - AHEAD], M)
        old = built + REBUILD - size  # windows about to be dropped, then those that came since
        rest = np.concatenate([rows[:old], rows[len(rows) - (size - built) :]]) - values[size - M : size]
        squares = np.concatenate([np.einsum("ij,ij->i", rest, rest), index.query(values[size - M : size], K)[0] ** 2])
        return np.sort(squares)[:K]

    return query


def flat_faiss(values: np.ndarray, n: int) -> Query:
    import faiss

    built, index = -REBUILD, None

    def query(size: int) -> np.ndarray:
        nonlocal built, index
        if size - built >= REBUILD:  # single precision, as faiss has it; windows that came since are left out
            built = size
            index = faiss.IndexFlatL2(M)
            index.add(np.ascontiguousarray(windows_of(values[size - n : size - AHEAD], M), np.float32))
        return np.asarray(index.search(values[None, size - M : size].astype(np.float32), K)[0][0], np.float64)

    return query


def stumpy_mass(values: np.ndarray, n: int) -> Query:
    import stumpy

    def query(size: int) -> np.ndarray:
        found = stumpy.mass(values[size - M : size], values[size - n : size - AHEAD], normalize=False)
        return np.sort(np.partition(found, K - 1)[:K]) ** 2

    return query


RIVALS = {
    "incremental recurrence": incremental, "segment means (PAA)": segment_means, "NumPy brute": numpy_brute,
    "scikit-learn brute": sklearn_brute, "SciPy cKDTree, never rebuilt": fixed_tree, "SciPy cKDTree": rebuilt_tree,
    "stumpy.mass": stumpy_mass, "faiss, flat, in single precision, built anew now and then": flat_faiss,
}
APPROXIMATE = (fixed_tree, flat_faiss)
"""Those that leave the newest windows out."""
PARTS: dict[str, tuple[float, dict[str, object]]] = {
    "Knn, default settings": (0.0, {}), "Knn, k = 5, level, no lags": (0.0, {"k": 5, "mode": "level", "same_phase_s": ()}),
    "Knn, default settings, a tenth missing": (0.1, {}),
    "Knn, brute": (0.0, {"search": "brute"}),
}
"""Through the part itself: share of cells missing, and settings."""
PART_REQUIRED = {10_000: 20_000, 100_000: 2_500}
"""Pairs of `update` and `predict` per CPU second that default settings have to reach."""


def part_rate(n: int, values: np.ndarray, missing: float, settings: dict[str, object], seconds: float) -> float:
    """Pairs of `update` and `predict` (six cells ahead) per CPU second, with n cells kept, the residual floor included."""
    part = Knn(max_cells=n, **{"search": "incremental", **settings})
    state, step_s = part.init(), part.step_s
    there = (np.random.default_rng(1).random(len(values)) >= missing).tolist()
    row = values.tolist()
    for index in range(n):
        if there[index]:
            part.update(state, (index + 0.5) * step_s, row[index])
    part.predict(state, (n + 6) * step_s)
    pairs, index, started = 0, n, time.process_time()
    while index < len(row) and time.process_time() - started < seconds:
        if there[index]:
            part.update(state, (index + 0.5) * step_s, row[index])
            part.predict(state, (index + 6.5) * step_s)
            pairs += 1
        index += 1
    return pairs / (time.process_time() - started)


def rate(query: Query, n: int, values: np.ndarray, check: bool, seconds: float) -> float:
    """Queries per CPU second at n cells, for about so long; the last answer is compared with that of brute force."""
    query(n + 1)  # compiles what is to be compiled
    size, started = n + 1, time.process_time()
    while size < len(values) and (size < n + 4 or time.process_time() - started < seconds):
        size += 1
        found = query(size)
    spent = time.process_time() - started
    if check:
        expected = numpy_brute(values, n)(size)
        np.testing.assert_allclose(np.sqrt(found), np.sqrt(expected), atol=1e-6)
    return (size - n - 1) / spent


def memory_limit(n: int) -> float:
    """Queries per CPU second if the recurrence did nothing but bring its sums through memory: the best of many additions in place."""
    sums, row = np.ones(n), np.ones(n)
    best = np.inf
    for _ in range(20):
        started, times = time.perf_counter(), max(1, 200_000 // n)
        for _ in range(times):
            np.add(sums, row, out=sums)
        best = min(best, (time.perf_counter() - started) / times)
    return Recurrence(M).period / best


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--sizes", nargs="+", type=float, default=[1e4, 1e5, 1e6])
    cli.add_argument("--seconds", type=float, default=3.0, help="CPU time per rival and size")
    cli.add_argument("--series", choices=("tide", "noise"), default="tide")
    args = cli.parse_args()
    sizes = [int(size) for size in args.sizes]
    print("| queries per CPU second | " + " | ".join(f"n = {n:,}" for n in sizes) + " |\n" + "|---" * (1 + len(sizes)) + "|")
    rates: dict[str, list[float]] = {}
    for name, build in RIVALS.items():
        for n in sizes:
            values = series(n + 400_000, args.series)
            try:
                query = build(values, n)
            except ImportError:
                break
            rates.setdefault(name, []).append(rate(query, n, values, build not in APPROXIMATE, args.seconds))
        if name in rates:
            print(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in rates[name]) + " |")
        else:
            print(f"| {name} | not installed |" + " |" * (len(sizes) - 1))
    best = rates["incremental recurrence"]
    limits = [memory_limit(n) for n in sizes]
    print("| limit of memory | " + " | ".join(f"{value:,.0f}" for value in limits) + " |")
    print("\nThe recurrence against each: " + "; ".join(
        f"{name} " + ", ".join(f"{a / b:.1f}x" for a, b in zip(best, row, strict=True)) for name, row in rates.items() if row is not best
    ))
    print("Of the limit of memory: " + ", ".join(f"{a / b:.0%}" for a, b in zip(best, limits, strict=True)))
    missed = 0
    for n, found in zip(sizes, best, strict=True):
        if n in REQUIRED:
            ok = found >= REQUIRED[n]
            missed += not ok
            print(f"n = {n:,}: {found:,.0f}, required {REQUIRED[n]:,} ({'met' if ok else 'MISSED'}), "
                  f"aim {AIMED_AT[n]:,} ({'met' if found >= AIMED_AT[n] else 'not met'})")
    heads = " | ".join(f"n = {n:,}" for n in sizes)
    print(f"\n| pairs of update and predict per CPU second | {heads} |\n" + "|---" * (1 + len(sizes)) + "|")
    for name, (missing, settings) in PARTS.items():
        found = [part_rate(n, series(n + 200_000, args.series), missing, settings, args.seconds) for n in sizes]
        print(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in found) + " |")
        if not missing and not settings:
            missed += sum(value < PART_REQUIRED.get(n, 0) for n, value in zip(sizes, found, strict=True))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
