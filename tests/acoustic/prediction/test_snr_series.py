"""The grid that every predictor but the oracle reads."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.acoustic.prediction.series import CellBuffer, SnrSeries, cells_of
from toolkit.errors import CausalityError

STEP_S = 1800.0


def grid(samples, **settings) -> SnrSeries:
    series = SnrSeries(STEP_S, **settings)
    for cell, value, *censored in samples:
        series.update(cell * STEP_S, value, *censored)
    return series


def test_a_cell_is_the_mean_in_db_and_an_empty_one_is_missing() -> None:
    series = grid([(0.1, 4.0), (0.9, 8.0), (3.0, 1.0)])
    np.testing.assert_array_equal(series.values, [6.0, np.nan, np.nan, 1.0])
    assert (series.latest_db, series.first_cell, series.last_cell) == (1.0, 0, 3)


def test_a_real_sample_beats_a_censored_one_in_either_order() -> None:
    before = grid([(0.1, 5.0, True), (0.2, 5.0, True), (0.5, 9.0)])
    after = grid([(0.1, 9.0), (0.5, 5.0, True)])
    for series in (before, after):
        assert (series.latest_db, series.latest_censored, series.censored.tolist()) == (9.0, False, [False])
    silent = grid([(0.1, 5.0, True), (0.2, 7.0, True)])
    assert (silent.latest_db, silent.latest_censored) == (3.0, True)  # 3 dB below the levels


def test_short_gaps_are_bridged_and_long_ones_hold_the_mean_before() -> None:
    series = grid([(0, 4.0), (1, 6.0), (4, 12.0), (12, 0.0)], max_gap=3)
    np.testing.assert_allclose(series.filled[:5], [4.0, 6.0, 8.0, 10.0, 12.0])
    np.testing.assert_allclose(series.filled[5:], [*[22 / 3] * 7, 0.0])
    series.update(12.5 * STEP_S, 2.0)
    assert series.filled[-1] == 1.0


def test_a_bridge_follows_the_mean_of_its_end() -> None:
    series = grid([(0, 0.0), (2, 4.0), (2.5, 8.0)])
    np.testing.assert_allclose(series.filled, [0.0, 3.0, 6.0])


def test_history_is_bounded() -> None:
    series = grid([(cell, float(cell)) for cell in range(100)], max_cells=16)
    np.testing.assert_array_equal(series.values, np.arange(84.0, 100.0))
    assert series.first_cell == 84
    gap = grid([(0, 1.0), (1000, 2.0)], max_cells=16)
    assert len(gap) == 16
    assert gap.filled[0] == 1.0


def test_time_runs_one_way() -> None:
    series = grid([(3, 1.0)])
    with pytest.raises(CausalityError, match="came after"):
        series.update(2.0 * STEP_S, 1.0)
    with pytest.raises(CausalityError, match="forecast"):
        series.horizon(2.5 * STEP_S)
    with pytest.raises(ValueError, match="finite"):
        series.update(4.0 * STEP_S, np.nan)


def test_horizons_are_whole_cells_and_the_present_is_a_blend() -> None:
    series = grid([(3.2, 1.0)])
    assert series.horizon(4.0 * STEP_S) == (1, 1.0)
    assert series.horizon(9.99 * STEP_S) == (6, 1.0)
    assert series.horizon(3.25 * STEP_S) == (1, pytest.approx(0.25))


def test_a_buffer_keeps_its_last_numbers_in_one_row() -> None:
    buffer = CellBuffer(50)
    for value in range(500):
        buffer.append(float(value))
        np.testing.assert_array_equal(buffer.view(), np.arange(max(0, value - 49), value + 1))


def test_two_tides_in_cells() -> None:
    assert [cells_of(s, STEP_S) for s in (86_400.0, 89_424.0, 10.0)] == [48, 50, 1]
