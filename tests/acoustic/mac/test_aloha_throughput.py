"""The closed forms of pure and slotted ALOHA, through the whole of MAC, modem, medium and decoding."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.mac.aloha import Aloha
from toolkit.acoustic.mac.slotted_aloha import SlottedAloha
from toolkit.acoustic.packets import Frame

SENDERS = 400
NBYTES = 50  # 40 ms
SLOTTED = SlottedAloha(frame_nbytes=NBYTES, range_m=1.5, queue_limit=10_000)


def throughput(cell, mac: Mac, load: float, frames: int, seed: int) -> tuple[float, float]:
    """Offer Poisson traffic to one sink at equal distance from all senders; return (G, S), both per frame time or slot.

    The senders hear nobody (the channel's matrix says so), hence only the sink's receptions cost time to simulate.
    """
    sink = [(0.0, 0.0, 0.0)]
    angle = np.linspace(0, 2 * np.pi, SENDERS, endpoint=False)
    ring = [(150 * math.cos(a), 150 * math.sin(a), 0.0) for a in angle]
    rng = np.random.default_rng(seed)
    unit_s = 0.04 if isinstance(mac, Aloha) else 0.041
    times_s = np.cumsum(rng.exponential(unit_s / load, frames))
    net = cell(mac, sink + ring, duration_s=float(times_s[-1]) + 30.0, seed=seed)
    net.pool.channel.power[:, 1:] = 0.0
    net.pool.medium.listen(0, lambda frame, snr_db: net.pool.heard.append((net.pool.world.now, 0, frame, snr_db)))
    senders = rng.integers(1, SENDERS + 1, frames).tolist()
    net.offer((t_s, Frame("data", node, 0, NBYTES)) for t_s, node in zip(times_s.tolist(), senders, strict=True))
    net.pool.world.env.run(until=net.pool.world.duration_s)
    assert not net.drops
    span_s = float(times_s[-1])
    return frames * unit_s / span_s, len(net.pool.heard) * unit_s / span_s


@pytest.mark.parametrize(("load", "frames"), [(0.1, 3000), (0.25, 6000), (0.5, 16_000)])
def test_pure_aloha(cell, load: float, frames: int) -> None:
    offered, carried = throughput(cell, Aloha(queue_limit=10_000), load, frames, seed=2)
    assert carried == pytest.approx(offered * math.exp(-2 * offered), rel=0.03)


@pytest.mark.parametrize(("load", "frames"), [(0.2, 3000), (0.5, 6000), (1.0, 16_000)])
def test_slotted_aloha(cell, load: float, frames: int) -> None:
    offered, carried = throughput(cell, SLOTTED, load, frames, seed=2)
    assert carried == pytest.approx(offered * math.exp(-offered), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.05, 0.1, 0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("slotted", [False, True])
def test_both_over_a_wide_range_of_load(cell, slotted: bool, load: float) -> None:
    mac = SLOTTED if slotted else Aloha(queue_limit=10_000)
    offered, carried = throughput(cell, mac, load, 100_000, seed=1)
    exponent = offered if slotted else 2 * offered
    assert carried == pytest.approx(offered * math.exp(-exponent), rel=0.03)
