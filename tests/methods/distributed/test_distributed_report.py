"""A cluster run's summary against a ledger small enough to be reckoned by hand, against simulated runs, and what is said about it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import fake_cluster_run
from tests.fake_cluster_run import rows_of
from toolkit.analysis.comparison import Comparison
from toolkit.analysis.costs import spent_until
from toolkit.analysis.metric import describe
from toolkit.analysis.statistics import REPORT_COLUMNS, differences
from toolkit.cluster.fabric import Cluster
from toolkit.core import yaml12
from toolkit.core.ledger import Ledger, Metric
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.work import Work
from toolkit.core.world import World
from toolkit.methods.distributed.findings import distributed_findings
from toolkit.methods.distributed.report import REPORT, node_of
from toolkit.scenario import Scenario


def small() -> Ledger:
    """Two workers (0, 1) and a server (2); two steps, 10 s."""
    ledger = Ledger()
    for node, t0_s, dur_s, phase, energy_j in (
        (0, 0.0, 2.0, "gradient", 20.0), (1, 0.0, 3.0, "gradient", 30.0), (0, 2.0, 0.5, "compress", 5.0), (1, 3.0, 0.5, "compress", 5.0),
        (2, 4.0, 1.0, "values", 10.0), (0, 5.0, 0.5, "values", 5.0),
    ):
        ledger.charge(t0_s, dur_s, node, node, "compute", phase=phase, flops=1e6, energy_j=energy_j, outcome="done")
    for node, peer, t0_s, dur_s, nbytes in ((0, 2, 2.5, 1.5, 100), (1, 2, 3.5, 0.5, 300), (2, 0, 5.0, 1.0, 400), (2, 1, 5.0, 1.0, 400)):
        ledger.charge(t0_s, dur_s, node, peer, "tx", phase="values", nbytes=nbytes, energy_j=nbytes / 100, outcome="delivered")
    for node, idle_s in ((0, 7.0), (1, 6.5), (2, 9.0)):
        ledger.charge(0.0, idle_s, node, node, "idle", phase="host", energy_j=2 * idle_s, outcome="done")
    for link in ("worker0>switch", "switch>worker0"):
        ledger.charge(0.0, 10.0, -1, -1, "idle", phase=f"link {link}", energy_j=5.0, outcome="done")
        ledger.metric(10.0, "link_utilisation", 0.25 if link.startswith("worker") else 0.5, link)
    for target in (0.75, 0.99):
        ledger.metric(0.0, "target", target)
    for t_s, step, accuracy in ((0.0, 0, 0.1), (6.0, 1, 0.8), (10.0, 2, 0.7)):
        ledger.metric(t_s, "test_accuracy", accuracy, step=step)
        ledger.metric(t_s, "test_loss", 1 - accuracy, step=step)
        if step:
            ledger.metric(t_s, "train_loss", 1.0, step=step)
            ledger.metric(t_s, "sketch_recall", 0.25 * step, step=step)
    ledger.metric(10.0, "end_s", 10.0)
    return ledger


# At 6 s: computing 75 J, sending 12 J, machines idle at 2 W for 6 s less their computing (3 + 2.5 + 5 s), two links at 0.5 W.
BY_HAND = {
    "final_accuracy": 0.7,
    "final_loss": 0.3,
    "end_s": 10.0,
    "workers": 2.0,
    "s_per_step": 5.0,
    "gradients_per_s": 0.2,
    "bytes_busiest_worker": 300.0,
    "bytes_busiest_server": 800.0,
    "bytes_total": 1200.0,
    "energy_total_j": 142.0,
    "energy_computing_j": 75.0,
    "energy_links_j": 22.0,
    "energy_idle_j": 45.0,
    "time_to_accuracy@0.75": 6.0,
    "bytes_to_accuracy@0.75": 600.0,
    "energy_to_accuracy@0.75": 75.0 + 12.0 + 2 * (3 + 2.5 + 5) + 6 * 1.0,
    "time_to_accuracy@0.99": np.nan,
    "bytes_to_accuracy@0.99": np.nan,
    "energy_to_accuracy@0.99": np.nan,
    "local_s": 3.25,
    "wire_s": 6.75,
    "share_computing": 0.25,
    "share_compressing": 0.05,
    "share_merging": 0.025,
    "share_wire": 0.675,
    "busiest_link_utilisation": 0.5,
    "sketch_recall": 0.375,
}


def summary(ledger: Ledger, workers: int = 2) -> dict[str, float]:
    return {name: value for name, _, value in rows_of(ledger.charges(), ledger.metrics(), workers)}


class Collective:
    """A program that learns nothing: it computes, compresses, and sums a vector, a few times."""

    def __init__(self, rounds: int = 3, elements: int = 50_000) -> None:
        self.rounds = rounds
        self.elements = elements

    def run(self, ctx: Any) -> Any:
        for _ in range(self.rounds):
            yield ctx.compute(Work(1e9, 1e6, 1e6), "gradient")
            yield ctx.compute(Work(1e7, 1e6, 1e6), "compress")
            yield from ctx.all_reduce(SizeOnlyPayload(self.elements, 4), "sketch")


def simulated(program: Any, **settings: Any) -> tuple[Ledger, Cluster]:
    fabric = Cluster.model_validate(settings)
    ledger = Ledger()
    world = World(1, float("inf"), ledger)
    network = fabric.build(world)
    world.env.run(until=network.launch(program))
    network.finish()
    return ledger, fabric


def test_every_number_by_hand() -> None:
    assert summary(small()) == pytest.approx(BY_HAND, nan_ok=True)


def test_metrics_come_in_the_order_of_their_list_with_their_units() -> None:
    rows = rows_of(small().charges(), small().metrics(), 2)
    names = [info.name for info in REPORT.infos]
    places = [names.index(name.partition("@")[0] + "@*" if "@" in name else name) for name, _, _ in rows if name != "sketch_recall"]
    assert places == sorted(places)
    assert rows[-1][0] == "sketch_recall"
    for name, unit, _ in rows[:-1]:
        assert describe(name, REPORT.infos, "not described").unit == unit


def test_frames_with_categories_give_the_same() -> None:
    ledger = small()
    charges = ledger.charges().astype(dict.fromkeys(("kind", "phase", "outcome"), "category"))
    rows = rows_of(charges, ledger.metrics().astype({"name": "category"}), 2)
    assert {name: value for name, _, value in rows} == pytest.approx(BY_HAND, nan_ok=True)


@pytest.mark.parametrize("pricing", ["messages", "ideal"])
def test_a_plain_collective_is_summed_up_without_learning(pricing: str) -> None:
    ledger, fabric = simulated(Collective(), workers=4, pricing=pricing)
    found = summary(ledger, 4)
    nbytes = 4 * 50_000
    schedule = fabric.collectives.all_reduce
    assert not {"final_accuracy", "final_loss", "s_per_step"} & set(found)
    assert found["bytes_total"] == 3 * schedule.total_bytes(nbytes, 4)
    assert found["bytes_busiest_worker"] == 3 * schedule.busiest_bytes(nbytes, 4)
    work_s = fabric.device.duration_s(Work(1e9, 1e6, 1e6))
    assert found["share_computing"] == pytest.approx(3 * work_s / found["end_s"])
    assert found["gradients_per_s"] == pytest.approx(12 / found["end_s"])


@pytest.mark.parametrize("settings", [{"pricing": "messages"}, {"pricing": "ideal"}, {"stragglers": "lognormal"}])
def test_shares_and_energies_add_up(settings: dict[str, Any]) -> None:
    ledger, _ = simulated(Collective(), workers=3, **settings)
    found = summary(ledger, 3)
    assert sum(value for name, value in found.items() if name.startswith("share_")) == pytest.approx(1.0)
    assert found["local_s"] + found["wire_s"] == pytest.approx(found["end_s"])
    parts = sum(found[name] for name in ("energy_computing_j", "energy_links_j", "energy_idle_j"))
    assert parts == pytest.approx(found["energy_total_j"]) == ledger.charges()["energy_j"].sum()


@pytest.mark.parametrize("pricing", ["messages", "ideal"])
def test_what_was_spent_grows_from_nothing_to_the_whole(pricing: str) -> None:
    ledger, _ = simulated(Collective(), workers=4, pricing=pricing)
    found, charges = summary(ledger, 4), ledger.charges()
    sent, energy_j = spent_until(charges, np.linspace(0.0, found["end_s"], 50))
    assert (sent[0], energy_j[0]) == (0.0, 0.0)
    assert sent[-1] == pytest.approx(found["bytes_total"])
    assert energy_j[-1] == pytest.approx(found["energy_total_j"])
    assert (np.diff(sent) >= -1e-6).all()
    assert (np.diff(energy_j) > 0).all()


def test_half_a_message_counts_half() -> None:
    sent, _ = spent_until(small().charges(), np.array([2.5, 3.25, 4.0, 5.5]))
    assert sent == pytest.approx([0.0, 50.0, 400.0, 800.0])


def test_a_busy_processor_draws_no_idle_power() -> None:
    ledger = Ledger()
    ledger.charge(0.0, 4.0, 0, 0, "compute", phase="gradient", energy_j=40.0)
    ledger.charge(0.0, 6.0, 0, 0, "idle", phase="host", energy_j=6.0)
    _, energy_j = spent_until(ledger.charges(), np.array([2.0, 4.0, 7.0, 10.0]))
    assert energy_j == pytest.approx([20.0, 40.0, 43.0, 46.0])


def test_a_machine_that_never_rests_has_no_idle_power() -> None:
    ledger = Ledger()
    ledger.charge(0.0, 4.0, 0, 0, "compute", phase="gradient", energy_j=40.0)
    ledger.charge(0.0, 0.0, 0, 0, "idle", phase="host", energy_j=0.0)
    assert spent_until(ledger.charges(), np.array([1.0, 4.0]))[1] == pytest.approx([10.0, 40.0])


def test_a_crashed_worker_counts_until_its_crash() -> None:
    ledger = Ledger()
    for node in (0, 1):
        ledger.charge(0.0, 4.0, node, node, "compute", phase="gradient", outcome="done")
    ledger.metric(2.0, "crash", 1.0, "worker1")
    ledger.metric(5.0, "recovered", 1.0, "1")
    ledger.metric(8.0, "end_s", 8.0)
    found = summary(ledger)
    assert found["share_computing"] == pytest.approx((4.0 + 2.0) / (8.0 + 2.0))
    assert found["downtime_s"] == 3.0


@pytest.mark.parametrize(
    ("crashes", "recoveries", "down_s"),
    [
        ((1.0,), (3.0,), 2.0), ((1.0, 5.0), (3.0, 9.0), 6.0), ((1.0, 2.0), (4.0,), 3.0), ((1.0, 6.0), (3.0,), 2.0 + 4.0),
        ((8.0,), (3.0,), 2.0),
    ],
)
def test_downtime_counts_overlaps_once_and_a_run_that_never_goes_on_to_its_end(
    crashes: tuple[float, ...], recoveries: tuple[float, ...], down_s: float
) -> None:
    ledger = Ledger()
    for node, t_s in enumerate(crashes):
        ledger.metric(t_s, "crash", 1.0, f"worker{node}")
    for t_s in recoveries:
        ledger.metric(t_s, "recovered", 1.0, "0")
    ledger.metric(10.0, "end_s", 10.0)
    assert summary(ledger, 3)["downtime_s"] == pytest.approx(down_s)


def test_runs_without_a_crash_have_no_downtime_beside_one_that_had() -> None:
    rows = [("a", seed, "end_s", "s", 1.0) for seed in (1, 2)] + [("b", seed, "end_s", "s", 2.0) for seed in (1, 2)]
    rows.append(("b", 1, "downtime_s", "s", 4.0))
    frame = differences(pd.DataFrame(rows, columns=REPORT_COLUMNS), REPORT.infos)
    assert frame.loc[frame["metric"] == "downtime_s", "mean"].tolist() == [-2.0]


def test_names_of_workers() -> None:
    assert [node_of(name) for name in ("worker12", "7", "server0", "")] == [12, 7, -1, -1]


def test_an_empty_run_is_no_crash() -> None:
    found = summary(Ledger())
    assert found["end_s"] == 0
    assert found["bytes_total"] == 0
    assert np.isnan(found["share_wire"])


def test_a_hundred_thousand_rows_take_little_time() -> None:
    rng = np.random.default_rng(3)
    rows = 100_000
    kind = rng.choice(["tx", "compute"], rows)
    ledger = pd.DataFrame({
        "t0_s": rng.uniform(0, 800, rows), "dur_s": rng.uniform(0, 1, rows), "node": rng.integers(0, 2, rows), "peer": 1, "kind": kind,
        "phase": rng.choice(["gradient", "compress", "values"], rows), "flops": 0.0, "nbytes": 60, "energy_j": rng.uniform(0, 1, rows),
        "outcome": "done", "packet": -1,
    })
    metrics = small().metrics()
    begun = time.process_time()
    rows_of(ledger, metrics, 2)
    assert time.process_time() - begun < 2.0


def test_the_summary_needs_no_torch() -> None:
    code = (
        "import toolkit.cluster.report, toolkit.cluster.figures, toolkit.cluster.timeline, sys; "
        "sys.exit('torch' in sys.modules or 'simpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What is said


def report(**arms: dict[str, list[float]]) -> pd.DataFrame:
    """A report from values per seed: ``report(a={"end_s": [1, 2]}, …)``."""
    units = {info.name: info.unit for info in REPORT.infos}
    rows = [
        (arm, seed, name, units.get(name, "s"), value)
        for arm, metrics in arms.items() for name, values in metrics.items() for seed, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows, columns=REPORT_COLUMNS)


def said(frame: pd.DataFrame) -> list[str]:
    return distributed_findings(Comparison(Path("nowhere"), frame, REPORT.infos))


def test_a_target_is_told_with_interval_verdicts_and_who_missed_it() -> None:
    nan = float("nan")
    assert said(report(
        gs={"time_to_accuracy@0.9": [12.0, 12.5, 13.0]},
        dense={"time_to_accuracy@0.9": [40.0, 41.0, 41.5]},
        topk={"time_to_accuracy@0.9": [12.1, 12.0, 13.5]},
        sign={"time_to_accuracy@0.9": [nan, nan, nan]},
        qsgd={"time_to_accuracy@0.9": [13.0, nan, 14.1]},
    )) == [
        "gs reaches test accuracy 0.9 in 12.5 ± 1.2 s; sooner than qsgd (13.6 s; difference -1.05, 95 % interval -1.69 to -0.415 s) and "
        "dense (40.8 s; -28.3, -29.1 to -27.6 s); no difference shown against topk (12.5 s; -0.0333, -1.28 to +1.22 s), each over the "
        "seeds in which both reached it; not reached in all seeds by sign (no seed) and qsgd (2 of 3 seeds)."
    ]


def test_a_target_that_the_first_arm_misses_is_said_plainly() -> None:
    nan = float("nan")
    missed = said(report(gs={"time_to_accuracy@0.9": [nan, nan]}, dense={"time_to_accuracy@0.9": [4.0, 4.2]}))
    assert missed == ["gs does not reach test accuracy 0.9 in any of 2 seeds."]
    once = said(report(gs={"time_to_accuracy@0.9": [12.0, nan]}, dense={"time_to_accuracy@0.9": [nan, 4.0]}))
    assert once == ["gs reaches test accuracy 0.9 in 1 of 2 seeds, there in 12 s; not reached in all seeds by dense (1 of 2 seeds)."]


def test_verdicts_follow_the_intervals_and_the_direction() -> None:
    lines = said(report(
        gs={"final_accuracy": [0.9, 0.91, 0.92], "end_s": [5.0, 5.0, 5.0], "bytes_busiest_worker": [3e6] * 3},
        dense={"final_accuracy": [0.95, 0.96, 0.975], "end_s": [4.0, 6.0, 5.0], "bytes_busiest_worker": [4.5e7] * 3},
    ))
    assert lines == [
        "In short, of the 3 comparisons of gs with the others in final test accuracy, time to the end and bytes sent by the busiest "
        "worker, it is better in 1, worse in 1 and not told apart in 1.",
        "Final test accuracy of gs, 0.91 ± 0.025: lower than dense (0.962; difference -0.0517, 95 % interval -0.0588 to -0.0445).",
        "Time to the end of gs, 5 s: no difference shown against dense (5 s; difference 0, 95 % interval -2.48 to +2.48 s).",
        "Bytes sent by the busiest worker of gs, 3.0 MB: less than dense (45.0 MB; difference -42.0 MB in every seed).",
    ]


def test_many_rivals_are_named_and_only_the_nearest_told_in_numbers() -> None:
    arms = {f"arm{i}": {"end_s": [10.0 - i, 10.5 - i]} for i in range(8)}
    line = next(line for line in said(report(**arms)) if line.startswith("Time to the end"))
    assert line == (
        "Time to the end of arm0, 10.2 ± 3.2 s: longer than 7 arms, nearest arm1 (9.25 s; difference +1 s in every seed), then arm2, "
        "arm3, arm4, arm5, arm6 and arm7."
    )


def test_one_seed_gives_values_and_no_verdict() -> None:
    nan = float("nan")
    lines = said(report(
        gs={"end_s": [5.0], "energy_total_j": [1234.5], "time_to_accuracy@0.9": [nan]}, dense={"end_s": [9.0], "energy_total_j": [2.0]},
    ))
    assert lines == [
        "One seed: the arms are not compared (gs, dense).",
        "gs: time to the end 5 s, energy in all 1234 J.",
        "gs does not reach test accuracy 0.9 in any of 1 seed.",
    ]


def test_where_the_time_goes_and_how_long_it_stood_still() -> None:
    shares = {"share_computing": [0.5, 0.5], "share_compressing": [0.2, 0.2], "share_merging": [0.004, 0.004], "share_wire": [0.296, 0.296]}
    lines = said(report(
        gs={**shares, "downtime_s": [15.0, 15.2]}, dense={**shares, "share_wire": [0.9, 0.8]}, topk={**shares, "share_wire": [0.5, 0.5]},
    ))
    assert lines == [
        "On average a worker of gs spends 50 % on gradients, 20 % on compressing, 0.4 % on adding and merging what arrived and 30 % on "
        "the wire or waiting of its time; on the wire or waiting, the others spend from 50 % (topk) to 85 % (dense).",
        "After crashes work stood still for 15.1 ± 1.3 s (gs).",
    ]


def test_nothing_is_said_of_what_a_run_does_not_hold() -> None:
    assert said(report(a={"x": [1.0, 2.0]}, b={"x": [3.0, 4.0]})) == []


def test_crashes_after_the_end_are_told(tmp_path: Path) -> None:
    """In arm b both seeds, in arm c one of two, in arm d none."""
    def crash(node: str, at_s: float) -> dict[str, Any]:
        return {"fabric.failures": {"crashes": [{"node": node, "at_s": at_s}]}}

    compare = {"a": {}, "b": crash("worker5", 6.0), "c": crash("worker1", 4.5), "d": crash("worker2", 1.0)}
    tree = {"name": "x", "fabric": {"type": "cluster", "workers": 8}, "program": {"type": "distributed", "method": "dense"}}
    (tmp_path / "scenario.yaml").write_text(yaml12.dump(Scenario.build({**tree, "compare": compare}).dump()))
    pd.DataFrame(
        [
            ("c", 1, 4.5, -1, "crash", "worker1", 1.0), ("d", 1, 1.0, -1, "crash", "worker2", 1.0),
            ("d", 2, 1.0, -1, "crash", "worker2", 1.0),
        ],
        columns=["arm", "seed", *Metric._fields],
    ).to_parquet(tmp_path / "metrics.parquet")
    frame = report(a={"end_s": [3.0, 4.0]}, b={"end_s": [3.0, 4.0]}, c={"end_s": [5.0, 4.0]}, d={"end_s": [3.0, 3.0]})
    lines = distributed_findings(Comparison(tmp_path, frame, REPORT.infos))
    assert lines[-1] == (
        "Crashes after the end of a run did nothing, and such an arm shows no crash: worker5 at 6 s in b (the run ended at 3 to 4 s) and "
        "worker1 at 4.5 s in c in 1 of 2 seeds (the run ended at 4 s)."
    )


def test_a_whole_run_directory_is_answered(tmp_path: Path) -> None:
    result = fake_cluster_run.build(tmp_path / "run")
    lines = distributed_findings(result)
    assert lines[1].startswith("gs-SGD reaches test accuracy 0.7 in ")
    own = result.report[result.report["arm"] == "gs-SGD"]
    reached = int(own.loc[own["metric"] == "time_to_accuracy@0.95", "value"].notna().sum())
    assert 0 < reached < 3
    assert lines[2].startswith(f"gs-SGD reaches test accuracy 0.95 in {reached} of 3 seeds, there in ")
    assert any(line.startswith("Wire time per worker, waiting included, of gs-SGD") for line in lines)
