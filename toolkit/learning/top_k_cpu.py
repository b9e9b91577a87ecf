"""Radix selection on the bits of floats, compiled by numba when first used.

The bits of |v|, read as an integer, are in the order of |v|. Their upper half (exponent and 7 bits of mantissa) is counted in one
pass; a second pass keeps what lies in or above the bin of the k-th; the lower half then settles, among those of that bin, the
exact k-th value and how many of its equals belong: a few are sorted, many are counted too. No worst case: all values may be equal.
"""

from __future__ import annotations

import numba
import numpy as np

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

MAGNITUDE = np.uint32(0x7FFFFFFF)
UPPER = np.uint32(16)
BINS = 1 << 15
LOWER_BINS = 1 << 16
FEW = 2048
"""So many are sorted sooner than `LOWER_BINS` are emptied and looked through."""
INFINITY = 0x7F80
"""Bin of infinity, and the first with NaN."""
BLOCK = 16


@numba.njit(cache=True, nogil=True)
def count_upper(bits):
    """Count the upper halves of |v|, (BINS,); two sets of counters, so that a run of equal values does not wait for itself."""
    even, odd = np.zeros(BINS, np.int32), np.zeros(BINS, np.int32)
    whole = len(bits) // 2 * 2
    for i in range(0, whole, 2):
        even[(bits[i] & MAGNITUDE) >> UPPER] += 1
        odd[(bits[i + 1] & MAGNITUDE) >> UPPER] += 1
    if whole < len(bits):
        even[(bits[whole] & MAGNITUDE) >> UPPER] += 1
    for place in range(BINS):
        even[place] += odd[place]
    return even


@numba.njit(cache=True, nogil=True)
def bin_of_kth(counts, k):
    """Return the bin that the k-th largest falls into, and how many lie above that bin."""
    above = 0
    place = len(counts) - 1
    while above + counts[place] < k:
        above += counts[place]
        place -= 1
    return place, above


@numba.njit(cache=True, nogil=True)
def keep(bits, floor, kept):
    """Write to *kept* the indices, rising, of all |v| whose bits are at least *floor*; it has one place more than there are."""
    n = 0
    for begin in range(0, len(bits), BLOCK):
        end = min(begin + BLOCK, len(bits))
        found = False
        for i in range(begin, end):
            found |= (bits[i] & MAGNITUDE) >= floor
        if found:
            for i in range(begin, end):
                kept[n] = i  # in any case, and over again unless it counts: no branch to mispredict
                n += (bits[i] & MAGNITUDE) >= floor


@numba.njit(cache=True, nogil=True)
def kth_of_few(bits, kept, upper, k):
    """Return the k-th largest |v| of the bin *upper*, and how many of that bin are larger; *kept* has the indices of all of them."""
    few = np.empty(FEW, np.uint32)
    count = 0
    for n in range(len(kept)):
        magnitude = bits[kept[n]] & MAGNITUDE
        if magnitude >> UPPER == upper:
            few[count] = magnitude
            count += 1
    few[:count].sort()
    kth = few[count - k]
    larger = 0
    while larger < k and few[count - 1 - larger] > kth:
        larger += 1
    return kth, larger


@numba.njit(cache=True, nogil=True)
def select(bits, k):
    """Return the indices (int64, rising) of the *k* largest |v|, of equals those with the lowest index; and whether any is NaN."""
    counts = count_upper(bits)
    special = 0
    for place in range(INFINITY, BINS):
        special += counts[place]
    if special > 0:
        for i in range(len(bits)):
            if (bits[i] & MAGNITUDE) > np.uint32(INFINITY << 16):
                return np.empty(0, np.int64), True
    upper, above = bin_of_kth(counts, k)
    kept = np.empty(above + counts[upper] + 1, np.int64)
    keep(bits, np.uint32(upper << 16), kept)
    kept = kept[:-1]
    if counts[upper] <= FEW:
        kth, above_in_bin = kth_of_few(bits, kept, upper, k - above)
    else:
        lower_counts = np.zeros(LOWER_BINS, np.int64)
        for n in range(len(kept)):
            magnitude = bits[kept[n]] & MAGNITUDE
            if magnitude >> UPPER == upper:
                lower_counts[magnitude & np.uint32(0xFFFF)] += 1
        lower, above_in_bin = bin_of_kth(lower_counts, k - above)
        kth = np.uint32((upper << 16) | lower)
    equals = k - above - above_in_bin
    chosen = np.empty(k, np.int64)
    n = 0
    for candidate in kept:
        magnitude = bits[candidate] & MAGNITUDE
        if magnitude > kth:
            chosen[n] = candidate
            n += 1
        elif magnitude == kth and equals > 0:
            chosen[n] = candidate
            n += 1
            equals -= 1
    return chosen, False
