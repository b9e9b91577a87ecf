"""All searches find the neighbours of brute force, and the recurrence does not drift."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.prediction.feeding import STEP_S
from toolkit.acoustic.prediction import paa
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.recurrence import BLOCK, REFRESH, Recurrence
from toolkit.acoustic.prediction.search import WindowOrder, brute, windows_of

KINDS = {
    "noise": lambda rng, n: rng.standard_normal(n),
    "half decibels": lambda rng, n: np.round(8 * rng.standard_normal(n)) / 2,
    "few levels": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "constant": lambda rng, n: np.full(n, 2.5),
    "wandering": lambda rng, n: np.cumsum(rng.standard_normal(n)),
    "repeating": lambda rng, n: np.tile(np.round(rng.standard_normal(40), 2), -(-n // 40))[:n],
}


def same(found, expected, m: int, found_m: int = 0) -> None:
    """*found* holds sums over *found_m* cells (the means of the recurrence: 1), *expected* over m."""
    np.testing.assert_allclose(np.sqrt(found.squares / (found_m or m)), np.sqrt(expected.squares / m), atol=1e-9)
    np.testing.assert_array_equal(found.ends, expected.ends)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [1, 7, 24])
def test_every_search_finds_what_brute_force_finds(kind: str, m: int) -> None:
    """As the series grows cell by cell, at several horizons and k; ties go to the more recent window."""
    rng = np.random.default_rng(m)
    values = KINDS[kind](rng, 400)
    recurrence, order = Recurrence(m), WindowOrder(m)
    for size in range(m, 400):
        row = values[:size]
        recurrence.follow(row, size - 1)
        if size % 9:
            continue
        order.keep(row[:-1], 0)
        for ahead, k in ((1, 5), (6, 1), (12, 9)):
            last_end = size - 1 - ahead
            expected = brute(windows_of(row, m), row[-m:], last_end, k)
            same(recurrence.search(row, last_end, k), expected, m, 1)
            same(paa.search(row, m, last_end, k), expected, m)
            same(order.search(row[-m:], last_end, k), expected, m)


def test_the_recurrence_takes_what_a_link_does_to_its_series() -> None:
    """The newest cell changes, several cells come at once, far too many come at once, and the oldest are dropped."""
    rng = np.random.default_rng(2)
    m, limit = 12, 300
    values = list(rng.standard_normal(50))
    recurrence = Recurrence(m)
    for turn in range(600):
        if turn % 3 == 0:
            values[-1] += rng.standard_normal()  # another sample in the newest cell
        if turn % 4 == 0:
            values.extend(rng.standard_normal(int(rng.integers(1, 5))))
        if turn == 400:
            values.extend(rng.standard_normal(m + 20))
        row = np.array(values[-limit:])
        recurrence.follow(row, len(values) - 1)
        expected = brute(windows_of(row, m), row[-m:], len(row) - 3, 5)
        same(recurrence.search(row, len(row) - 3, 5), expected, m, 1)
    assert len(values) > limit + 100


def drift(recurrence: Recurrence, row, last_cell: int) -> float:
    """Largest error in dB^2 of the sums, against those worked out from the cells."""
    sums, newest = recurrence.sums()
    latest = row[: len(row) - last_cell + newest]
    windows = windows_of(latest, recurrence.width)
    gap = windows[len(windows) - 1 - len(sums) : -1] - latest[len(latest) - recurrence.width :]
    return float(np.abs(sums[::-1][-len(gap) :] - (gap * gap).sum(axis=1)).max())


def test_the_recurrence_does_not_drift() -> None:
    """Over 1e5 steps the sums stay within the bound that the search allows for, and the neighbours are those of brute force."""
    rng = np.random.default_rng(4)
    steps, m, limit = 100_000, 24, 400
    values = 20.0 + 8.0 * np.sin(np.arange(steps + limit) / 7.7) + 3.0 * rng.standard_normal(steps + limit)
    recurrence = Recurrence(m)
    worst = 0.0
    for size in range(limit, steps + limit):
        row = values[size - limit : size]
        recurrence.follow(row, size - 1)
        if size % 997 == 0:
            worst = max(worst, drift(recurrence, row, size - 1))
            same(recurrence.search(row, limit - 3, 5), brute(windows_of(row, m), row[-m:], limit - 3, 5), m, 1)
    assert 0.0 < worst < recurrence.slack < 1e-6
    assert recurrence.renewed >= (limit - m) * steps // REFRESH


def test_the_refresh_forgets_old_rounding_errors() -> None:
    """Huge values leave rounding errors in a bare recurrence for good; the refresh has removed them after `REFRESH` cells."""
    m, limit, lag = 24, 300, 5
    width = Recurrence(m).width
    rng = np.random.default_rng(6)
    values = np.concatenate([1e6 * rng.standard_normal(400), rng.standard_normal(limit + REFRESH + 100)])
    recurrence = Recurrence(m)
    for size in range(limit, len(values) + 1):
        recurrence.follow(values[size - limit : size], size - 1)
    terms = ((values[lag:] - values[:-lag]) ** 2).tolist()
    bare = sum(terms[:width])
    for come, left in zip(terms[width:], terms[:-width], strict=True):
        bare += come - left
    assert drift(recurrence, values[-limit:], len(values) - 1) < 1e-11
    assert abs(bare - sum(terms[-width:])) > 1e-6


def test_where_all_are_equally_near_the_latest_come() -> None:
    row = np.full(3 * BLOCK + 200, 3.0)
    recurrence = Recurrence(8)
    recurrence.follow(row, len(row) - 1)
    for _ in range(2):  # the second time with the neighbours found before
        found = recurrence.search(row, len(row) - 2, 4)
        np.testing.assert_array_equal(found.ends, len(row) - 2 - np.arange(4))


def test_the_recurrence_looks_in_full_at_few_windows() -> None:
    """Noise, which lies in as many dimensions as a window has cells, leaves bounds the least to say."""
    values = np.random.default_rng(9).standard_normal(20_100)
    recurrence = Recurrence(24)
    compared = []
    for size in range(20_000, 20_100):
        row = values[size - 20_000 : size]
        recurrence.follow(row, size - 1)
        found = recurrence.search(row, len(row) - 7, 5)
        np.testing.assert_array_equal(found.ends, brute(windows_of(row, 24), row[-24:], len(row) - 7, 5).ends)
        compared.append(found.operations)
    assert np.mean(compared[10:]) < 0.05 * 24 * 20_000


@pytest.mark.parametrize("search", ["quick", "paa", "incremental"])
@pytest.mark.parametrize("mode", ["level", "delta", "local_linear"])
def test_a_predictor_says_the_same_with_every_search(search: str, mode: str) -> None:
    """Fed two samples per cell, asked within cells, and with a history that is outgrown."""
    rng = np.random.default_rng(7)
    values = np.round(8 * (10 + 4 * np.sin(np.arange(400) / 5) + rng.standard_normal(400))) / 8  # eighths: many ties, and exact sums
    parts = [Knn(window=16, mode=mode, search=name, same_phase_s=(), max_cells=256) for name in ("brute", search)]
    states = [part.init() for part in parts]
    for index, value in enumerate(values.tolist()):
        for place, sample in ((0.2, value), (0.7, value + 1.0)):
            for part, state in zip(parts, states, strict=True):
                part.update(state, (index + place) * STEP_S, sample)
            if index % 7 == 0 and index > 30:
                for ahead in (0.1, 3.0):
                    one, other = (
                        part.predict(state, (index + place + ahead) * STEP_S) for part, state in zip(parts, states, strict=True)
                    )
                    assert one == pytest.approx(other, abs=1e-8)


@pytest.mark.parametrize("search", ["quick", "paa", "incremental"])
@pytest.mark.parametrize(
    "settings", [{"mode": "centered"}, {"same_phase_s": (86_400.0,)}, {"phase_periods_s": (86_400.0,)}, {"exclusion": 2}]
)
def test_a_search_refuses_what_it_cannot_do(search: str, settings: dict[str, object]) -> None:
    if search == "incremental" and ("same_phase_s" in settings or "phase_periods_s" in settings):
        assert Knn(search=search, **settings).search == search
        return
    with pytest.raises(ValueError, match=f"{search} needs"):
        Knn(**{"search": search, "same_phase_s": (), **settings})


def test_searches_are_priced_by_what_they_compare() -> None:
    rng = np.random.default_rng(8)
    values = 10 + 4 * np.sin(np.arange(1500) / 5) + rng.standard_normal(1500)
    flops, last = {}, {}
    for search in ("brute", "quick", "paa", "incremental"):
        part = Knn(window=24, search=search, same_phase_s=())
        state, spent = part.init(), []
        for index, value in enumerate(values.tolist()):
            part.update(state, (index + 0.5) * STEP_S, value)
            if 1470 <= index < 1488:  # the first of a block of cells renews the residual floor, which is paid for too
                part.predict(state, (index + 1.5) * STEP_S)
                spent.append(part.work(state).flops)
        flops[search], last[search] = np.mean(spent[3:]), spent[-1]
    assert last["brute"] == 3 * 24 * (1488 - 24) + 8 * 12
    assert flops["incremental"] < 0.2 * flops["brute"]
    assert max(flops["paa"], flops["quick"]) < 0.6 * flops["brute"]


SWEPT = {
    "defaults": {},
    "no lags": {"same_phase_s": (), "mode": "level"},
    "phases": {"phase_periods_s": (86_400.0, 44_714.0)},
    "short windows": {"window": 3, "k": 5},
    "local line": {"mode": "local_linear", "k": 20},
    "gaussian": {"weights": "gaussian", "eps_db": 0.1},
    "two lags": {"same_phase_s": (86_400.0, 89_424.0), "present": 0.9},
}


@pytest.mark.parametrize("settings", SWEPT)
@pytest.mark.parametrize("missing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("max_cells", [2048, 300])
def test_the_compiled_search_says_what_brute_force_says(settings: str, missing: float, max_cells: int) -> None:
    """With gaps that come and go, same-phase lags, phases and a history that is outgrown; mean, spread and whether it fell back."""
    rng = np.random.default_rng(11)
    values = 10 + 4 * np.sin(np.arange(520) / 5) + rng.standard_normal(520)
    values[(rng.random(520) < missing) & ((np.arange(520) < 250) | (missing > 0.3))] = np.nan
    values[0] = 10.0
    parts = [Knn(search=search, max_cells=max_cells, **SWEPT[settings]) for search in ("brute", "incremental")]
    states = [part.init() for part in parts]
    fell_back = 0
    for index, value in enumerate(values.tolist()):
        for part, state in zip(parts, states, strict=True):
            if value == value:
                part.update(state, (index + 0.5) * STEP_S, value)
        if index > 60 and index % 3 == 0:
            for ahead in (1, 6):
                one, other = (part.predict(state, (index + ahead + 0.5) * STEP_S) for part, state in zip(parts, states, strict=True))
                assert one == pytest.approx(other, abs=1e-9)
                fell_back += one.fell_back
    assert fell_back < 60 or settings == "two lags"  # which asks for more cells in common than there are


def test_a_gap_long_ago_is_forgotten() -> None:
    """Once the cells around a gap have left the history, windows are complete again, for the quick searches too."""
    part = Knn(search="quick", same_phase_s=(), window=8, k=3, max_cells=64)
    state = part.init()
    for index in range(40):
        part.update(state, (index + 0.5) * STEP_S, float(index % 7))
    assert not state.missing()
    for index in range(45, 120):
        part.update(state, (index + 0.5) * STEP_S, float(index % 7))
        if index == 50:
            assert state.missing()
    assert not state.missing()


def test_a_target_that_is_missing_is_passed_over_for_the_next() -> None:
    """The nearest window was followed by nothing; the next nearest answers, and it is no falling back."""
    values = [1.0, 2, np.nan, 9, 1, 2.5, 7, 9, 9, 1, 2]
    part = Knn(window=2, k=1, same_phase_s=(), mode="level")
    state = part.init()
    for index, value in enumerate(values):
        if value == value:
            part.update(state, (index + 0.5) * STEP_S, value)
    said = part.predict(state, (len(values) + 0.5) * STEP_S)
    assert (said.mean_db, said.fell_back) == (7.0, False)
