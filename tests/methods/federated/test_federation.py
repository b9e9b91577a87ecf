"""What all federated programs share: messages and crowds alike, repeatability, other drivers, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toolkit
from tests.methods.federated.running import COHORTS, SLOW, errands, federation, observed, rows, run, told
from tests.test_train import start, written
from toolkit.analysis.report import Run
from toolkit.core import room
from toolkit.core.charges import Charges
from toolkit.core.local import run_local
from toolkit.errors import UserError
from toolkit.methods.federated.report import REPORT, client_energy
from toolkit.scenario import Scenario

SKEWED = {"type": "dirichlet", "alpha": 0.3}
WAN = {"type": "wan_edge", "clients": ["home_adsl", "lte", "home_fibre"], "site_link": {"rate_bps": 4e6}}


@pytest.mark.parametrize(("overhead_s", "wake_s"), [(0.0, 0.0), (0.004, 0.0), (0.0, 0.003), (0.004, 0.02)])
@pytest.mark.parametrize("availability", ["always", {"type": "on_off", "on_s": 0.4, "off_s": 0.2}], ids=str)
@pytest.mark.parametrize("program", list(COHORTS))
def test_a_crowd_is_what_messages_are(program: str, availability: Any, overhead_s: float, wake_s: float) -> None:
    """Every client a node and every message a flow, or clients as arrays: the same instants, bytes, joules, drops and accuracies."""
    server = {"profile": "raspberry_pi_4", "message_overhead_s": overhead_s, "message_wake_s": wake_s}
    kinds = [{"device": {**server, "message_overhead_s": 3 * overhead_s}, "share": 0.5}, {"device": SLOW, "share": 0.5}]
    settings = {"split": SKEWED, "rounds": 6, "availability": availability, "retry_s": 0.1}
    if program == "fedavg":
        settings |= {"over_selection": 0.4, "deadline_s": 0.45}
    if program == "fedprox":
        settings |= {"compute_s": 0.05, "mu": 0.1}
    pair = [
        run(federation(program, fabric={"pricing": pricing, "device": server, "worker_devices": kinds, "topology": WAN}, **settings))[0]
        for pricing in ("messages", "ideal")
    ]
    assert errands(pair[0]) == errands(pair[1])
    for name in ("test_accuracy", "test_loss", "combined"):
        assert observed(pair[0], name) == observed(pair[1], name), name
    for name in ("trained_s", "round_s"):
        assert observed(pair[0], name) == pytest.approx(observed(pair[1], name), rel=1e-9), name
    assert told(pair[0], "staleness") == told(pair[1], "staleness")
    assert told(pair[0], "took_part") == told(pair[1], "took_part")
    for kind, phases in (("tx", ("download", "upload")), ("compute", ("gradient", "aggregate", "wake"))):
        sums = [rows(world, kind, *phases).groupby(["node", "phase"])[["energy_j", "nbytes", "flops"]].sum() for world in pair]
        pd.testing.assert_frame_equal(*sums, rtol=1e-9, check_dtype=False)
    ends = rows(pair[0], "tx", "end")
    assert len(ends) == 6
    assert set(ends["nbytes"]) == {16}


def test_of_a_crowd_only_the_server_is_a_node() -> None:
    task = {"blank": {"train": 60_000, "test": 10, "channels": 1, "size": 8}, "model": {"name": "mlp", "options": {"hidden": [4]}}}
    spec = federation(clients=20_000, fabric={"pricing": "ideal"}, task=task, sampled=50, learn=False)
    world, network = run(spec)
    assert len(network.workers) == 1
    assert errands(world)["aggregated"] == 150
    assert len(rows(world, "idle", "host")) == 20_001
    charges = world.ledger.charges()
    whole, asked = client_energy(charges, 20_000)
    links = charges[(charges["kind"] == "idle") & (charges["node"] < 0)]["energy_j"].sum()
    server = charges[(charges["node"] == 20_000) & (charges["kind"] != "tx")]["energy_j"].sum()
    assert whole.sum() + links + server == pytest.approx(charges["energy_j"].sum(), rel=1e-12)
    assert (asked > 0).sum() == len(set(rows(world, "compute", "gradient")["node"]))


def test_the_report_adds_up() -> None:
    spec = federation("fedbuff", fabric={"node_devices": {"worker0": SLOW}}, rounds=5, targets=[0.2])
    world, _ = run(spec)
    told_of = Run(Charges((), [world.ledger.charges()]), world.ledger.metrics(), world.now, spec.fabric, spec.program)
    found = {name: value for name, _, value in REPORT.rows(told_of)}
    became = errands(world)
    assert found["sent_out"] == became["sent_out"]
    assert found["aggregated"] == 10
    assert found["bytes_down"] == rows(world, "tx", "download")["nbytes"].sum() + 6 * 16
    assert found["bytes_up"] == rows(world, "tx", "upload")["nbytes"].sum()
    assert found["bytes_total"] == found["bytes_down"] + found["bytes_up"]
    staleness = told(world, "staleness")
    assert found["staleness_mean"] == pytest.approx(sum(float(age) * count for age, count in staleness.items()) / 10)
    assert found["staleness_max"] == max(map(float, staleness))
    assert found["took_part_mean"] == pytest.approx(10 / 6)
    assert found["took_part_share"] == pytest.approx(1 - told(world, "took_part").get("0", 0.0) / 6)
    assert found["time_to_accuracy@0.2"] <= found["trained_s"] <= found["end_s"]
    assert found["final_accuracy"] == observed(world, "test_accuracy")[-1]


def compared() -> Scenario:
    tree = federation(split=SKEWED, fabric={"pricing": "ideal"}, availability={"type": "on_off", "on_s": 0.3, "off_s": 0.1}).dump()
    stream = federation("fedbuff", split=SKEWED).dump()["program"]
    return Scenario.build({**tree, "seeds": 2, "compare": {"FedAvg": {}, "FedBuff": {"program": stream}}})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in {".csv", ".parquet", ".png"}
    }


@pytest.mark.slow
def test_one_and_two_processes_and_a_resumed_run_give_the_same_bytes(tmp_path: Path) -> None:
    toolkit.run(compared(), out=tmp_path / "one")
    toolkit.run(compared(), out=tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    shutil.copytree(tmp_path / "one", tmp_path / "killed")
    for path in (tmp_path / "killed" / "runs").glob("FedBuff-s2*"):
        path.unlink()
    for path in (tmp_path / "killed" / "ledger").glob("FedBuff-s2*"):
        path.write_bytes(path.read_bytes()[:100])
    toolkit.run(compared(), out=tmp_path / "killed", resume=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "killed")
    assert {"figures/staleness.png", "figures/participation.png", "figures/learning_vs_time.png"} <= set(contents(tmp_path / "one"))


def test_all_clients_in_one_process_without_a_clock_learn_the_same() -> None:
    spec = federation(split=SKEWED)
    world, _ = run(spec)
    fabric: Any = spec.fabric
    contexts = run_local(spec.program.run, 6, 1, servers=1, collectives=fabric.collectives)
    local = [metric.value for metric in contexts[6].metrics if metric.name == "test_accuracy"]
    assert local == observed(world, "test_accuracy")
    assert sum(context.sent_bytes for context in contexts) == rows(world, "tx")["nbytes"].sum()


@pytest.mark.slow
def test_real_processes_learn_the_same(tmp_path: Path) -> None:
    spec = federation(clients=3, sampled=2, split=SKEWED)
    process = start(written(tmp_path, spec), tmp_path / "out")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    world, _ = run(spec)
    row = json.loads((tmp_path / "out" / "train.json").read_text())[0]
    assert row["total_bytes"] == rows(world, "tx")["nbytes"].sum()
    assert row["test_accuracy"] == observed(world, "test_accuracy")[-1]


# Bad input


@pytest.mark.parametrize(("program", "settings", "says"), [
    ("fedavg", {"sampled": 7}, r"program.sampled: 7 clients a round, and there are 6; use at most 6"),
    ("fedbuff", {"concurrency": 3, "buffer": 4}, r"program.buffer: 4 updates, and 3 clients are out at a time .*; use at most 3"),
    ("fedasync", {"concurrency": 7}, r"program.concurrency: 7 clients at a time, and there are 6"),
    ("fedasync", {"alpha": 0.0}, r"program.alpha: input should be greater than 0 \(got 0.0\)"),
    ("fedasync", {"alpha": 1.5}, r"program.alpha: input should be less than or equal to 1 \(got 1.5\)"),
    ("fedasync", {"staleness": "linear"}, r"program.staleness: input should be 'constant', 'polynomial' or 'hinge'"),
    ("fedavg", {"deadline_s": 0.001}, r"program.deadline_s: nobody can be back in 0.001 s; the quickest client .* needs 0.0\d+ s"),
    ("fedprox", {"deadline_s": 1.0, "compute_s": 2.0}, r"program.compute_s: 2 s of computing are not over before the deadline of 1 s"),
    ("fedavg", {"task": {"dataset": "digits", "skew": 0.5}}, r"program.task.skew: .* program.split"),
    ("fedavg", {"split": {"type": "dirichlet", "alpha": 0}}, r"program.split.alpha: input should be greater than 0"),
    ("fedavg", {"availability": "sometimes"}, r"program.availability: 'sometimes' is not a availability.*known: always, diurnal, on_off"),
])
def test_a_mistake_is_told_in_one_sentence(program: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        federation(program, **settings).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("clients", "fabric", "says"), [
    (2000, {}, r"fabric.workers: 2000 clients share 1442 training samples, and the split of some is empty; use at most 1442"),
    (6, {"servers": 0}, r"fabric.servers: fedavg needs at least 1 server"),
    (6, {"pricing": "ideal", "stragglers": {"type": "lognormal"}}, r"fabric.stragglers: pricing: ideal .* leaves them out"),
    (6, {"pricing": "ideal", "topology": "ring"}, r"fabric.topology: in 'ring' some clients share links that others do not use"),
    (6, {"worker_devices": [{"device": "raspberry_pi_4", "share": 0}]}, r"fabric.worker_devices.0.share: .* greater than 0"),
    (6, {"device": {"memory_bytes": 1000}}, r"mlp at batch 16 on worker0 needs .*; the device has 1.0 kB"),
])
def test_a_fabric_that_does_not_do_is_refused(clients: int, fabric: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        federation(clients=clients, fabric=fabric).check()


@pytest.mark.parametrize("pricing", ["messages", "ideal"])
def test_more_clients_than_memory_holds_are_refused(pricing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = {"blank": {"train": 60_000, "test": 10, "channels": 1, "size": 8}, "model": {"name": "mlp", "options": {"hidden": [4]}}}
    spec = federation(clients=50_000, fabric={"pricing": pricing}, task=task, learn=False)
    monkeypatch.setattr(room, "machine_bytes", lambda: 150e6)
    with pytest.raises(UserError, match=r"fabric.workers: 50000 clients take about .* of this machine's memory, which has 150 MB"):
        spec.check()
    monkeypatch.setattr(room, "machine_bytes", lambda: 50e6)
    with pytest.raises(UserError, match=r"fabric.workers: 50000 workers and their links take about 100 MB"):
        spec.check()


def test_devices_are_drawn_by_their_shares_and_named_ones_stay() -> None:
    kinds = [{"device": "raspberry_pi_4", "share": 3}, {"device": "raspberry_pi_5", "share": 1}]
    spec: Any = federation(clients=4000, fabric={"worker_devices": kinds, "node_devices": {"worker7": "jetson_nano"}}).fabric
    from toolkit.core.streams import Streams

    devices, which = spec.drawn_devices(Streams(3))
    assert devices[which[7]].profile == "jetson_nano"
    assert (which == 0).mean() == pytest.approx(0.75, abs=0.03)
    assert not np.array_equal(which, spec.drawn_devices(Streams(4))[1])
