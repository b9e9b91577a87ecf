"""What a distributed training will take, said before it begins: a few of its steps on the simulated cluster, and as many like the last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toolkit.core.fabric import Fabric
from toolkit.core.program import Estimate, Program
from toolkit.core.world import World

Costs = NDArray[np.float64]
"""Operations, bytes moved, bytes sent, time in s, energy in J."""


def estimate(
    priced: Callable[[int], Program], fabric: Fabric, *, steps: int, settles_after: int, cycle: int, memory_nbytes: float
) -> Estimate:
    """Return what *steps* steps take on *fabric*.

    The first are simulated until what is sent repeats (after *settles_after* steps, every *cycle* steps), and one cycle more; all later
    ones cost what that cycle did. Exact where nothing is drawn at random, as stragglers are.

    Args:
        priced: gives the program of so many steps, with stand-ins for its gradients.
    """
    begin = settles_after + cycle
    if steps <= begin + cycle:
        costs = _simulated(priced(steps), fabric)
    else:
        cycles, rest = divmod(steps - begin, cycle)
        first = _simulated(priced(begin), fabric)
        costs = cycles * (_simulated(priced(begin + cycle), fabric) - first)
        costs += _simulated(priced(begin + rest), fabric) if rest else first
    flops, moved, sent, time_s, energy_j = costs.tolist()
    return Estimate(
        flops=flops, moved_nbytes=moved, sent_nbytes=sent, memory_nbytes=memory_nbytes, storage_nbytes=0.0, time_s=time_s, energy_j=energy_j
    )


def _simulated(program: Program, fabric: Fabric) -> Costs:
    world = World(0, float("inf"))
    network = fabric.build(world)
    world.env.run(until=network.launch(program))
    network.finish()
    rows = world.ledger.charges()
    computed, sent = (rows[(rows["kind"] == kind).to_numpy(bool)] for kind in ("compute", "tx"))
    return np.array([
        computed["flops"].sum(), computed["nbytes"].sum(), sent["nbytes"].sum(), world.now, rows["energy_j"].sum(),
    ], np.float64)
