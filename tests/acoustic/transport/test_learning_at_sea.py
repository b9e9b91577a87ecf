"""Learning over the sea: the same bits as anywhere else where nothing is lost, rounds that go on where something is, and one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.acoustic.transport.conftest import DBCAR, fabric
from tests.methods.distributed.test_program import scenario as on_a_cluster
from tests.methods.distributed.test_program import simulate, watched
from toolkit.acoustic.network import SeaNetwork
from toolkit.core.local import run_local
from toolkit.core.world import World
from toolkit.errors import ScenarioError
from toolkit.scenario import Scenario, telling_notes

LINEAR = {"dataset": "digits", "model": {"name": "mlp", "options": {"hidden": []}}}
TDMA = {"type": "tdma", "slot_nbytes": 200}
METHODS: list[Any] = [
    {"type": "dense", "momentum": 0.9}, {"type": "gs_sgd", "k": 24, "cols": 64}, {"type": "top_k", "density": 0.05}, "qsgd", "signsgd",
    {"type": "local_sgd", "period": 2},
]


def at_sea(method: Any = "dense", settings: dict[str, Any] | None = None, *, duration_s: float = 6000.0, **program: Any) -> Scenario:
    tree: dict[str, Any] = {
        "name": "learning", "duration_s": duration_s, "fabric": settings or fabric("ideal"),
        "program": {
            "type": "distributed", "task": LINEAR, "method": method, "steps": 4, "batch": 8, "lr": 0.1, "evaluate_every": 2, **program,
        },
    }
    return Scenario.build(tree)


def sail(spec: Scenario, seed: int = 1) -> tuple[World, SeaNetwork]:
    with telling_notes(lambda _: None):  # that most rounds will not be finished is what some tests are about
        spec.check()
    world = World(seed, spec.limit_s)
    network = spec.fabric.build(world)
    assert isinstance(network, SeaNetwork)
    network.launch(spec.program)
    world.env.run(until=spec.limit_s)
    network.finish()
    return world, network


def schedules(all_reduce: str, all_gather: str) -> dict[str, Any]:
    return {"collectives": {"all_reduce": all_reduce, "all_gather": all_gather}}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method if isinstance(method, str) else method["type"])
@pytest.mark.parametrize("how", [("ring", "ring"), ("binomial", "doubling"), ("star", "star")])
def test_an_ideal_sea_teaches_the_same_bits_as_one_process_and_a_cluster(
    method: Any, how: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = watched(monkeypatch)
    spec = at_sea(method, fabric("ideal", **schedules(*how)))
    sail(spec)
    sea = {node: (state.step, state.weights.clone()) for node, state in kept.items()}
    collectives = spec.fabric.collectives  # type: ignore[attr-defined]
    run_local(spec.program.run, 4, 1, collectives=collectives)
    local = {node: state.weights.clone() for node, state in kept.items()}
    cluster = on_a_cluster(method, fabric=schedules(*how), task=LINEAR, steps=4, evaluate_every=2)
    simulate(cluster)
    assert set(sea) == {0, 1, 2, 3}
    for node, (step, weights) in sea.items():
        assert step == 4
        assert torch.equal(weights, local[node])
        assert torch.equal(weights, kept[node].weights)


def test_a_star_by_way_of_a_sink_adds_as_a_parameter_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = watched(monkeypatch)
    sail(at_sea("dense", fabric("ideal", **schedules("star", "star"))))
    sea = kept[2].weights.clone()
    simulate(on_a_cluster({"type": "parameter_server", "momentum": 0.9}, task=LINEAR, steps=4, evaluate_every=2))
    assert torch.equal(sea, kept[2].weights)


@pytest.mark.parametrize("settings", [
    fabric("shortest_path", mac=TDMA, modem={"profile": "evologics_like", "source_level_db": 170}), fabric(DBCAR), fabric({"type": "dbr"}),
], ids=["tdma", "dbcar", "dbr"])
def test_a_reliable_sea_teaches_the_same_bits_whatever_becomes_of_its_packets(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = watched(monkeypatch)
    sail(at_sea({"type": "gs_sgd", "k": 24, "cols": 64}, {**settings, **schedules("star", "star")}, duration_s=20_000.0))
    sea = {node: (state.step, state.weights.clone()) for node, state in kept.items()}
    sail(at_sea({"type": "gs_sgd", "k": 24, "cols": 64}, fabric("ideal", **schedules("star", "star"))))
    for node, (step, weights) in sea.items():
        assert step == 4
        assert torch.equal(weights, kept[node].weights)


# Rounds with a deadline


def deadline(seconds: float, **more: Any) -> dict[str, Any]:
    star = {"type": "star", "deadline_s": seconds, **more}
    return {"collectives": {"all_reduce": star, "all_gather": star}}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method if isinstance(method, str) else method["type"])
def test_rounds_go_on_without_what_is_late_and_all_stay_alike(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = watched(monkeypatch)
    lr = 0.001 if method == "signsgd" else 0.1
    spec = at_sea(method, fabric({"type": "dbr"}, **deadline(20.0)), duration_s=20_000.0, steps=10, lr=lr, evaluate_every=5)
    world, _ = sail(spec)
    metrics = world.ledger.metrics()
    counted, missing = (metrics[metrics.name == f"{name}_updates"].value for name in ("counted", "missing"))
    assert len(counted) >= 10 or (isinstance(method, dict) and method["type"] == "local_sgd")
    assert ((counted.to_numpy() + missing.to_numpy()) == 4).all()
    assert missing.sum() > 0  # 20 s are too little for some
    thrown_away = metrics[metrics.name.isin(["late_updates", "lost_updates"])]
    assert len(thrown_away) <= missing.sum()
    at_the_end = [state for state in kept.values() if state.step == 10]
    assert len(at_the_end) >= 2
    for state in at_the_end[1:]:
        assert torch.equal(state.weights, at_the_end[0].weights)


def test_a_deadline_nobody_misses_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = watched(monkeypatch)
    sail(at_sea("dense", fabric("ideal", **deadline(4000.0))))
    late = kept[1].weights.clone()
    sail(at_sea("dense", fabric("ideal", **schedules("star", "star"))))
    assert torch.equal(late, kept[1].weights)


def test_a_sum_of_some_is_scaled_to_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four workers the last computes for a day: the mean of one step is that of the other three, worked out by hand."""
    from toolkit.methods.distributed.program import WorkerTrainer

    kept = watched(monkeypatch)
    exchange = WorkerTrainer._exchange

    def slow(self: WorkerTrainer, step: Any) -> Any:
        if self.ctx.rank == 3:
            yield self.ctx.sleep(86_400.0)
        yield from exchange(self, step)

    monkeypatch.setattr(WorkerTrainer, "_exchange", slow)
    spec = at_sea({"type": "dense", "momentum": 0.0}, fabric("ideal", **deadline(60.0)), steps=1)
    sail(spec)
    start = kept[3].weights
    mean = torch.stack([kept[node].gradient for node in range(3)]).mean(0)
    for node in range(3):
        torch.testing.assert_close(kept[node].weights, start - 0.1 * mean, rtol=1e-5, atol=1e-7)


