"""Batteries: what each node has spent, who falls silent when nothing is left, and who is cut off by that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.phy.medium import Medium
from toolkit.core.alarm import Alarm
from toolkit.core.world import World

RECKONED_J = 50_000.0
"""Battery that shares of energy are told of where a scenario sets none."""
DEAF = 1e300
"""Noise in uPa^2 at a modem without power: nothing is heard through it."""


class Batteries:
    """The batteries of the sensor nodes of one run; sinks have a supply of their own.

    Sending, receiving, idling, computing and storing all count. A node is looked at when it is about to send, when a position epoch ends,
    and at the moment at which idling alone would empty it, if that lies within the epoch.
    """

    def __init__(
        self, world: World, medium: Medium, battery_j: float | None, *, charge: NDArray[np.float64], dies: bool, epoch_s: float,
        last_words: Callable[[int], None],
    ) -> None:
        """*charge* is the share of the battery that each sensor node begins with; *last_words* is called with a node that has died."""
        self._world = world
        self._medium = medium
        self._battery_j = RECKONED_J if battery_j is None else battery_j
        self._charge = charge.tolist()
        self._ends = dies and battery_j is not None
        self._epoch_s = epoch_s
        self._last_words = last_words
        self._nodes: list[SeaNode] = []
        self.dead: set[int] = set()
        self._cut_off = False

    def watch(self, nodes: list[SeaNode]) -> None:
        """These are the nodes; from now on none sends with an empty battery."""
        self._nodes = nodes
        if self._ends:
            for node in nodes:
                if not node.is_sink:
                    node.mac.has_power = self._powered(node)
                    self._look_at(node)

    def spent_j(self, node: SeaNode) -> float:
        """Energy used up to now, or up to the node's death."""
        modem = self._medium.modem
        tx_s, rx_s = float(self._medium.tx_s[node.id]), float(self._medium.rx_s[node.id])
        idle_s = max(0.0, self._medium.ends_s.get(node.id, self._world.now) - tx_s - rx_s)
        ctx = node.ctx
        board_j = ctx.busy_s * ctx.device.busy_w + ctx.stored_s * ctx.device.storage_w
        return tx_s * modem.tx_w + rx_s * modem.rx_w + idle_s * modem.idle_w + board_j

    def residual(self, node: SeaNode) -> float:
        """Share of the battery that is left, in [0, 1]."""
        return 1.0 if node.is_sink else max(0.0, self._left_j(node) / self._battery_j)

    def _left_j(self, node: SeaNode) -> float:
        left_j: float = self._charge[node.id] * self._battery_j - self.spent_j(node)
        return left_j

    def pass_epoch(self, open_to: Callable[[], NDArray[np.bool_]]) -> None:
        """An epoch begins: let those die who have nothing left, and see whether the dead leave anybody alone.

        *open_to* gives who can be heard by whom, (n, n).
        """
        if not self._ends:
            return
        for node in self._nodes:
            if not node.is_sink and node.id not in self.dead:
                self._look_at(node)
        if self.dead and not self._cut_off:
            self._find_cut_off(open_to())

    def deafen(self, noise: NDArray[np.float64]) -> None:
        """Nobody who is dead hears anything: drown them in *noise* (n,), in place."""
        if self.dead:
            noise[sorted(self.dead)] = DEAF

    def _powered(self, node: SeaNode) -> Callable[[], bool]:
        def has_power() -> bool:
            if node.id not in self.dead and self._left_j(node) <= 0.0:
                self._die(node)
            return node.id not in self.dead

        return has_power

    def _look_at(self, node: SeaNode) -> None:
        left_j = self._left_j(node)
        idle_w = self._medium.modem.idle_w
        if left_j <= 1e-9 * self._battery_j:
            self._die(node)
        elif idle_w > 0.0 and left_j < idle_w * self._epoch_s:

            def look(_: object) -> None:
                node.mac.has_power()

            Alarm(self._world.env, look).ring_in(left_j / idle_w + 1e-6)

    def _die(self, node: SeaNode) -> None:
        self.dead.add(node.id)
        self._medium.ends_s[node.id] = self._world.now
        self._world.ledger.metric(self._world.now, "death", 1.0, str(node.id))
        node.mac.fall_silent()
        self._last_words(node.id)

    def _find_cut_off(self, open_to: NDArray[np.bool_]) -> None:
        """Note the first time at which a living node has no way to a sink that it would have if all lived."""
        alive = np.array([node.id not in self.dead for node in self._nodes])
        sinks = np.array([node.is_sink for node in self._nodes])
        lonely = alive & ways_out(open_to, sinks) & ~ways_out(open_to & alive[:, None] & alive[None, :], sinks)
        if lonely.any():
            self._cut_off = True
            self._world.ledger.metric(self._world.now, "cut_off", 1.0, str(int(lonely.argmax())))


def ways_out(open_to: NDArray[np.bool_], sinks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who (n,) has a way to one of *sinks* (n,) over any number of the hops *open_to* (n, n)."""
    out = sinks
    while True:
        further = out | (open_to & out[None, :]).any(axis=1)
        if np.array_equal(further, out):
            return out
        out = further
