from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tests.acoustic.prediction.series import series_a
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.search import WindowOrder, brute, windows_of

STEP_S = 1800.0


def feed(part: Knn, values) -> object:
    state = part.init()
    for index, value in enumerate(values):
        if value == value:
            part.update(state, (index + 0.5) * STEP_S, float(value))
    return state


def test_by_hand() -> None:
    """m = 2, k = 2, one cell ahead: the windows nearest to (1, 2) are (1, 2) itself, followed by 5, and (1, 3), followed by 9."""
    part = Knn(window=2, k=2, same_phase_s=(), mode="level", eps_db=0.1)
    state = feed(part, [1, 2, 5, 1, 3, 9, 8, 1, 2])
    forecast = part.predict(state, 9.5 * STEP_S)
    distance = np.sqrt(0.5)
    near, far = 1 / 0.1, 1 / (distance + 0.1)
    assert forecast.mean_db == pytest.approx((near * 5 + far * 9) / (near + far))


def test_a_target_in_the_future_is_never_used() -> None:
    """Causality: of the windows that end at i only those with i + h <= now may be used."""
    part = Knn(window=1, k=1, same_phase_s=(), mode="level")
    state = feed(part, [3.0, 0.0, 7.0, 3.0])
    assert part.predict(state, 4.5 * STEP_S).mean_db == 0.0  # after the first 3.0 came 0.0
    assert part.predict(state, 5.5 * STEP_S).mean_db == 7.0


@pytest.mark.parametrize("m", [1, 8, 12, 48])
def test_quick_search_finds_what_brute_force_finds(m: int) -> None:
    """Check 4 of section 9: 500 queries in all sorts of series; ties go to the more recent window."""
    rng = np.random.default_rng(m)
    for values in (
        rng.standard_normal(300), np.round(rng.standard_normal(300)), np.full(300, 2.5), np.round(3 * np.sin(np.arange(300) / 7)),
        np.cumsum(rng.standard_normal(300)),
    ):
        windows = sliding_window_view(values, m)
        order = WindowOrder(m)
        order.keep(values[:-1], 0)
        for _ in range(25):
            last, k = int(rng.integers(m + 5, 298)), int(rng.integers(1, 9))
            query = windows[int(rng.integers(len(windows)))] if rng.random() < 0.5 else values[-m:] + 0.1 * rng.standard_normal(m)
            found, expected = order.search(query, last, k), brute(windows, query, last, k)
            np.testing.assert_allclose(np.sqrt(found.squares), np.sqrt(expected.squares), atol=1e-9)
            np.testing.assert_array_equal(found.ends, expected.ends)


def test_windows_without_a_copy_are_numpys() -> None:
    values = np.arange(20.0)[3:]
    np.testing.assert_array_equal(windows_of(values, 5), sliding_window_view(values, 5))
    assert windows_of(values, 30).shape == (0, 30)


def test_fewer_windows_than_neighbours() -> None:
    order = WindowOrder(3)
    for end, window in ((2, [1.0, 2, 3]), (3, [2.0, 3, 4])):
        order.add(np.array(window), end)
    assert len(order.search(np.array([1.0, 2, 3]), 10, 5).ends) == 2


def test_quick_search_looks_at_a_tenth() -> None:
    """Check 4 of section 9: at m = 12 and about 2000 windows, component operations of at most 0.10 of brute force."""
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


@pytest.mark.parametrize("history", ["complete", "missing cells", "outgrown", "constant"])
def test_the_predictor_is_the_same_with_either_search(history: str) -> None:
    values = np.round(series_a(1)[:330]) if history != "constant" else np.full(330, 7.0)
    if history == "missing cells":
        values[[50, 51, 200]] = np.nan
    max_cells = 256 if history == "outgrown" else 2048
    parts = [Knn(search=search, same_phase_s=(), max_cells=max_cells) for search in ("quick", "brute")]
    states = [feed(part, values[:300]) for part in parts]
    for index in range(300, 330):
        for part, state in zip(parts, states, strict=True):
            part.update(state, (index + 0.5) * STEP_S, float(values[index]))
        for h in (1, 6):
            quick, plain = (part.predict(state, (index + h + 0.5) * STEP_S) for part, state in zip(parts, states, strict=True))
            assert quick == pytest.approx(plain, abs=1e-9)


def test_quick_search_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="quick needs"):
        Knn(search="quick")


def test_missing_cells_are_left_out_of_the_distance() -> None:
    values = np.array([1.0, 2, 3, 4, 1, np.nan, 3, 4, 9, 9, 9, 1, 2, 3, 4])
    part = Knn(window=4, k=1, same_phase_s=(), mode="level", present=0.7)
    assert part.predict(feed(part, values), 15.5 * STEP_S).mean_db == 9.0  # (1, -, 3, 4) is as near as (1, 2, 3, 4), and more recent
    strict = Knn(window=4, k=1, same_phase_s=(), mode="level", present=1.0)
    assert strict.predict(feed(strict, values), 15.5 * STEP_S).mean_db == 1.0


def test_exclusion_spreads_the_neighbours() -> None:
    values = np.concatenate([np.zeros(30), [5.0, 6, 7], np.zeros(20)])
    part = Knn(window=3, k=4, exclusion=3, same_phase_s=())
    state = feed(part, values)
    ends = np.sort(part._neighbours(state, state.series.values, 1, state.series.scale_db, None).ends)
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


def test_the_value_a_day_before_the_target_counts() -> None:
    """Two days that look alike until now are told apart by what came at the target's hour the day before."""
    day = np.zeros(48)
    values = np.concatenate([day, day + np.where(np.arange(48) == 10, 8.0, 0.0), day, day, day[:5]])
    values[48 * 3 + 10] = 8.0  # so day 2 at 10 is preceded by a high, day 3 by none
    values[48 * 2 + 10] = 3.0
    part = Knn(window=2, k=1, same_phase_s=(86_400.0,), mode="level")
    state = feed(part, values)  # now is day 4 at 4; at 10 the day before it was 8
    assert part.predict(state, (len(values) + 5.5) * STEP_S).mean_db == 3.0  # as after the high of day 1


@pytest.mark.parametrize("weights", ["inverse", "uniform", "gaussian", "tricube"])
def test_weights_fall_with_distance(weights: str) -> None:
    distances = np.array([0.0, 0.5, 0.5, 1.0, 2.0])
    found = Knn(weights=weights)._weight(distances)
    assert (np.diff(found) <= 0).all()
    assert (found > 0).all()
    assert found[1] == found[2]
    if weights == "gaussian":
        assert found[1] == pytest.approx(np.exp(-0.5))  # one median distance away


def test_the_spread_is_not_below_that_of_past_errors() -> None:
    """Neighbours that agree by chance do not make a forecast sure."""
    rng = np.random.default_rng(8)
    part = Knn(window=1, k=2, same_phase_s=())
    state = feed(part, rng.choice([0.0, 10.0], 400))
    spreads = [part.predict(state, (399 + h + 0.5) * STEP_S).std_db for h in range(1, 12)]
    assert min(spreads) > 3.0


def test_work_is_what_was_compared() -> None:
    part = Knn(window=12, k=5, same_phase_s=())
    state = feed(part, series_a(2)[:200])
    part.predict(state, 200.5 * STEP_S)  # renews the residual floor, which is paid for too
    first = part.work(state).flops
    part.predict(state, 200.5 * STEP_S)
    assert part.work(state).flops == 3.0 * 12 * (200 - 12) + 8.0 * 5
    assert first > 10 * part.work(state).flops