# Batteries


def test_a_node_that_dies_is_missing_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = watched(monkeypatch)
    settings = fabric("ideal", battery_j=600.0, least_charge=0.2, epoch_s=30.0, **deadline(60.0))
    spec = at_sea("dense", settings, steps=40, evaluate_every=1, duration_s=3000.0)
    world, network = sail(spec)
    metrics = world.ledger.metrics()
    deaths = metrics[metrics.name == "death"].sort_values("t_s")
    assert len(deaths) >= 1
    first_s, first = float(deaths.t_s.iloc[0]), int(deaths.who.iloc[0])
    assert kept[first].step < max(state.step for state in kept.values())
    accuracy = metrics[metrics.name == "test_accuracy"]
    assert accuracy.t_s.max() > first_s
    assert accuracy.step.is_unique
    rows = world.ledger.charges()
    for node in network.nodes:
        own = rows[(rows.node == node.id) & rows.kind.isin(["tx", "rx", "idle", "compute", "store"])]
        assert network.batteries.spent_j(node) == pytest.approx(own.energy_j.sum(), rel=2e-2), node.id


def test_computing_empties_a_battery() -> None:
    """A board of 10 W that computes all the time lives ten times shorter than one that idles at 1 W."""
    device = {"busy_w": 10.0, "memory_bytes": 10**9, "overhead_s": 1.0}
    spec = at_sea("dense", fabric("ideal", battery_j=400.0, device=device, epoch_s=10.0, **deadline(60.0)), steps=400, evaluate_every=400)
    world, _ = sail(spec)
    deaths = world.ledger.metrics().query("name == 'death'")
    assert len(deaths) == 4
    computed_j = world.ledger.charges().query("kind == 'compute' and node < 4").energy_j.sum()
    assert computed_j > 0.2 * 4 * 400.0


def test_storing_empties_a_battery() -> None:
    from tests.acoustic.transport.conftest import talk
    from toolkit.core.context import Context
    from toolkit.core.program import Process

    def says(ctx: Context) -> Process:
        if ctx.rank == 0:
            yield ctx.store(write_bytes=1000.0)

    net = talk(fabric("ideal", device={"storage_w": 5.0, "storage_write_bytes_per_s": 100.0}), says, duration_s=100.0)
    spent = [net.batteries.spent_j(node) for node in net.nodes]
    assert spent[0] - spent[1] == pytest.approx(50.0)


