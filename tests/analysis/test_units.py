"""A column is told in one unit that suits its middle, and the number times the unit is the number that was meant."""

from __future__ import annotations

import math

import pytest

from toolkit.analysis.findings import value_of
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.units import scale_of, scaled

BYTES, SECONDS, JOULES = MetricInfo("sent", "B", "sent", digits=0), MetricInfo("t", "s", "time", digits=4), MetricInfo("e", "J", "energy")


@pytest.mark.parametrize(("unit", "value", "told"), [
    ("B", 999.0, (1.0, "B")), ("B", 1e3, (1e3, "kB")), ("B", 2.5e6, (1e6, "MB")), ("B", 3e12, (1e12, "TB")),
    ("s", 0.0123, (1e-3, "ms")), ("s", 5e-5, (1e-6, "µs")), ("s", 0.1, (1.0, "s")), ("s", 1e6, (1.0, "s")),
    ("J", 2300.0, (1.0, "J")), ("J", 2e4, (1e3, "kJ")), ("J", 5e-10, (1e-9, "nJ")), ("FLOP", 4e12, (1e12, "TFLOP")),
    ("dB", 1e9, (1.0, "dB")), ("1", 1e9, (1.0, "1")), ("s", 0.0, (1.0, "s")), ("s", math.nan, (1.0, "s")),
])
def test_units_by_hand(unit: str, value: float, told: tuple[float, str]) -> None:
    assert scale_of(unit, value) == told
    assert scale_of(unit, -value) == told


def test_a_column_has_one_unit_whose_title_says_it() -> None:
    shown = scaled(BYTES, [1.2e6, 3.4e6, 900.0])
    assert (shown.title, [shown.text(value) for value in (1.2e6, 3.4e6, 900.0)]) == ("sent (MB)", ["1.200", "3.400", "0.001"])
    assert scaled(SECONDS, [0.0123, 0.0456]).with_interval(0.0123, 0.0113, 0.0133) == "12.3 ± 1.0"
    assert scaled(SECONDS, [12.5, 14.0]) == SECONDS
    assert scaled(JOULES, [math.nan, 0.0]) == JOULES


def test_a_column_that_is_scaled_is_not_scaled_again() -> None:
    shown = scaled(BYTES, [5e9])
    assert scaled(shown, [5e9]) == shown


@pytest.mark.parametrize("value", [3.2e-7, 0.045, 7.0, 2.3e4, 8.1e10])
@pytest.mark.parametrize("info", [BYTES, SECONDS, JOULES])
def test_text_times_unit_is_the_value(info: MetricInfo, value: float) -> None:
    shown = scaled(info, [value])
    assert float(shown.text(value)) * shown.per == pytest.approx(value, rel=0.1 if shown.per == 1.0 else 1e-3, abs=0.5 * 10.0**-info.digits)


def test_prose_has_the_same_units() -> None:
    assert value_of(JOULES, 2.34e4) == "23.4 kJ"
    assert value_of(SECONDS, 0.0123) == "12.3 ms"
    assert value_of(SECONDS, 0.0002, like=0.0123) == "0.2 ms"
