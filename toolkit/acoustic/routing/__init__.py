"""Routing: which node carries a packet on towards a sink."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.node import SeaNode, State
from toolkit.acoustic.packets import Frame, Packet
from toolkit.acoustic.prediction import Forecast
from toolkit.core.part import Part
from toolkit.core.program import Process


@dataclass(frozen=True, eq=False)
class LinkHistory:
    """What beacons would have shown before the run began: the channel at `t_s` (m,), pairs as [time, sender, receiver].

    `snr_db` (m, n, n) is the SNR a received beacon would have had, `heard` (m, n, n) whether it was received.
    """

    t_s: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    heard: NDArray[np.bool_]
    depth_m: NDArray[np.float64]


class Routing(Part, Generic[State]):
    """A routing protocol. Its state at one node is `node.state`, which `init` returned; sinks run the protocol too, as receivers."""

    family: ClassVar[str] = "routing protocol"
    channel_aware: ClassVar[bool] = False
    """Whether the protocol chooses by the state of the channel; then it gains nothing where there is nothing to choose (a law)."""

    @abstractmethod
    def init(self, node: SeaNode[State]) -> State:
        """Return the empty state of one node."""

    @abstractmethod
    def originate(self, node: SeaNode[State], packet: Packet) -> None:
        """Take a new packet of this node's own. The node holds a copy of it already, and must `node.tracker.drop` it once done."""

    @abstractmethod
    def on_receive(self, node: SeaNode[State], frame: Frame, snr_db: float) -> None:
        """Act on a frame that this node decoded, whoever it was meant for, heard at *snr_db* in the modem's band."""

    def processes(self, node: SeaNode[State]) -> Iterable[Process]:
        """Background processes of one node (beacons, queues)."""
        return ()

    def learn(self, node: SeaNode[State], history: LinkHistory) -> None:
        """Use the history of the links before the run."""

    def forecast(self, node: SeaNode[State], receiver: int, at_s: float) -> Forecast | None:
        """What this node expects of its link to *receiver* at a time; None for a protocol that predicts nothing."""
        return None
