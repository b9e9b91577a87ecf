"""The synchronous programs: time of a round, conservation, and what they come down to in special cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.methods.distributed.test_program import scenario as distributed_scenario
from tests.methods.distributed.test_program import simulate as distributed_run
from tests.methods.distributed.test_program import watched
from tests.methods.federated.running import DEVICE, MODEL, SLOW, errands, federation, final_weights, observed, rows, run, told
from toolkit.core.streams import Streams
from toolkit.learning.random import torch_generator
from toolkit.methods.federated.federation import Federation
from toolkit.methods.federated.rounds import mean_by_samples
from toolkit.methods.federated.work import HEADER_BYTES, step_work

BOTH = pytest.mark.parametrize("pricing", ["messages", "ideal"])


def access(up_bps: float, down_bps: float) -> dict[str, Any]:
    return {"up": {"rate_bps": up_bps, "delay_s": 0.03}, "down": {"rate_bps": down_bps, "delay_s": 0.01}}


def filled(begins_s: list[float], own: list[float], shared: float, nbytes: float) -> list[float]:
    """When flows of *nbytes* end that begin when they do and share a link, by going from one change to the next."""
    left, ends_s, now_s = dict[int, float](), [math.inf] * len(own), 0.0
    waiting = sorted(range(len(own)), key=lambda flow: begins_s[flow])
    while waiting or left:
        room, rates = shared, dict[int, float]()
        for place, flow in enumerate(sorted(left, key=lambda flow: own[flow])):
            rates[flow] = min(own[flow], room / (len(left) - place))
            room -= rates[flow]
        next_s = min([now_s + left[flow] / rates[flow] for flow in left] + [begins_s[flow] for flow in waiting[:1]])
        for flow in list(left):
            left[flow] -= rates[flow] * (next_s - now_s)
            if left[flow] <= 1e-9 * nbytes:
                ends_s[flow] = next_s
                del left[flow]
        while waiting and begins_s[waiting[0]] <= next_s:
            left[waiting.pop(0)] = nbytes
        now_s = next_s
    return ends_s


def step_s(spec: Any, device: dict[str, Any]) -> float:
    program: Federation = spec.program
    work = step_work(program.task, program.batch, program.proximal)
    bytes_s = (work.read_bytes + work.write_bytes) / device["memory_bytes_per_s"]
    products_s = work.matrix_flops / device["peak_flops_per_s"]
    return products_s + max((work.flops - work.matrix_flops) / device["peak_flops_per_s"], bytes_s)


@BOTH
@pytest.mark.parametrize("server_bps", [1e9, 6e6])
def test_a_round_takes_what_its_closed_form_says(pricing: str, server_bps: float) -> None:
    """The slowest of: down, steps, up; a link of the server that is full gives its max-min shares."""
    kinds = [access(2e6, 8e6), access(8e6, 8e6), access(1e6, 3e6)]
    fabric = {
        "pricing": pricing, "node_devices": {"worker1": SLOW, "worker2": SLOW},
        "topology": {
            "type": "wan_edge", "clients": kinds, "internet_delay_s": 0.02, "server_link": {"rate_bps": 1e12, "delay_s": 0.0},
            "site_link": {"rate_bps": server_bps, "delay_s": 0.005},
        },
    }
    spec = federation(clients=6, fabric=fabric, sampled=6, rounds=1, epochs=3, learn=False)
    world, _ = run(spec)
    program: Any = spec.program
    nbytes = program.message_nbytes
    steps = 3 * (1442 // 6 // 16)
    computing_s = [steps * step_s(spec, SLOW if client in (1, 2) else DEVICE) for client in range(6)]
    down = filled([0.0] * 6, [kinds[client % 3]["down"]["rate_bps"] / 8 for client in range(6)], server_bps / 8, nbytes)
    ready = [end_s + 0.01 + 0.02 + 0.005 + wait_s for end_s, wait_s in zip(down, computing_s, strict=True)]
    up = filled(ready, [kinds[client % 3]["up"]["rate_bps"] / 8 for client in range(6)], server_bps / 8, nbytes)
    served = float(rows(world, "compute", "aggregate")["dur_s"].sum())
    assert observed(world, "round_s")[0] == pytest.approx(max(up) + 0.03 + 0.02 + 0.005 + served, rel=1e-9)
    if server_bps == 1e9:
        alone = [
            nbytes * 8 * (1 / kinds[client % 3]["down"]["rate_bps"] + 1 / kinds[client % 3]["up"]["rate_bps"]) + 0.09 + computing_s[client]
            for client in range(6)
        ]
        assert observed(world, "round_s")[0] == pytest.approx(max(alone) + served, rel=1e-9)


@BOTH
def test_equal_clients_share_the_servers_link_evenly(pricing: str) -> None:
    spec = federation(clients=5, fabric={"pricing": pricing}, sampled=5, rounds=1, learn=False)
    world, _ = run(spec)
    program: Any = spec.program
    served = float(rows(world, "compute", "aggregate")["dur_s"].sum())
    expected = 2 * (5 * program.message_nbytes / 1e6 + 0.002) + 1442 // 5 // 16 * step_s(spec, DEVICE) + served
    assert observed(world, "round_s")[0] == pytest.approx(expected, rel=1e-9)


@BOTH
@pytest.mark.parametrize("settings", [
    {}, {"over_selection": 0.5}, {"deadline_s": 0.045}, {"availability": {"type": "on_off", "on_s": 0.2, "off_s": 0.1}, "retry_s": 0.05},
], ids=str)
def test_everything_is_accounted_for(pricing: str, settings: dict[str, Any]) -> None:
    fabric = {"pricing": pricing, "node_devices": {"worker1": SLOW, "worker4": SLOW}}
    spec = federation(clients=6, fabric=fabric, rounds=12, sampled=3, learn=False, epochs=2, **settings)
    world, _ = run(spec)
    program: Any = spec.program
    became = errands(world)
    assert became["sent_out"] == became["aggregated"] + became["late"] + became["spare"] + became["left"] + became["under_way"]
    down, up = rows(world, "tx", "download"), rows(world, "tx", "upload")
    assert len(down) == len(up) == became["sent_out"]
    assert set(down["nbytes"]) == {program.message_nbytes}
    returned = up[up["nbytes"] == program.message_nbytes]
    assert int(up["nbytes"].sum()) == len(returned) * program.message_nbytes + (len(up) - len(returned)) * HEADER_BYTES
    assert len(returned) >= became["sent_out"] - became["left"] - became["under_way"]
    charges = world.ledger.charges()
    for client in range(6):
        own = charges[(charges["node"] == client) & charges["kind"].isin(["compute", "idle"])]
        busy_s = own[own["kind"] == "compute"]["dur_s"].sum()
        assert own["energy_j"].sum() == pytest.approx(busy_s * 5.0 + (world.now - busy_s) * 2.0, rel=1e-9)
    assert sum(float(often) * count for often, count in told(world, "took_part").items()) == became["aggregated"]
    assert sum(told(world, "took_part").values()) == 6
    if "deadline_s" in settings:
        assert became["late"] > 0
        assert max(observed(world, "round_s")) == pytest.approx(0.045, abs=0.001)
    elif "over_selection" in settings:
        assert became["spare"] > 0
        assert became["aggregated"] == 36
    elif settings:
        assert became["left"] > 0
    else:
        assert became["aggregated"] == became["sent_out"] == 36


def test_one_client_with_all_data_is_plain_sgd(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: the steps of `type: distributed` on one machine."""
    spec = federation(clients=1, sampled=1, rounds=2, lr=0.1)
    weights = final_weights(spec, monkeypatch)
    plain = distributed_scenario(
        {"type": "dense", "momentum": 0.0}, workers=1, task={"dataset": "digits", "model": MODEL}, batch=16, steps=2 * (1442 // 16), lr=0.1
    )
    kept = watched(monkeypatch)
    distributed_run(plain)
    assert torch.equal(weights, kept[0].weights)


def test_fedprox_without_pull_is_fedavg_and_with_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    split = {"type": "dirichlet", "alpha": 0.5}
    fedavg = final_weights(federation("fedavg", split=split), monkeypatch)
    assert torch.equal(final_weights(federation("fedprox", split=split, mu=0.0), monkeypatch), fedavg)
    pulled = final_weights(federation("fedprox", split=split, mu=1.0), monkeypatch)
    assert not torch.allclose(pulled, fedavg, atol=1e-4)


def test_fedprox_descends_its_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of one client against autograd on F(w) + mu/2 |w - w0|^2."""
    spec = federation("fedprox", clients=80, sampled=1, rounds=1, mu=3.0, lr=0.2, batch=8, epochs=1)
    program: Any = spec.program
    task = program.task.load()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    loss = type(task).loss
    with monkeypatch.context() as patch:
        patch.setattr(type(task), "loss", lambda self, model, x, y: (seen.append((x, y)), loss(self, model, x, y))[1])
        weights = final_weights(spec, monkeypatch)
    assert len(seen) == 2
    model = task.build(torch_generator(Streams(1).shared("model")))
    begun = [each.detach().clone() for each in model.parameters()]
    for images, labels in seen:
        pull = sum(((each - start) ** 2).sum() for each, start in zip(model.parameters(), begun, strict=True))
        gradients = torch.autograd.grad(loss(task, model, images, labels) + 1.5 * pull, list(model.parameters()))
        with torch.no_grad():
            for each, gradient in zip(model.parameters(), gradients, strict=True):
                each.sub_(0.2 * gradient)
    expected = torch.cat([each.detach().reshape(-1) for each in model.parameters()])
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)


def test_the_mean_is_by_samples() -> None:
    vectors = [torch.tensor([1.0, 0.0]), torch.tensor([4.0, 8.0])]
    assert mean_by_samples(vectors, [1, 3]).tolist() == [3.25, 6.0]


@BOTH
def test_clients_that_are_short_of_time_send_what_they_have(pricing: str) -> None:
    fabric = {"pricing": pricing, "node_devices": {"worker0": SLOW}}
    plan = federation("fedprox", clients=2, sampled=2, rounds=1, learn=False, fabric=fabric)
    slow_s, fast_s = step_s(plan, SLOW), step_s(plan, DEVICE)
    spec = federation("fedprox", clients=2, sampled=2, rounds=1, learn=False, fabric=fabric, compute_s=2.5 * slow_s)
    world, _ = run(spec)
    busy = rows(world, "compute", "gradient").groupby("node")["dur_s"].sum()
    assert busy[0] == pytest.approx(3 * slow_s, rel=1e-9)
    assert busy[1] == pytest.approx(min(45, math.ceil(2.5 * slow_s / fast_s)) * fast_s, rel=1e-9)
    assert errands(world)["aggregated"] == 2


def test_learning_takes_what_pricing_says() -> None:
    """The same clock, bytes and joules with and without learning, and in the estimate with the draws of seed 0."""
    spec = federation(split={"type": "dirichlet", "alpha": 0.3}, rounds=4)
    priced = federation(split={"type": "dirichlet", "alpha": 0.3}, rounds=4, learn=False)
    (learnt, _), (world, _) = run(spec), run(priced)
    assert observed(learnt, "round_s") == observed(world, "round_s")
    assert rows(learnt, "tx")["nbytes"].sum() == rows(world, "tx")["nbytes"].sum()
    assert observed(learnt, "test_accuracy")[-1] > observed(learnt, "test_accuracy")[0]
    assert not observed(world, "test_accuracy")
    estimate = spec.program.estimate(spec.fabric)
    assert estimate is not None
    begun, _ = run(priced, seed=0)
    assert estimate.time_s == pytest.approx(begun.now, rel=1e-12)
    assert estimate.energy_j == pytest.approx(begun.ledger.charges()["energy_j"].sum(), rel=1e-12)


def test_local_only_sends_no_weights() -> None:
    world, _ = run(federation("local_only", split={"type": "shards", "per_client": 2}, rounds=2, fabric={"pricing": "ideal"}))
    assert set(rows(world, "tx")["nbytes"]) == {HEADER_BYTES}
    assert np.isfinite(observed(world, "test_accuracy")).all()
