"""A gauge's record stands in for harmonic constants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from toolkit.acoustic.environment import Span
from toolkit.acoustic.environment.tide_record import TideRecord
from toolkit.errors import DataError

ORIGIN = datetime(2003, 5, 1, tzinfo=UTC)
M2_S = 44_714.0
SPAN = Span(ORIGIN, -86_400.0, 86_400.0)


def gauge(folder: Path, header: str = "time,height_m") -> Path:
    times_s = np.arange(-90_000.0, 90_001.0, 600.0)
    rows = [
        f"{(ORIGIN + timedelta(seconds=t_s)).isoformat()},{3.0 + 2.0 * np.sin(2 * np.pi * t_s / M2_S):.5f}" for t_s in times_s.tolist()
    ]
    path = folder / "gauge.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["time,height_m", "Tidpunkt,Vattenstand"])
def test_height_is_above_the_mean_and_the_current_is_the_rate_of_rise(tmp_path: Path, header: str) -> None:
    water = TideRecord(file=gauge(tmp_path, header)).init(SPAN, np.random.default_rng(1))
    times_s = np.linspace(-86_000.0, 86_000.0, 500)
    wave = 2 * np.pi * times_s / M2_S
    height_m = water.height_m(times_s)
    np.testing.assert_allclose(height_m - height_m.mean(), 2.0 * (np.sin(wave) - np.sin(wave).mean()), atol=0.01)
    np.testing.assert_allclose(water.current(times_s), np.cos(wave), atol=0.02)
    assert np.abs(water.current(np.arange(-86_400.0, 86_401.0, 600.0))).max() == pytest.approx(1.0)


def test_a_record_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="covers 2003-04-29 23:00 UTC to 2003-05-02 01:00 UTC"):
        TideRecord(file=gauge(tmp_path)).init(Span(ORIGIN, 0.0, 2 * 86_400.0), np.random.default_rng(1))
