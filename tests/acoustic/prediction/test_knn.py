from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tests.acoustic.prediction.series import series_a
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.search import WindowOrder, brute

STEP_S = 1800.0


def feed(part: Knn, values) -> object:
    state = part.init()
    for index, value in enumerate(values):
        if value == value:
            part.update(state, (index + 0.5) * STEP_S, float(value))
    return state


def test_by_hand() -> None:
    """m = 2, k = 2, one cell ahead: the windows nearest to (1, 2) are (1, 2) itself, followed by 5, and (1, 3), followed by 9."""
    part = Knn(window=2, k=2, same_phase_s=())
    state = feed(part, [1, 2, 5, 1, 3, 9, 8, 1, 2])
    forecast = part.predict(state, 9.5 * STEP_S)
    distance = np.sqrt(0.5)
    near, far = 1 / 0.1, 1 / (distance + 0.1)
    assert forecast.mean_db == pytest.approx((near * 5 + far * 9) / (near + far))


def test_a_target_in_the_future_is_never_used() -> None:
    """Causality: of the windows that end at i only those with i + h <= now may be used."""
    part = Knn(window=1, k=1, same_phase_s=())
    state = feed(part, [3.0, 0.0, 7.0, 3.0])
    assert part.predict(state, 4.5 * STEP_S).mean_db == 0.0  # after the first 3.0 came 0.0
    assert part.predict(state, 5.5 * STEP_S).mean_db == 7.0


@pytest.mark.parametrize("m", [1, 8, 12, 24])
def test_quick_search_finds_what_brute_force_finds(m: int) -> None:
    """Check 4: 500 queries in all sorts of series; ties go to the more recent window."""
    rng = np.random.default_rng(m)
    makers = (
        lambda: rng.standard_normal(400), lambda: np.round(rng.standard_normal(400)), lambda: np.full(400, 2.5),
        lambda: np.round(3 * np.sin(np.arange(400) / 7)), lambda: np.cumsum(rng.standard_normal(400)),
    )
    for trial in range(125):
        values = makers[trial % 5]()
        windows = sliding_window_view(values, m)
        order = WindowOrder(m)
        for end in range(m - 1, len(values) - 1):
            order.add(windows[end - m + 1], end)
        last, k = int(rng.integers(m + 5, 398)), int(rng.integers(1, 9))
        query = values[-m:]
        found, expected = order.search(query, last, k), brute(windows, query, last, k)
        np.testing.assert_allclose(np.sqrt(found.squares), np.sqrt(expected.squares), atol=1e-9)
        np.testing.assert_array_equal(found.ends, expected.ends)


def test_fewer_windows_than_neighbours() -> None:
    order = WindowOrder(3)
    for end, window in ((2, [1.0, 2, 3]), (3, [2.0, 3, 4])):
        order.add(np.array(window), end)
    assert len(order.search(np.array([1.0, 2, 3]), 10, 5).ends) == 2


def test_quick_search_looks_at_a_tenth(capsys) -> None:
    """Check 4: at m = 12 and about 2000 windows, component operations of at most 0.10 of brute force."""
    values = series_a(0)
    m, k = 12, 5
    windows = sliding_window_view(values, m)
    order = WindowOrder(m)
    spent = full = 0
    for end in range(m - 1, len(values) - 1):
        order.add(windows[end - m + 1], end)
        if end > 1900 and end % 5 == 0:
            query = windows[end - m + 1]
            found = order.search(query, end - 6, k)
            expected = brute(windows, query, end - 6, k)
            np.testing.assert_array_equal(found.ends, expected.ends)
            spent += found.operations
            full += expected.operations
    assert spent / full <= 0.10


def test_the_predictor_is_the_same_with_either_search() -> None:
    values = series_a(1)[:500]
    quick, plain = Knn(search="quick", same_phase_s=()), Knn(search="brute", same_phase_s=())
    answers = [[part.predict(feed(part, values), (499.5 + h) * STEP_S) for h in (1, 6)] for part in (quick, plain)]
    for one, other in zip(*answers, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_missing_cells_are_left_out_of_the_distance() -> None:
    values = np.array([1.0, 2, 3, 4, 1, np.nan, 3, 4, 9, 9, 9, 1, 2, 3, 4])
    part = Knn(window=4, k=1, same_phase_s=(), present=0.7)
    assert part.predict(feed(part, values), 15.5 * STEP_S).mean_db == 9.0  # (1, -, 3, 4) is as near as (1, 2, 3, 4), and more recent
    strict = Knn(window=4, k=1, same_phase_s=(), present=1.0)
    assert strict.predict(feed(strict, values), 15.5 * STEP_S).mean_db == 1.0


def test_exclusion_spreads_the_neighbours() -> None:
    values = np.concatenate([np.zeros(30), [5.0, 6, 7], np.zeros(20)])
    part = Knn(window=3, k=4, exclusion=3, same_phase_s=())
    state = feed(part, values)
    ends = np.sort(part._neighbours(state, state.series.values, 1).ends)
    assert (np.diff(ends) > 3).all()


def test_the_phase_is_a_feature() -> None:
    """What follows a calm stretch depends on the time of day alone, which a short window cannot know and the phase can."""
    rng = np.random.default_rng(4)
    day = np.where(np.arange(48) % 48 < 24, 5.0, 9.0)
    values = np.tile(day, 8) + 0.5 * rng.standard_normal(384)
    errors = {}
    for name, phases in (("plain", ()), ("phased", (86_400,))):
        part = Knn(window=3, k=5, same_phase_s=(), phase_periods_s=phases)
        gaps = []
        for end in range(300, 370, 3):
            forecast = part.predict(feed(part, values[: end + 1]), (end + 6.5) * STEP_S)
            gaps.append(forecast.mean_db - day[(end + 6) % 48])
        errors[name] = np.sqrt(np.mean(np.square(gaps)))
    assert errors["phased"] < 0.6 * errors["plain"]
