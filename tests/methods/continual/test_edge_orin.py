"""The published times on a Jetson Orin NX, foretold: check 15 of section 9 (CLFD)."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.estimate import estimates
from toolkit.scenario import Scenario

SCENARIO = Path(__file__).parents[3] / "scenarios" / "edge_orin.yaml"
STEPS = 5 * 50 * 313
BARS_S = {
    "ER": 0.299, "CLFD-ER": 0.129, "DER++": 0.483, "CLFD-DER++": 0.189, "ER-ACE": 0.288, "CLFD-ER-ACE": 0.120, "CLS-ER": 0.538,
    "CLFD-CLS-ER": 0.230,
}
"""Seconds a step, read off the authors' bar chart."""


@pytest.fixture(scope="module")
def steps_s() -> dict[str, float]:
    return {arm: row.time_s / STEPS for arm, row in estimates(Scenario.load(SCENARIO)).items()}


def test_all_eight_bars_are_met_within_8_percent(steps_s: dict[str, float]) -> None:
    """Those of ER and CLFD-ER, which the two constants were fitted to, within 1 %; the others follow from passes and kernels."""
    for arm, measured_s in BARS_S.items():
        assert steps_s[arm] == pytest.approx(measured_s, rel=0.01 if arm in {"ER", "CLFD-ER"} else 0.08), arm
    assert 2.2 <= steps_s["ER"] / steps_s["CLFD-ER"] <= 2.7


def test_without_starts_and_bytes_the_saving_is_that_of_the_map() -> None:
    """A map of a quarter of the pixels saves a factor of four of the arithmetic; what is not convolution keeps it a little below."""
    arms = {"program.budget.epochs": 1, "compare": {
        "CLFD-ER": {"program.method": {"type": "clfd", "host": {"type": "er", "reduction": "sum"}}}, "ER": {},
    }}
    found = estimates(Scenario.load(SCENARIO, {
        **arms, "fabric.device.overhead_s": 0.0, "fabric.device.convolution_overhead_s": 0.0, "fabric.device.memory_bytes_per_s": 1e15,
    }))
    assert 3.95 <= found["ER"].time_s / found["CLFD-ER"].time_s <= 4.0
