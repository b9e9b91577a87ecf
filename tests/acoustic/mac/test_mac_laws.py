"""What every MAC keeps: frames are conserved, the order of the queue holds, the same seed gives the same run."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.acoustic.mac import Mac, next_slot
from toolkit.acoustic.packets import BROADCAST, Frame

NAMES = Mac.member_names()
DURATION_S = 1700.0
TRIANGLE = [(0, 0, 10), (600, 0, 10), (300, 500, 10)]


def mac(name: str, **settings: object) -> Mac:
    return Mac.find(name)(**settings)


def poisson(
    rng: np.random.Generator, rate_per_s: float, until_s: float, size: int, *, broadcast: bool = False
) -> list[tuple[float, Frame]]:
    times_s = np.cumsum(rng.exponential(1 / rate_per_s, int(2 * rate_per_s * until_s) + 10))
    arrivals = []
    for t_s in times_s[times_s < until_s].tolist():
        src, dst = rng.choice(size, 2, replace=False).tolist()
        arrivals.append((t_s, Frame("data", src, BROADCAST if broadcast else dst, int(rng.integers(30, 90)))))
    return arrivals


def run(cell, name: str, *, rate_per_s: float = 0.1, seed: int = 1, **settings):
    net = cell(mac(name, **settings), TRIANGLE, duration_s=DURATION_S, seed=seed)
    frames = net.offer(poisson(np.random.default_rng(seed), rate_per_s, DURATION_S - 500.0, 3))
    heard = net.pool.run()
    return net, frames, heard


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_is_sent_or_dropped_once(cell, name: str) -> None:
    net, frames, _ = run(cell, name)
    assert len(frames) > 100
    dropped = {id(frame): reason for frame, reason in net.drops}
    assert len(dropped) == len(net.drops)
    for frame in frames:
        assert frame.sent is not None
        assert frame.sent.triggered
        assert frame.sent.value == (id(frame) not in dropped)


@pytest.mark.parametrize("name", NAMES)
def test_a_light_load_gets_through(cell, name: str) -> None:
    """Five frames a minute among three nodes: hardly any two of them meet."""
    _, frames, heard = run(cell, name, rate_per_s=0.08)
    wanted = [(frame.src, frame.dst) for frame in frames]
    assert len(wanted) > 50
    assert sum(heard.count(pair) >= wanted.count(pair) for pair in set(wanted)) >= 0.8 * len(set(wanted))
    assert sum(frame.sent.value for frame in frames) >= 0.95 * len(frames)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_run(cell, name: str) -> None:
    """Check 21 of section 9."""
    first, second = (run(cell, name, rate_per_s=0.8)[0].pool.world.ledger.charges() for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_queue_drops(cell, name: str) -> None:
    net = cell(mac(name, queue_limit=3), TRIANGLE, duration_s=200.0)
    net.offer([(1.0, Frame("data", 0, 1, 60)) for _ in range(12)])
    net.pool.run()
    assert [reason for _, reason in net.drops] == ["queue_full"] * 8  # one is being served, three wait


@pytest.mark.parametrize("name", NAMES)
def test_states_fill_the_run(cell, name: str) -> None:
    net, _, _ = run(cell, name, rate_per_s=1.0)
    rows = net.pool.world.ledger.charges()
    for node in range(3):
        assert rows[rows.node == node].dur_s.sum() == pytest.approx(DURATION_S, abs=1e-6)


def test_the_beginning_of_a_slot_is_not_missed_by_rounding() -> None:
    for slot_s in (0.1, 0.3, 1.05333):
        for number in range(1000):
            assert next_slot(number * slot_s, slot_s) == number
            assert next_slot(number * slot_s + 0.5 * slot_s, slot_s) == number + 1
