"""Schedules against the tables that HCGNet's recipe gives."""

from __future__ import annotations

import math

import pytest

from toolkit.learning.schedules import cycle, drop_rate, sgdr


def reference(epoch: int) -> float:
    """The recipe's own formula, by logarithm."""
    i = math.floor(math.log2(epoch / 10 + 1))
    return 0.05 * (1 + math.cos(math.pi * (epoch - 10 * (2**i - 1)) / (10 * 2**i)))


def test_tables_of_the_recipe() -> None:
    """Check 5 of section 9 (HCGNet): learning rate and DropBlock probability to 1e-6."""
    for epoch, rate in ((0, 0.1), (5, 0.05), (9, 0.002447), (10, 0.1), (29, 0.000616), (30, 0.1), (629, 2e-6), (630, 0.1)):
        assert sgdr(epoch) == pytest.approx(rate, abs=1e-6)
    for epoch, probability in ((0, 0.0), (5, 0.05), (10, 0.0), (29, 0.09938), (30, 0.0), (629, 0.1)):
        assert drop_rate(epoch) == pytest.approx(probability, abs=5e-6)
    for epoch in range(1270):
        assert sgdr(epoch) == pytest.approx(reference(epoch), abs=1e-12)
        assert drop_rate(epoch) == pytest.approx(abs(reference(epoch) - 0.1), abs=1e-12)


def test_seven_cycles_are_1270_epochs() -> None:
    starts = [epoch for epoch in range(1271) if cycle(epoch) == 0]
    assert starts == [0, 10, 30, 70, 150, 310, 630, 1270]


def test_two_runs_of_630_epochs_for_the_larger_models() -> None:
    """Check 5 of section 9 (HCGNet): A2 and A3 get 1,260 epochs of schedule without a domain error."""
    rates = [sgdr(epoch, repeat_epochs=630) for epoch in range(1260)]
    assert rates[:630] == rates[630:]
    assert rates[:630] == [sgdr(epoch) for epoch in range(630)]
    assert all(0 < rate <= 0.1 for rate in rates)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"epoch": -1}, "counted from 0"), ({"epoch": 1, "first_epochs": 0}, "positive length"), ({"epoch": 1, "factor": 0.5}, "factor"),
    ({"epoch": 1, "repeat_epochs": 0}, "repeat_epochs"),
])
def test_nonsense_is_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cycle(**arguments)
