"""Laws of medium access: frames are conserved, a full queue drops, the same seed gives the same run."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.packets import BROADCAST, Frame
from toolkit.laws import require
from toolkit.laws.still_water import Cell, Place, cell

DURATION_S = 1700.0
TRIANGLE: tuple[Place, ...] = ((0, 0, 10), (600, 0, 10), (300, 500, 10))


def poisson(
    rng: np.random.Generator, rate_per_s: float, until_s: float, size: int, *, broadcast: bool = False
) -> list[tuple[float, Frame]]:
    """Return frames between *size* nodes, with the times at which they are handed to their senders."""
    times_s = np.cumsum(rng.exponential(1 / rate_per_s, int(2 * rate_per_s * until_s) + 10))
    arrivals = []
    for t_s in times_s[times_s < until_s].tolist():
        src, dst = rng.choice(size, 2, replace=False).tolist()
        arrivals.append((t_s, Frame("data", src, BROADCAST if broadcast else dst, int(rng.integers(30, 90)))))
    return arrivals


def run(part: Mac, *, rate_per_s: float = 0.1, seed: int = 1) -> tuple[Cell, list[Frame], list[tuple[int, int]]]:
    """Let three nodes talk; return the cell, the frames offered, and (sender, receiver) of those heard."""
    net = cell(part, TRIANGLE, duration_s=DURATION_S, seed=seed)
    frames = net.offer(poisson(np.random.default_rng(seed), rate_per_s, DURATION_S - 500.0, 3))
    return net, frames, net.pool.run()


def _sent(frame: Frame) -> Any:
    """What became of a frame: True where it was sent, False where it was dropped, None where nobody has said."""
    return frame.sent.value if frame.sent is not None and frame.sent.processed else None


def every_frame_is_sent_or_dropped_once(part: Mac) -> None:
    """Who waits for a frame is told in the end."""
    net, frames, _ = run(part)
    dropped = {id(frame) for frame, _ in net.drops}
    require(len(frames) > 100, "hardly any frame was offered")
    require(len(dropped) == len(net.drops), "a frame was dropped twice")
    for frame in frames:
        require(_sent(frame) is not None, f"a frame of node {frame.src} was neither sent nor dropped 500 s after the last one was offered")
        require(_sent(frame) == (id(frame) not in dropped), "a frame was dropped and called sent, or sent and called dropped")


def a_light_load_gets_through(part: Mac) -> None:
    """Five frames a minute among three nodes: hardly any two of them meet."""
    _, frames, heard = run(part, rate_per_s=0.08)
    wanted = [(frame.src, frame.dst) for frame in frames]
    through = sum(heard.count(pair) >= wanted.count(pair) for pair in set(wanted))
    require(through >= 0.8 * len(set(wanted)), f"on {through} of {len(set(wanted))} links everything is heard")
    share = sum(bool(_sent(frame)) for frame in frames) / len(frames)
    require(share >= 0.95, f"{share:.2f} of the frames are sent")


def the_same_seed_gives_the_same_run(part: Mac) -> None:
    """All that is random is drawn from the node's own stream (`mac.rng`)."""
    first, second = (run(part, rate_per_s=0.8)[0].pool.world.ledger.charges() for _ in range(2))
    require(first.equals(second), "two runs of one seed differ")


def a_full_queue_drops(part: Mac) -> None:
    """Of twelve frames at once one is being served, `queue_limit` wait, and the others are dropped for that reason."""
    net = cell(part.model_copy(update={"queue_limit": 3}), TRIANGLE, duration_s=200.0)
    net.offer([(1.0, Frame("data", 0, 1, 60)) for _ in range(12)])
    net.pool.run()
    reasons = [reason for _, reason in net.drops]
    require(reasons == ["queue_full"] * 8, f"of twelve frames at once, with room for three, it drops {reasons}; eight 'queue_full' are due")


def states_fill_the_run(part: Mac) -> None:
    """A modem sends, receives or idles, at every moment one of them."""
    net, _, _ = run(part, rate_per_s=1.0)
    rows = net.pool.world.ledger.charges()
    for node in range(3):
        filled_s = rows[rows.node == node].dur_s.sum()
        require(abs(filled_s - DURATION_S) < 1e-6, f"the modem of node {node} is busy and idle for {filled_s:.6f} s of {DURATION_S:g}")


def nothing_is_sent_after_its_life(part: Mac) -> None:
    """Of twelve frames at once that have 10 ms to live, those that the modem has not begun by then are dropped, the waiting at once."""
    net = cell(part, TRIANGLE, duration_s=900.0)
    frames = net.offer([(1.0, Frame("data", 0, 1, 60, until_s=1.01)) for _ in range(12)])
    net.pool.world.env.run(until=1.02)
    early = net.pool.world.ledger.charges()
    begun = int(((early.kind == "tx") & (early.phase == "data")).sum())
    told = [reason for _, reason in net.drops]
    wanted = len(told) >= 11 and told == ["expired"] * len(told)
    require(wanted, f"after the life of twelve frames the eleven that wait are dropped as {told}")
    net.pool.run()
    rows = net.pool.world.ledger.charges()
    late = rows[(rows.kind == "tx") & (rows.phase == "data") & (rows.t0_s > 1.01)]
    require(not len(late), f"{len(late)} frames are sent after their life")
    require(len(net.drops) == 12 - begun, "a frame is neither sent nor dropped")
    require(all(_sent(frame) is not None for frame in frames), "who waits for a frame that had its life is never told")


LAWS = (
    every_frame_is_sent_or_dropped_once, a_light_load_gets_through, the_same_seed_gives_the_same_run, a_full_queue_drops,
    states_fill_the_run, nothing_is_sent_after_its_life,
)
