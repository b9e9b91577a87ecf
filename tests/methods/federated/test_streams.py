"""The asynchronous programs: staleness by hand, what they mix, and what they come down to in special cases."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.methods.federated.running import DEVICE, errands, federation, final_weights, observed, rows, run, told
from toolkit.core.context import Asking
from toolkit.core.crowd import Ended
from toolkit.core.work import Work
from toolkit.methods.federated.courier import Update
from toolkit.methods.federated.fedasync import FedAsync
from toolkit.methods.federated.fedbuff import FedBuff

BOTH = pytest.mark.parametrize("pricing", ["messages", "ideal"])


class Desk:
    """As much of a server as a program changes."""

    def __init__(self, *weights: float) -> None:
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.collected, self.collecting = self.weights[:0], 0

    def compute(self, work: Work) -> Asking:
        yield work

    def passes(self, count: int, **each: float) -> Work:
        return Work()

    def given(self, program: Any, start: list[float], end: list[float], staleness: int) -> bool:
        """Let *program* take an update, and return whether the model changed."""
        update = Update(Ended(0, 0, False, 1), torch.tensor(start, dtype=torch.float64), torch.tensor(end, dtype=torch.float64))
        take = program.take(self, update, staleness)
        while True:
            try:
                next(take)
            except StopIteration as stop:
                return bool(stop.value)


@pytest.mark.parametrize(("settings", "age", "share"), [
    ({"staleness": "constant"}, 7, 0.6), ({"staleness": "polynomial", "a": 0.5}, 3, 0.3), ({"staleness": "polynomial"}, 0, 0.6),
    ({"staleness": "hinge", "a": 10.0, "b": 4.0}, 4, 0.6), ({"staleness": "hinge", "a": 10.0, "b": 4.0}, 6, 0.6 / 21),
])
def test_the_share_falls_with_age(settings: dict[str, Any], age: int, share: float) -> None:
    assert FedAsync(alpha=0.6, **settings).share_of(age) == pytest.approx(share, rel=1e-15)


def test_fedasync_mixes_by_hand() -> None:
    desk = Desk(1.0, -2.0)
    assert desk.given(FedAsync(alpha=0.6, staleness="polynomial", a=0.5), [9.0, 9.0], [3.0, 4.0], 3)
    assert desk.weights.tolist() == pytest.approx([0.7 * 1.0 + 0.3 * 3.0, 0.7 * -2.0 + 0.3 * 4.0], rel=1e-15)


def test_fedbuff_steps_by_hand() -> None:
    """Two updates, one fresh and one three versions old: w - eta / 2 (1 (s1 - e1) + 1/2 (s2 - e2))."""
    desk, program = Desk(1.0, 2.0), FedBuff(buffer=2, server_lr=0.5)
    assert not desk.given(program, [1.0, 2.0], [0.5, 3.0], 0)
    assert desk.weights.tolist() == [1.0, 2.0]
    assert desk.given(program, [2.0, 2.0], [1.0, 4.0], 3)
    assert desk.weights.tolist() == pytest.approx([1.0 - 0.25 * (0.5 + 0.5), 2.0 - 0.25 * (-1.0 - 1.0)], rel=1e-15)
    assert desk.collecting == 0


@BOTH
def test_staleness_of_three_clients_by_hand(pricing: str) -> None:
    """Visits of 1, 2.6 and 6.3 s over links that take next to nothing.

    Client 0 is back at 1, 2, ..., client 1 at 2.6 and 5.2, client 2 at 6.3; versions 0 to 9 meet updates begun with 0, 1, 0, 2, 4, 5, 3,
    6, 0 and 8.
    """
    steps = 1442 // 3 // 16
    devices = {f"worker{client}": {**DEVICE, "measured_s": {"gradient": visit_s / steps}} for client, visit_s in enumerate((1.0, 2.6, 6.3))}
    fabric = {
        "pricing": pricing, "node_devices": devices, "topology": {"type": "star", "link": {"rate_bps": 1e12, "delay_s": 0.0}},
    }
    world, _ = run(federation("fedasync", clients=3, concurrency=3, rounds=10, learn=False, fabric=fabric))
    assert {int(age): int(count) for age, count in told(world, "staleness").items()} == {0: 4, 1: 3, 2: 1, 3: 1, 8: 1}
    assert observed(world, "trained_s")[0] == pytest.approx(7.0, abs=0.001)


@BOTH
@pytest.mark.parametrize("program", ["fedasync", "fedbuff"])
def test_everything_is_accounted_for(pricing: str, program: str) -> None:
    availability = {"type": "on_off", "on_s": 0.2, "off_s": 0.1}
    spec = federation(program, rounds=20, learn=False, epochs=2, fabric={"pricing": pricing}, availability=availability, retry_s=0.05)
    world, _ = run(spec)
    became = errands(world)
    assert became["sent_out"] == became["aggregated"] + became["spare"] + became["left"] + became["under_way"]
    assert became["left"] > 0
    assert became["late"] == 0
    assert became["aggregated"] == 20 * (2 if program == "fedbuff" else 1)
    assert sum(told(world, "staleness").values()) == became["aggregated"]
    assert len(rows(world, "tx", "download")) == len(rows(world, "tx", "upload")) == became["sent_out"]


def test_fedasync_with_one_client_and_all_of_it_is_sequential_sgd(monkeypatch: pytest.MonkeyPatch) -> None:
    sgd = final_weights(federation("fedavg", clients=1, sampled=1, rounds=3), monkeypatch)
    settings = {"clients": 1, "concurrency": 1, "rounds": 3, "alpha": 1.0, "staleness": "constant"}
    assert torch.equal(final_weights(federation("fedasync", **settings), monkeypatch), sgd)
    assert not torch.equal(final_weights(federation("fedasync", **{**settings, "alpha": 0.9}), monkeypatch), sgd)


@BOTH
def test_fedbuff_of_a_whole_cohort_is_fedavg(pricing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven clients with 206 samples each, all out at a time, all back at once."""
    fabric = {"pricing": pricing}
    fedavg = final_weights(federation("fedavg", clients=7, sampled=7, fabric=fabric), monkeypatch)
    fedbuff = final_weights(federation("fedbuff", clients=7, concurrency=7, buffer=7, fabric=fabric), monkeypatch)
    torch.testing.assert_close(fedbuff, fedavg, rtol=1e-5, atol=1e-6)
    halved = final_weights(federation("fedbuff", clients=7, concurrency=7, buffer=7, server_lr=0.5, fabric=fabric), monkeypatch)
    assert not torch.allclose(halved, fedavg, atol=1e-4)


def test_the_pull_of_fedasync_is_that_of_fedprox(monkeypatch: pytest.MonkeyPatch) -> None:
    fedprox = final_weights(federation("fedprox", clients=1, sampled=1, rounds=2, mu=0.5), monkeypatch)
    pulled = federation("fedasync", clients=1, concurrency=1, rounds=2, alpha=1.0, rho=0.5)
    assert torch.equal(final_weights(pulled, monkeypatch), fedprox)
