"""What any run cost, of a ledger small enough to be added up by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.analysis.costs import end_of, energy_rows, flops_row, spent_until
from toolkit.analysis.rows import last, ratio
from toolkit.core.ledger import Ledger


def small() -> Ledger:
    """Machine 0 computes for 2 s and then sends for 4 s; machine 1 reads its disk; a link and both machines draw power for 10 s."""
    ledger = Ledger()
    ledger.charge(0.0, 2.0, 0, 0, "compute", flops=7.0, energy_j=10.0)
    ledger.charge(2.0, 4.0, 0, 1, "tx", nbytes=100, energy_j=8.0)
    ledger.charge(3.0, 4.0, 1, 0, "rx", nbytes=100, energy_j=0.5)
    ledger.charge(1.0, 1.0, 1, 1, "store", nbytes=30, energy_j=3.0)
    ledger.charge(0.0, 8.0, 0, 0, "idle", energy_j=16.0)
    ledger.charge(0.0, 10.0, 1, 1, "idle", energy_j=40.0)
    ledger.charge(0.0, 10.0, -1, -1, "idle", phase="link", energy_j=5.0)
    return ledger


def test_energy_is_the_sum_of_its_parts() -> None:
    ledger = small().charges()
    found = {name: value for name, _, value in energy_rows(ledger)}
    assert found == pytest.approx({
        "energy_total_j": 82.5, "energy_computing_j": 10.0, "energy_links_j": 8.0 + 0.5 + 5.0, "energy_idle_j": 56.0,
        "energy_storage_j": 3.0,
    })
    assert found["energy_total_j"] == pytest.approx(ledger["energy_j"].sum())
    without = {name for name, _, _ in energy_rows(ledger[ledger["kind"] != "store"])}
    assert without == set(found) - {"energy_storage_j"}
    assert flops_row(ledger) == ("flops", "FLOP", 7.0)


def test_a_run_ends_when_it_says_or_with_its_last_work() -> None:
    ledger = small()
    assert end_of(ledger.charges(), ledger.metrics()) == 6.0
    ledger.metric(0.0, "end_s", 11.0)
    ledger.metric(0.0, "end_s", 12.0)
    assert end_of(ledger.charges(), ledger.metrics()) == 12.0
    empty = Ledger()
    assert end_of(empty.charges(), empty.metrics()) == 0.0


def test_what_is_spent_grows_from_nothing_to_all() -> None:
    """By hand: a machine's idle power is not drawn while it computes, and half of a message is half of its bytes and joules."""
    ledger = small().charges()
    sent, energy_j = spent_until(ledger, np.array([0.0, 1.0, 4.0, 10.0]))
    assert sent == pytest.approx([0.0, 0.0, 50.0, 100.0])
    idle_w = 2.0 + 4.0 + 0.5
    above_idle_j = 10.0 - 2.0 * 2.0
    assert energy_j == pytest.approx([
        0.0, above_idle_j / 2 + idle_w, above_idle_j + 4.0 + 3.0 + 4 * idle_w, above_idle_j + 8.0 + 3.0 + 10 * idle_w,
    ])


def test_of_nothing_there_is_no_share_and_no_last() -> None:
    assert np.isnan(ratio(3.0, 0))
    assert ratio(3.0, 2) == 1.5
    metrics = pd.DataFrame({"name": ["a", "a"], "value": [1.0, 2.0]})
    assert last(metrics, "a") == 2.0
    assert np.isnan(last(metrics, "b"))
