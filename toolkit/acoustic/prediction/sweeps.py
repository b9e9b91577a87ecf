"""The compiled loops of the incremental search: moving its sums on, finding the nearest windows, and both for past forecasts at once.

Rows hold a series newest first, so that what lies L cells before a cell stands L places behind it. `here` is 1 where a cell is there and
0 where it is missing; the row is 0 there. What is compared beside the cells (`backs`, `phase`) is described in `recurrence.Beside`.
Checked against plain NumPy in `tests/acoustic/prediction/test_searches.py`.
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK = 128
SWEEP = 256
"""Lags at a time, where past windows are compared."""
TINY = 1e-154


# Distances decide which of two windows is nearer, so they are added up in one order: with "reassoc" the compiler chooses it, and windows
# equally near would be told apart by last bits. Sums that only pass windows over may be added up in any order.
@numba.njit(cache=True)
def between(row, first, cells, lag):
    """Sum of squared differences of the *cells* from place *first* on and those *lag* older; of complete rows."""
    total = 0.0
    for c in range(first, first + cells):
        gap = row[c] - row[c + lag]
        total += gap * gap
    return total


@numba.njit(cache=True)
def between_known(row, here, first, cells, lag):
    """The same over the cells that both have, and their number."""
    total, count = 0.0, 0.0
    for c in range(first, first + cells):
        both = here[c] * here[c + lag]
        gap = row[c] - row[c + lag]
        total += both * gap * gap
        count += both
    return total, count


@numba.njit(cache=True, fastmath={"nnan", "nsz"})
def advance(row, here, head, width, steps, sums, counts, least, known, lags, cursor, share, gappy):
    """Bring sums up to the cell before the newest, which is at place *head*.

    The first *known* lags move on by *steps* cells, those up to *lags* are new, and *share* more from *cursor* on in turn are worked out
    afresh. Returns where the next turn begins. Sums and least values behind *known* in its last block mean nothing until they are new.
    """
    moved, many = np.empty(BLOCK), np.empty(BLOCK)
    for block in range((known + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        sums_here, counts_here = sums[start : start + BLOCK], counts[start : start + BLOCK]
        for i in range(BLOCK):
            moved[i] = sums_here[i]
            many[i] = counts_here[i]
        for step in range(steps):
            comes = head + steps - step  # the oldest first
            goes = comes + width
            new, gone = row[comes], row[goes]
            come, left = row[comes + 1 + start : comes + 1 + start + BLOCK], row[goes + 1 + start : goes + 1 + start + BLOCK]
            if gappy:
                is_new, is_gone = here[comes], here[goes]
                there, then = here[comes + 1 + start : comes + 1 + start + BLOCK], here[goes + 1 + start : goes + 1 + start + BLOCK]
                for i in range(BLOCK):
                    first, last = new - come[i], gone - left[i]
                    one, other = is_new * there[i], is_gone * then[i]
                    moved[i] += one * first * first - other * last * last
                    many[i] += one - other
            else:
                for i in range(BLOCK):
                    first, last = new - come[i], gone - left[i]
                    moved[i] += first * first - last * last
        for i in range(BLOCK):
            sums_here[i] = moved[i]
            counts_here[i] = many[i]
        least[block] = least_of(moved)
    for lag in range(known + 1, lags + 1):
        if (lag - 1) % BLOCK == 0:
            least[(lag - 1) // BLOCK] = np.inf
        enter(row, here, head, width, sums, counts, least, lag)
    for _ in range(share):
        cursor = cursor + 1 if cursor < lags else 1
        enter(row, here, head, width, sums, counts, least, cursor)
    return cursor


@numba.njit(cache=True, fastmath={"nnan", "nsz"})
def least_of(moved):
    """The least of a block, which is lost; by halves, since a loop over all would wait for each comparison."""
    half = BLOCK // 2
    while half:
        for i in range(half):
            moved[i] = moved[i] if moved[i] < moved[i + half] else moved[i + half]
        half //= 2
    return moved[0]


@numba.njit(cache=True)
def enter(row, here, head, width, sums, counts, least, lag):
    """Work out one sum afresh. The least of its block may stay below the truth by a rounding error, never above it."""
    total, count = between_known(row, here, head + 1, width, lag)
    sums[lag - 1], counts[lag - 1] = total, count
    block = (lag - 1) // BLOCK
    least[block] = min(least[block], total)


@numba.njit(cache=True)
def distance(row, here, place, m, lag, size, need, backs, phase, phase_square, phase_weight, gappy):
    """Mean square difference of the windows that end at *place* and *lag* cells before, everything included; inf if they share too little.

    The row ends *size* cells after *place*.
    """
    if gappy:
        total, count = between_known(row, here, place, m, lag)
        if count < need or count == 0.0:
            return np.inf
    else:
        total, count = between(row, place, m, lag), float(m)
    if phase_weight > 0.0:
        total += phase_square * phase[lag]
        count += phase_weight
    for back in backs:
        if back < size and here[place + back] > 0.0 and lag + back < size and here[place + lag + back] > 0.0:
            gap = row[place + back] - row[place + lag + back]
            total += gap * gap
            count += 1.0
    return total / count


@numba.njit(cache=True)
def known_cells(here, place, m):
    """How many of the m cells up to the one at *place* are there."""
    count = 0.0
    for c in range(place, place + m):
        count += here[c]
    return count


@numba.njit(cache=True)
def insert(best, best_lags, found, value, lag):
    """Put *value* into its place among the first *found*; an equal one that came before is more recent and stays ahead."""
    place = min(found, len(best) - 1)
    while place > 0 and best[place - 1] > value:
        best[place], best_lags[place] = best[place - 1], best_lags[place - 1]
        place -= 1
    best[place], best_lags[place] = value, lag
    return min(found + 1, len(best))


@numba.njit(cache=True)
def nearest_lags(
    row, here, head, m, width, sums, counts, least, known, lags, first, newer, slack, present, backs, phase, phase_square, phase_weight,
    gappy, hints, best_lags, best,
):
    """Put the nearest of the lags >= *first* into *best_lags*, ties the more recent first, and their mean squares into *best*.

    The sums run over *width* cells, and the *newer* newest cells are not in them. Returns how many were found, and the components compared.
    """
    k = len(best)
    size = lags + m
    more = phase_weight + len(backs)
    need = present * known_cells(here, head, m) - 1e-9 if gappy else 0.0
    best[:] = np.inf
    found, compared = 0, 0
    for lag in hints:  # k different windows: the k-th distance is not above the largest of theirs
        if found < k and first <= lag <= lags and here[head + lag - first] > 0.0:
            value = distance(row, here, head, m, lag, size, need, backs, phase, phase_square, phase_weight, gappy)
            compared += m
            if value < np.inf:
                best[found] = value
                found += 1
    bound = best.max()
    best[:] = np.inf
    found = 0
    for block in range((first - 1) // BLOCK, (known + BLOCK - 1) // BLOCK):
        if least[block] > bound * (m + more) + slack:
            continue
        for index in range(max(first - 1, block * BLOCK), min(known, (block + 1) * BLOCK)):
            if sums[index] <= bound * (counts[index] + (m - width) + more) + slack:
                lag = index + 1
                if here[head + lag - first] == 0.0:
                    continue
                compared += newer
                if gappy:
                    total, count = between_known(row, here, head, newer, lag)
                    loose = m - width - newer + more
                    if sums[index] + total > bound * (counts[index] + count + loose) + slack:
                        continue
                elif sums[index] + between(row, head, newer, lag) > bound * (m + more) + slack:
                    continue
                compared += m
                value = distance(row, here, head, m, lag, size, need, backs, phase, phase_square, phase_weight, gappy)
                if value < best[k - 1]:
                    found = insert(best, best_lags, found, value, lag)
                    bound = min(bound, best[k - 1])
    for lag in range(max(first, known + 1), lags + 1):
        if here[head + lag - first] == 0.0:
            continue
        compared += m
        value = distance(row, here, head, m, lag, size, need, backs, phase, phase_square, phase_weight, gappy)
        if value < best[k - 1]:
            found = insert(best, best_lags, found, value, lag)
    return found, compared


@numba.njit(cache=True)
def average(values, filled, ahead, lags, squares, eps, eps_share, delta):
    """Mean and variance of the targets of the windows *lags* before the latest, weighted by 1 / (distance + eps).

    eps is *eps*, or, if that is negative, *eps_share* of the mean distance. With *delta* targets move by the difference of the last cells,
    missing ones as they are *filled*.
    """
    last, k = len(values) - 1, len(lags)
    if eps < 0.0:
        eps = 0.0
        for i in range(k):
            eps += eps_share / k * np.sqrt(squares[i])
    eps += TINY
    total, mean, square = 0.0, 0.0, 0.0
    newest = filled[last]
    base = newest if delta else values[last - lags[0] + ahead]  # sums of differences keep their digits far from 0
    for i in range(k):
        end = last - lags[i]
        target = values[end + ahead] + (newest - filled[end] if delta else 0.0) - base
        weight = 1.0 / (np.sqrt(squares[i]) + eps)
        total += weight
        mean += weight * target
        square += weight * target * target
    mean /= total
    return base + mean, max(square / total - mean * mean, 0.0)


@numba.njit(cache=True)
def answer(
    row, here, head, m, width, sums, counts, least, known, lags, first, newer, slack, present, backs, phase, phase_square, phase_weight,
    gappy, hints, best_lags, best, values, filled, eps, eps_share, delta,
):
    """`nearest_lags` and, if there are enough, their `average`: how many were found, components compared, mean, variance."""
    found, compared = nearest_lags(
        row, here, head, m, width, sums, counts, least, known, lags, first, newer, slack, present, backs, phase, phase_square,
        phase_weight, gappy, hints, best_lags, best,
    )
    if found < len(best):
        return found, compared, 0.0, 0.0
    mean, variance = average(values, filled, first, best_lags, best, eps, eps_share, delta)
    return found, compared, mean, variance


@numba.njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def step_complete(moved, row, comes, goes, start, limit):
    """Move the sums of the lags from *start* on by a cell; return how many are not above *limit*."""
    new, gone = row[comes], row[goes]
    come, left = row[comes + start : comes + start + SWEEP], row[goes + start : goes + start + SWEEP]
    near = 0
    for i in range(SWEEP):
        first, last = new - come[i], gone - left[i]
        value = moved[i] + (first * first - last * last)
        moved[i] = value
        near += value <= limit
    return near


@numba.njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def step_known(moved, many, row, here, comes, goes, start, bound, more):
    """The same over the cells that both have, and their numbers; return how many are not above *bound* a cell, and *more*."""
    new, gone, is_new, is_gone = row[comes], row[goes], here[comes], here[goes]
    come, left = row[comes + start : comes + start + SWEEP], row[goes + start : goes + start + SWEEP]
    there, then = here[comes + start : comes + start + SWEEP], here[goes + start : goes + start + SWEEP]
    near = 0
    for i in range(SWEEP):
        first, last = new - come[i], gone - left[i]
        one, other = is_new * there[i], is_gone * then[i]
        value = moved[i] + (one * first * first - other * last * last)
        number = many[i] + (one - other)
        moved[i] = value
        many[i] = number
        near += value <= bound * number + more
    return near


@numba.njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def start_sweep(moved, many, row, here, place, m, start, gappy):
    """The sums of the lags from *start* on, for the window that ends at *place*, and the cells that each runs over."""
    for i in range(SWEEP):
        moved[i] = 0.0
        many[i] = 0.0 if gappy else m
    for c in range(place, place + m):
        new, other = row[c], row[c + start : c + start + SWEEP]
        if gappy:
            is_new, there = here[c], here[c + start : c + start + SWEEP]
            for i in range(SWEEP):
                gap, both = new - other[i], is_new * there[i]
                moved[i] += both * gap * gap
                many[i] += both
        else:
            for i in range(SWEEP):
                gap = new - other[i]
                moved[i] += gap * gap


@numba.njit(cache=True)
def nearest_of_origins(
    row, here, size, m, ahead, places, present, backs, phase, phase_square, phase_weight, slack, gappy, best_lags, best, found
):
    """The nearest windows of several past windows at once: those that end at *places* (rising: the newest first).

    The row begins at place 0, holds *size* cells and is 0 for a sweep and m more. For each place the sums of all lags are those of the
    place behind it, moved on by a cell; *slack* is what rounding can do to them. Fills *best_lags* and *best*
    (places, k) and *found* (places,); returns the components compared.
    """
    k = best.shape[1]
    count = len(places)
    newest, oldest = places[0], places[count - 1]
    more = phase_weight + len(backs)
    moved, many = np.empty(SWEEP), np.empty(SWEEP)
    bounds, needs = np.empty(count), np.empty(count)
    compared = 0
    for index in range(count):
        place = places[index]
        needs[index] = present * known_cells(here, place, m) - 1e-9
        lags = size - m - place
        found[index] = 0
        for lag in range(ahead, lags + 1, max(1, (lags - ahead) // (8 * k))):  # a first idea of how near neighbours are
            if here[place + lag - ahead] > 0.0:
                value = distance(row, here, place, m, lag, size - place, needs[index], backs, phase, phase_square, phase_weight, gappy)
                if value < best[index, k - 1]:
                    found[index] = insert(best[index], best_lags[index], found[index], value, lag)
        bounds[index] = best[index, k - 1]
        best[index, :] = np.inf
        found[index] = 0
    longest = size - m - newest
    for start in range(ahead, longest + 1, SWEEP):  # lags start … start + SWEEP - 1
        start_sweep(moved, many, row, here, oldest, m, start, gappy)
        near = 1
        compared += SWEEP * (m + 2 * (oldest - newest))
        index = count - 1
        place = oldest
        while True:
            if places[index] == place:
                if near:
                    top = min(start + SWEEP - 1, size - m - place)
                    for lag in range(start, top + 1):
                        if moved[lag - start] > bounds[index] * (many[lag - start] + more) + slack or here[place + lag - ahead] == 0.0:
                            continue
                        compared += m
                        value = distance(
                            row, here, place, m, lag, size - place, needs[index], backs, phase, phase_square, phase_weight, gappy
                        )
                        if value < best[index, k - 1]:
                            found[index] = insert(best[index], best_lags[index], found[index], value, lag)
                            bounds[index] = min(bounds[index], best[index, k - 1])
                index -= 1
            if place == newest:
                break
            place -= 1
            bound = bounds[index] if places[index] == place else -1.0
            if gappy:
                near = step_known(moved, many, row, here, place, place + m, start, bound, bound * more + slack)
            else:
                near = step_complete(moved, row, place, place + m, start, bound * (m + more) + slack)
    return compared