# Sentences


def refused(spec: Scenario) -> str:
    with pytest.raises(ScenarioError) as caught:
        sail(spec)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_without_a_transport_there_are_no_machines() -> None:
    assert "fabric.transport is reliable" in refused(at_sea(settings=fabric("ideal", None)))


def test_what_cannot_live_with_loss_is_refused_on_best_effort() -> None:
    assert "waits for every message" in refused(at_sea(settings=fabric("ideal", "best_effort")))


def test_a_method_that_needs_everybody_is_refused_a_deadline() -> None:
    sentence = refused(at_sea("gtop_k", fabric("ideal", **deadline(60.0))))
    assert sentence.startswith("fabric.collectives.all_reduce: may leave out what a worker sent, and gtop_k needs that of all")


def test_a_deadline_is_refused_where_no_hub_is() -> None:
    with pytest.raises(ScenarioError, match="only the hub of a sea goes on without what is late"):
        on_a_cluster("dense", fabric=deadline(60.0)).check()


def test_a_frame_smaller_than_a_header() -> None:
    with pytest.raises(ScenarioError, match="frame_nbytes: 10 bytes have no room for the header of 10 and any content; give at least 11"):
        at_sea(settings=fabric("ideal", {"type": "reliable", "frame_nbytes": 10}))


def test_a_model_larger_than_the_airtime_of_a_run_or_of_a_battery() -> None:
    large = {"dataset": "digits", "model": {"name": "mlp", "options": {"hidden": [3000]}}}
    sentence = refused(at_sea(task=large, duration_s=1500.0, settings=fabric("ideal", drain_s=100.0)))
    assert "dense on mlp hands over 900 kB a round, in 7628 frames that take a node" in sentence
    assert "at 4800 bit/s, and the run lasts 1.5e+03 s" in sentence
    sentence = refused(at_sea(task=large, duration_s=1e6, settings=fabric("ideal", battery_j=100.0)))
    assert "and its battery_j holds 100 J" in sentence


def test_training_longer_than_a_run_is_told() -> None:
    with pytest.warns(Warning, match="100000 rounds take at least"):
        at_sea(steps=100_000).check()


def test_no_way_between_two_nodes() -> None:
    layout = {"positions_m": [(0, 0, 100), (90_000, 0, 100)], "sink_positions_m": [(100, 0, 0)], "depth_m": 300}
    sentence = refused(at_sea(settings=fabric("ideal", layout=layout)))
    assert sentence.startswith("fabric.layout: there is no way between node 1 and any sink when the run begins")


def test_a_collective_whose_member_dies() -> None:
    sentence = refused(at_sea(settings=fabric("ideal", battery_j=60.0, least_charge=0.2, epoch_s=10.0), steps=100))
    assert "has died" in sentence
    assert "and 'ring' waits for every node for ever" in sentence


def test_a_message_that_is_given_up() -> None:
    settings = fabric({"type": "dbr"}, {"type": "reliable", "tries": 1, "first_timeout_s": 5.0})
    assert "was given up after" in refused(at_sea(settings=settings))


def test_a_rank_that_is_not_there() -> None:
    from tests.acoustic.transport.conftest import talk

    with pytest.raises(ScenarioError, match=r"node \d sends to rank 17; ranks go from 0 to 5 here"):
        talk(fabric("ideal"), lambda ctx: (yield ctx.send(17, 4, "talk", torch.zeros(1))))


def test_it_cannot_be_trained_in_real_processes_nor_estimated(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from toolkit import estimate, train
    from toolkit.core import yaml12

    path = tmp_path / "sea.yaml"
    path.write_text(yaml12.dump(at_sea().dump()))
    for main in (train.main, estimate.main):
        assert main([str(path)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


# Gossip


def test_neighbours_that_gossip_at_sea_end_with_the_mean_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """After many rounds between the nearest alone, everybody has what an all-reduce over all gives, to rounding."""
    kept = watched(monkeypatch)
    method = {"type": "local_sgd", "period": 2, "momentum": 0.0}
    sail(at_sea(method, fabric("ideal")))
    together = kept[1].weights.clone()
    sail(at_sea({**method, "gossip_rounds": 12}, fabric("ideal"), duration_s=20_000.0))
    for node in range(4):
        assert kept[node].step == 4
        torch.testing.assert_close(kept[node].weights, together, rtol=1e-4, atol=1e-5)
    assert not torch.equal(kept[0].weights, kept[2].weights)
