"""One run's summary against a ledger small enough to be reckoned by hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import fake_run
from toolkit.acoustic.fabric import Acoustic
from toolkit.acoustic.figures import delay_curve, reachable
from toolkit.acoustic.findings import sea_findings
from toolkit.acoustic.report import REPORT, SEA_METRICS, _deaths, summarise_run
from toolkit.acoustic.traffic.periodic import Periodic
from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import describe
from toolkit.analysis.report import Run
from toolkit.analysis.statistics import REPORT_COLUMNS
from toolkit.core.charges import Charges
from toolkit.core.ledger import Ledger
from toolkit.errors import CausalityError, ToolkitError

DURATION_S, DRAIN_S = 1000.0, 100.0


def small() -> Ledger:
    """Two nodes (0, 1) and a sink (2); five packets, of which the last is created in the drain period."""
    ledger = Ledger()
    for who, sink in (("0", 0.0), ("1", 0.0), ("2", 1.0)):
        ledger.metric(0.0, "is_sink", sink, who)
    ledger.charge(0.0, 10.0, 0, 2, "send", nbytes=50, outcome="delivered", packet=1)
    ledger.charge(100.0, 30.0, 1, 2, "send", nbytes=50, outcome="delivered", packet=2)
    ledger.charge(200.0, 60.0, 0, -1, "send", phase="no_route", nbytes=50, outcome="lost", packet=3)
    ledger.charge(800.0, 200.0, 1, -1, "send", nbytes=50, outcome="in_flight", packet=4)
    ledger.charge(950.0, 5.0, 1, 2, "send", nbytes=50, outcome="delivered", packet=5)
    ledger.charge(1.0, 0.5, 0, 1, "tx", phase="data", nbytes=60, energy_j=4.0, outcome="sent", packet=1)
    ledger.charge(5.0, 0.5, 1, 2, "tx", phase="data", nbytes=60, energy_j=4.0, outcome="sent", packet=1)
    ledger.charge(110.0, 0.5, 1, 2, "tx", phase="data", nbytes=60, energy_j=4.0, outcome="sent", packet=2)
    ledger.charge(130.0, 0.1, 2, 1, "tx", phase="ack", nbytes=12, energy_j=1.0, outcome="sent", packet=2)
    ledger.charge(300.0, 0.1, 0, -1, "tx", phase="beacon", nbytes=24, energy_j=2.0, outcome="sent")
    ledger.charge(1.5, 0.5, 1, 0, "rx", phase="data", nbytes=60, energy_j=0.5, outcome="delivered", packet=1)
    ledger.charge(5.5, 0.5, 0, 1, "rx", phase="data", nbytes=60, energy_j=0.25, outcome="collision", packet=1)
    ledger.charge(5.5, 0.5, 2, 1, "rx", phase="data", nbytes=60, energy_j=0.5, outcome="delivered", packet=1)
    ledger.charge(2.0, 0.0, 1, 1, "compute", phase="prediction", flops=1e6, energy_j=0.25)
    for node, energy_j in ((0, 10.0), (1, 12.0), (2, 20.0)):
        ledger.charge(0.0, 990.0, node, node, "idle", energy_j=energy_j)
    for packet, hops in ((1, 2), (2, 1), (5, 1)):
        ledger.metric(0.0, "hops", hops, "0", packet)
    ledger.metric(1000.0, "duplicates", 3)
    for error_db, covered, step in ((3.0, 1.0, 1800), (-4.0, 0.0, 1800), (2.0, 1.0, 21_600)):
        ledger.metric(500.0, "forecast_error_db", error_db, "0->1", step)
        ledger.metric(500.0, "forecast_covered", covered, "0->1", step)
    return ledger


# Above idle: node 0: 4 + 2 + 0.25 = 6.25 J; node 1: 4 + 4 + 0.5 + 0.25 = 8.75 J. Three packets were delivered in the whole run.
BY_HAND = {
    "delivery_ratio": 2 / 4,
    "delay_mean_s": 20.0,
    "delay_p50_s": 20.0,
    "delay_p90_s": 28.0,
    "delay_p95_s": 29.0,
    "energy_per_delivered_j": 15.0 / 3,
    "energy_per_bit_j": 15.0 / (3 * 50 * 8),
    "energy_total_per_delivered_j": (16.25 + 20.75) / 3,
    "energy_per_node_j": (16.25 + 20.75) / 2,
    "energy_sinks_j": 21.5,
    "compute_energy_per_node_j": 0.125,
    "transmissions_per_delivered": 3 / 3,
    "transmissions_per_packet": 3 / 5,
    "hops_mean": 1.5,
    "collisions": 1 / 3,
    "control_bytes_per_data_byte": 36 / 180,
    "duplicates": 3.0,
    "fairness_jain": 15.0**2 / (2 * (6.25**2 + 8.75**2)),
    "rmse_db@0.5h": 12.5**0.5,
    "rmse_db@6h": 2.0,
    "bias_db@0.5h": -0.5,
    "bias_db@6h": 2.0,
    "coverage90@0.5h": 0.5,
    "coverage90@6h": 1.0,
    "lost_no_route": 0.25,
    "generated": 4.0,
    "delivered": 2.0,
    "lost": 1.0,
    "in_flight": 1.0,
}


def summary(ledger: Ledger) -> dict[str, float]:
    return {name: value for name, _, value in summarise_run(ledger.reader, ledger.metrics(), DURATION_S, DRAIN_S)}


def test_every_number_by_hand() -> None:
    assert summary(small()) == pytest.approx(BY_HAND)


def test_lifetimes_are_when_batteries_would_be_empty() -> None:
    """Ten nodes that spend 1 to 10 J in 1000 s: of batteries of 50 J, the first is empty after 5000 s, the fifth after 8333 s."""
    ledger = Ledger()
    for node in range(10):
        ledger.metric(0.0, "is_sink", 0.0, str(node))
        ledger.charge(0.0, DURATION_S, node, node, "idle", energy_j=1.0 + node)
    ledger.metric(0.0, "is_sink", 1.0, "10")
    ledger.charge(0.0, DURATION_S, 10, 10, "idle", energy_j=99.0)
    rows = summarise_run(ledger.reader, ledger.metrics(), DURATION_S, DRAIN_S, battery_j=50.0)
    found = {name: 86_400 * value for name, _, value in rows if name.startswith("lifetime_")}
    assert found == pytest.approx({"lifetime_first_d": 5000.0, "lifetime_tenth_d": 5000.0, "lifetime_half_d": 50_000 / 6})
    for name in found:
        assert describe(name, SEA_METRICS, "not described").unit == "d"


@pytest.mark.parametrize(("died_s", "half"), [([], np.nan), ([500.0], np.nan), ([900.0, 500.0], np.nan), ([900.0, 500.0, 700.0], 900.0)])
def test_deaths_are_told_as_they_came(died_s: list[float], half: float) -> None:
    """Of five nodes: the first death, when the third had died, and the first time that the dead cut one off."""
    ledger = Ledger()
    for node, t_s in enumerate(died_s):
        ledger.metric(t_s, "death", 1.0, str(node))
    found = {name: value for name, _, value in _deaths(ledger.metrics(), 5)}
    assert found["deaths"] == len(died_s)
    assert 86_400 * found["death_first_d"] == pytest.approx(min(died_s, default=np.nan), nan_ok=True)
    assert 86_400 * found["death_half_d"] == pytest.approx(half, nan_ok=True)
    assert np.isnan(found["cut_off_first_d"])
    ledger.metric(650.0, "cut_off", 1.0, "4")
    assert 86_400 * {name: value for name, _, value in _deaths(ledger.metrics(), 5)}["cut_off_first_d"] == pytest.approx(650.0)


@pytest.mark.parametrize(("battery_j", "dies", "told"), [(None, True, False), (50.0, False, False), (50.0, True, True)])
def test_deaths_are_told_where_batteries_end(battery_j: float | None, dies: bool, told: bool) -> None:
    """And lifetimes always: of the batteries that there are, or of what is reckoned with."""
    ledger = small()
    ledger.metric(500.0, "death", 1.0, "0")
    sea = {"wind": {"type": "steady_wind"}, "tide": {"type": "still_tide"}, "noise": [{"type": "surface_noise"}]}
    tree = {"layout": {"nodes": 2, "sinks": 1}, "sea": sea, "routing": "flooding", "battery_j": battery_j, "dies": dies, "drain_s": DRAIN_S}
    fabric = Acoustic.model_validate(tree)
    run = Run(ledger.reader, ledger.metrics(), DURATION_S, fabric, Periodic())
    found = {name: value for name, _, value in REPORT.rows(run)}
    assert ("deaths" in found) == told
    assert {"lifetime_first_d", "lifetime_tenth_d", "lifetime_half_d"} <= set(found)
    if told:
        assert (found["deaths"], 86_400 * found["death_first_d"]) == (1.0, pytest.approx(500.0))


def test_every_metric_is_described_with_its_unit() -> None:
    for name, unit, _ in summarise_run(small().reader, small().metrics(), DURATION_S, DRAIN_S):
        info = describe(name, SEA_METRICS, "not described")
        assert info.unit == unit


def test_frames_with_categories_give_the_same() -> None:
    ledger = small()
    charges = ledger.charges().astype(dict.fromkeys(("kind", "phase", "outcome"), "category"))
    rows = summarise_run(Charges(rest=[charges]), ledger.metrics(), DURATION_S, DRAIN_S)
    assert {name: value for name, _, value in rows} == pytest.approx(BY_HAND)


def test_packets_and_their_shares_add_up() -> None:
    found = summary(small())
    lost = sum(value for name, value in found.items() if name.startswith("lost_"))
    assert found["delivered"] + found["lost"] + found["in_flight"] == found["generated"]
    assert found["delivery_ratio"] + lost + found["in_flight"] / found["generated"] == pytest.approx(1.0)


def test_nothing_delivered_is_not_a_number_rather_than_free() -> None:
    ledger = Ledger()
    ledger.charge(0.0, 9.0, 0, -1, "send", phase="no_route", outcome="lost", packet=1)
    ledger.charge(0.0, 0.5, 0, -1, "tx", phase="data", nbytes=60, energy_j=4.0, outcome="sent", packet=1)
    found = summary(ledger)
    assert found["delivery_ratio"] == 0.0
    assert found["energy_per_node_j"] == 4.0
    for name in ("delay_mean_s", "delay_p95_s", "energy_per_delivered_j", "transmissions_per_delivered", "hops_mean", "collisions"):
        assert np.isnan(found[name])


def test_an_empty_run_is_no_crash() -> None:
    found = summary(Ledger())
    assert found["generated"] == 0
    assert np.isnan(found["delivery_ratio"])


def test_a_packet_that_vanishes_is_a_bug() -> None:
    ledger = small()
    ledger.charge(300.0, 1.0, 0, -1, "send", outcome="mislaid", packet=6)
    with pytest.raises(ToolkitError, match="5 created, 2 delivered, 1 lost, 1 in flight"):
        summary(ledger)


def test_a_packet_told_twice_is_a_bug() -> None:
    ledger = small()
    ledger.charge(300.0, 1.0, 0, 2, "send", outcome="delivered", packet=1)
    with pytest.raises(ToolkitError, match="packet 1 has two"):
        summary(ledger)


def test_arriving_before_leaving_is_a_bug() -> None:
    ledger = small()
    ledger.charge(300.0, -2.0, 0, 2, "send", outcome="delivered", packet=6)
    with pytest.raises(CausalityError, match="packet 6 arrived 2 s before"):
        summary(ledger)


def big(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    kind = rng.choice(["tx", "rx", "compute", "send"], rows, p=[0.15, 0.8, 0.03, 0.02])
    outcome = np.where(kind == "send", rng.choice(["delivered", "lost"], rows), rng.choice(["delivered", "noise", "collision"], rows))
    return pd.DataFrame({
        "t0_s": rng.uniform(0, 800, rows), "dur_s": rng.uniform(0, 1, rows), "node": rng.integers(0, 60, rows), "peer": 1,
        "kind": kind, "phase": rng.choice(["data", "ack", "beacon"], rows), "flops": 0.0, "nbytes": 60,
        "energy_j": rng.uniform(0, 1, rows), "outcome": outcome, "packet": np.arange(rows),
    })


def test_a_hundred_thousand_rows_take_little_time() -> None:
    ledger, metrics = big(100_000), small().metrics()
    begun = time.perf_counter()
    summarise_run(Charges(rest=[ledger]), metrics, DURATION_S, DRAIN_S)
    assert time.perf_counter() - begun < 2.0


def test_the_curve_of_delays_ends_at_the_delivery_ratio() -> None:
    """Two runs of four counted packets, of which two arrived, after 10 and 30 s: the lost one and the one still held never do."""
    delay_s, share = delay_curve(pd.concat([small().charges().query("kind == 'send'")] * 2), DURATION_S - DRAIN_S)
    assert delay_s.tolist() == [10.0, 10.0, 30.0, 30.0]
    assert share.tolist() == [1 / 8, 2 / 8, 3 / 8, 4 / 8]
    assert share[-1] == BY_HAND["delivery_ratio"]


def test_the_line_of_the_delay_figure_is_the_largest_bound(tmp_path: Path) -> None:
    rows = [("a", seed, name, "1", value) for seed, share in ((1, 0.9), (2, 1.0))
            for name, value in (("reachable_any@0.2", share), ("reachable_any@0.5", share - 0.1), ("reachable_up@0.2", share - 0.2))]
    assert reachable(Comparison(tmp_path, pd.DataFrame(rows, columns=REPORT_COLUMNS), REPORT.infos)) == pytest.approx(0.95)
    assert reachable(Comparison(tmp_path, fake_run.report_frame(), REPORT.infos)) is None


def test_the_bound_is_told_beside_what_was_delivered(tmp_path: Path) -> None:
    rows = [(arm, seed, name, "1", value) for arm in ("knn", "dbr") for seed in (1, 2)
            for name, value in (("reachable_any@0.2", 0.99), ("reachable_up@0.5", 0.91), ("delivery_ratio", 0.95 + 0.001 * seed))]
    said = answers(pd.DataFrame(rows, columns=REPORT_COLUMNS), tmp_path)
    assert (
        "In time, any store-and-forward protocol could have delivered 0.990 (any hops with success 0.2 or more) and 0.910 (upward hops "
        "with success 0.5 or more); knn delivered 0.952."
    ) in said


def test_lives_are_compared_where_batteries_end(tmp_path: Path) -> None:
    lives_d = {"energy": 0.6, "flooding": 0.2}
    rows = [(arm, seed, "death_first_d", "d", life_d + 0.001 * seed) for arm, life_d in lives_d.items() for seed in (1, 2, 3)]
    said = answers(pd.DataFrame(rows, columns=REPORT_COLUMNS), tmp_path)
    assert said == ["Time to the first death of energy: better than flooding (difference +0.400, 95 % interval +0.400 to +0.400 d)."]


def answers(report: pd.DataFrame, tmp_path: Path) -> list[str]:
    return sea_findings(Comparison(tmp_path, report, REPORT.infos))


def test_answers_say_what_the_intervals_carry(tmp_path: Path) -> None:
    said = answers(fake_run.report_frame(), tmp_path)
    assert said[0] == (
        "In short, of the comparisons of knn in delivery, delay and energy, against the other arms that forecast it is better in 1, "
        "worse in 1 and not told apart in 1; against the remaining arms it is better in 1, worse in 1 and not told apart in 1."
    )
    assert said[1] == (
        "Delivery ratio of knn: better than ewma <fast> (difference +0.098, 95 % interval +0.096 to +0.100) "
        "and flooding (+0.196, +0.191 to +0.201)."
    )
    assert said[2].startswith("Mean delay of knn: worse than ewma <fast> (difference +4.8, 95 % interval +4.6 to +5.0 s) and flooding")
    assert said[3].startswith("Energy per delivered packet of knn: no difference shown against ewma <fast> (difference -0.03, ")
    assert said[4] == (
        "Forecast RMSE at 1h: knn 1.24 dB; smaller than that of ewma <fast> (difference -1.00, 95 % interval -1.00 to -1.00 dB)."
    )
    assert [line[:18] for line in said[5:]] == ["Forecast RMSE at 3", "Forecast RMSE at 6"]


def test_answers_claim_nothing_where_metrics_or_seeds_are_missing(tmp_path: Path) -> None:
    report = fake_run.report_frame()
    routing = answers(report[~report["metric"].str.startswith("rmse")], tmp_path)
    assert routing[0].count("against the others it is better in 2, worse in 2 and not told apart in 2") == 1
    assert not any("orecast" in line for line in routing)
    assert answers(report[report["metric"] == "lost_no_route"], tmp_path) == [
        "One arm: there is nothing to compare knn with."
    ]
    assert answers(report[report["seed"] == 1], tmp_path)[0].startswith("One seed: the arms are not compared (")
    other = pd.DataFrame([(arm, seed, "x", "1", 1.0) for arm in "ab" for seed in (1, 2)], columns=REPORT_COLUMNS)
    assert answers(other, tmp_path) == []


def test_the_price_of_computing_is_told_beside_that_of_the_rivals(tmp_path: Path) -> None:
    costs = {"knn": 0.5, "ar": 0.25, "dbr": 0.0}
    rows = [(arm, seed, name, "J", value) for arm, compute_j in costs.items() for seed in (1, 2)
            for name, value in (("compute_energy_per_node_j", compute_j), ("energy_per_node_j", 100.0))]
    assert answers(pd.DataFrame(rows, columns=REPORT_COLUMNS), tmp_path) == [
        "Computing takes knn 0.5 J per node and run (ar 0.25 J); that is 0.5 % of the 100 J that a node uses in all, idle included."
    ]
