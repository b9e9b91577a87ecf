"""Link history: the days before the run, in which nodes only exchanged beacons, in one fast pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modulation import SuccessTable
from toolkit.acoustic.routing import LinkHistory

BEACON_BITS = 8 * 32
GREY_BITS = 512
GREY_LOW, GREY_HIGH = 0.05, 0.95
"""Packet error rates between which a link is neither good nor dead."""


def record(
    channel: Channel, fading: FastFading, table: SuccessTable, ebn0_gain_db: float, *, history_s: float, step_s: float,
    rng: np.random.Generator,
) -> LinkHistory:
    """Move *channel* from -*history_s* to 0 in steps of *step_s*, one beacon per node and step, and return what was heard.

    Beacons are far apart in time here and do not collide; noise and fading alone decide. The frames cost nothing in the ledger,
    which begins at time zero, but the same beacons are charged in the measured part.
    """
    t_s = np.arange(-history_s, 0.0, step_s)
    snr, heard, depth = [], [], []
    if not len(t_s):
        channel.advance(0.0)  # nothing is learnt before the run, but where nodes are has to be known
    for now in t_s.tolist():
        channel.advance(now)
        gains = fading.power_gains(rng, channel.snr_db.shape)
        with np.errstate(divide="ignore"):
            snr_db = channel.snr_db + 10.0 * np.log10(gains)
        per = table.per(np.maximum(snr_db, -100.0) + ebn0_gain_db, BEACON_BITS)
        snr.append(snr_db)
        heard.append(rng.random(snr_db.shape) >= per)
        depth.append(channel.position_m[:, 2].copy())
    count = len(channel.position_m)
    shape = (len(t_s), count, count)
    return LinkHistory(
        t_s, np.array(snr).reshape(shape), np.array(heard, dtype=bool).reshape(shape), np.array(depth).reshape(len(t_s), count)
    )


def upward_links(history: LinkHistory, least_heard: float = 0.1) -> list[tuple[int, int]]:
    """Pairs (sender, receiver) in which the receiver is shallower and hears at least a share of the sender's beacons."""
    if not len(history.t_s):
        return []
    share = history.heard.mean(axis=0)
    depth_m = history.depth_m.mean(axis=0)
    senders, receivers = ((share >= least_heard) & (depth_m[:, None] > depth_m[None, :])).nonzero()
    return list(zip(senders.tolist(), receivers.tolist(), strict=True))


def grey_shares(history: LinkHistory, table: SuccessTable, ebn0_gain_db: float) -> tuple[float, float]:
    """Return how many of the upward links are grey (0.05 < PER < 0.95 at 64 bytes): at their worst hour, and at any hour.

    The first is the largest share that is grey at one time; the second the share of links that are grey at some time.
    """
    links = upward_links(history)
    if not links:
        return float("nan"), float("nan")
    senders, receivers = np.array(links).T
    per: NDArray[np.float64] = table.per(np.maximum(history.snr_db[:, senders, receivers], -100.0) + ebn0_gain_db, GREY_BITS)
    grey = (per > GREY_LOW) & (per < GREY_HIGH)
    return float(grey.mean(axis=1).max()), float(grey.any(axis=0).mean())


