"""Laws of programs that run on any network, such as traffic: what they ask for does not depend on who carries it.

Programs that need machines have methods of their own with laws of their own; of them only the laws of all parts are asked here.
"""

from __future__ import annotations

from toolkit.core.program import Program
from toolkit.laws import require
from toolkit.laws.small_sea import COLUMN, SINKS, with_traffic

DURATION_S = 1800.0


def _born(part: Program, routing: str, seed: int = 1) -> list[tuple[int, float, int]]:
    net, _ = with_traffic(COLUMN, SINKS, routing, program=part, duration_s=DURATION_S, seed=seed)
    return [(packet.src, packet.created_s, packet.nbytes) for packet in net.tracker.packets]


def traffic_does_not_depend_on_routing(part: Program) -> None:
    """Two arms of a seed are asked to carry the same messages."""
    if part.needs() is None:
        require(_born(part, "flooding") == _born(part, "dbr"), "under another protocol it sends other messages; draw from ctx.rng alone")


def the_same_seed_gives_the_same_messages(part: Program) -> None:
    """And another seed others."""
    if part.needs() is None:
        once = _born(part, "flooding")
        require(once == _born(part, "flooding"), "two runs of one seed send other messages")
        others = _born(part, "flooding", seed=2)
        require(not once or once != others, "runs of two seeds send the very same messages; draw when they are sent from ctx.rng")


LAWS = (traffic_does_not_depend_on_routing, the_same_seed_gives_the_same_messages)
