"""Routing: which node carries a packet on towards a sink."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, get_type_hints

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.node import SeaNode, State
from toolkit.acoustic.packets import Frame, Packet
from toolkit.acoustic.prediction import Forecast
from toolkit.core.part import Part
from toolkit.core.program import Process
from toolkit.core.work import Work
from toolkit.errors import ScenarioError


@dataclass(frozen=True, eq=False)
class LinkHistory:
    """What beacons would have shown before the run began: the channel at `t_s` (m,), pairs as [time, sender, receiver].

    `snr_db` (m, n, n) is the SNR a received beacon would have had, `heard` (m, n, n) whether it was received.
    """

    t_s: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    heard: NDArray[np.bool_]
    depth_m: NDArray[np.float64]


class Router(ABC):
    """A protocol at one node: what it knows there, and what it does."""

    @abstractmethod
    def originate(self, packet: Packet) -> None:
        """Take a new packet of this node's own. The node holds a copy of it already, and must `node.tracker.drop` it once done."""

    @abstractmethod
    def on_receive(self, frame: Frame, snr_db: float) -> None:
        """Act on a frame that this node decoded, whoever it was meant for, heard at *snr_db* in the modem's band."""

    def processes(self) -> Iterable[Process]:
        """Background processes of this node (beacons, queues)."""
        return ()

    def learn(self, history: LinkHistory) -> None:  # noqa: B027 - not every protocol looks back
        """Use the history of the links before the run."""

    def forecast(self, receiver: int, at_s: float) -> Forecast | None:
        """What this node expects of its link to *receiver* at a time; None for a protocol that predicts nothing."""
        return None

    def priced_forecast(self, receiver: int, at_s: float) -> tuple[Forecast | None, Work]:
        """The same for a program that pays for it, with the work of making it."""
        return self.forecast(receiver, at_s), Work()


class Routing(Part, Generic[State]):
    """A routing protocol: its settings, and `init`, which sets it up at one node; sinks run the protocol too, as receivers.

    What `init` returns is `node.state`. It is a `Router`, which does the rest; or a plain state, and the protocol defines `originate`
    and `on_receive` (and what else it needs) itself.
    """

    family: ClassVar[str] = "routing protocol"
    channel_aware: ClassVar[bool] = False
    """Whether the protocol chooses by the state of the channel; then it gains nothing where there is nothing to choose (a law)."""
    addresses: ClassVar[bool] = False
    """Whether it brings a packet to the node or sink `Packet.dst`; else it brings all to any sink, and `way_down` does the rest."""

    @classmethod
    def looks_back(cls) -> bool:
        """Whether the protocol, or the router that it sets up, learns from the history of the links."""
        router = cls._router()
        return cls.learn is not Routing.learn or (router is not None and router.learn is not Router.learn)

    @classmethod
    def forecasts(cls) -> bool:
        """Whether the protocol, or the router that it sets up, says what it expects of a link."""
        router = cls._router()
        return cls.forecast is not Routing.forecast or (router is not None and router.forecast is not Router.forecast)

    @classmethod
    def _router(cls) -> type[Router] | None:
        """The class of what `init` returns, where that is a router."""
        router = get_type_hints(cls.init).get("return")
        return router if inspect.isclass(router) and issubclass(router, Router) else None

    @abstractmethod
    def init(self, node: SeaNode[State]) -> State:
        """Return the protocol at one node, knowing nothing yet."""

    def originate(self, node: SeaNode[State], packet: Packet) -> None:
        """Take a new packet of the node's own, see `Router`."""
        self._at(node, "originate").originate(packet)

    def on_receive(self, node: SeaNode[State], frame: Frame, snr_db: float) -> None:
        """Act on a frame that the node decoded, see `Router`."""
        self._at(node, "on_receive").on_receive(frame, snr_db)

    def listener(self, node: SeaNode[State]) -> Callable[[Frame, float], None]:
        """What is called with every frame that *node* decodes: `on_receive`, or straight away that of its router."""
        if type(self).on_receive is Routing.on_receive and isinstance(node.state, Router):
            return node.state.on_receive
        return partial(self.on_receive, node)

    def processes(self, node: SeaNode[State]) -> Iterable[Process]:
        """Background processes of one node (beacons, queues)."""
        return node.state.processes() if isinstance(node.state, Router) else ()

    def learn(self, node: SeaNode[State], history: LinkHistory) -> None:
        """Use the history of the links before the run."""
        if isinstance(node.state, Router):
            node.state.learn(history)

    def forecast(self, node: SeaNode[State], receiver: int, at_s: float) -> Forecast | None:
        """What this node expects of its link to *receiver* at a time; None for a protocol that predicts nothing."""
        return node.state.forecast(receiver, at_s) if isinstance(node.state, Router) else None

    def priced_forecast(self, node: SeaNode[State], receiver: int, at_s: float) -> tuple[Forecast | None, Work]:
        """The same for a program that pays for it, with the work of making it."""
        return node.state.priced_forecast(receiver, at_s) if isinstance(node.state, Router) else (None, Work())

    def _at(self, node: SeaNode[State], needed: str) -> Router:
        if not isinstance(node.state, Router):
            raise ScenarioError(
                f"routing '{self.type_name()}': its state is a {type(node.state).__name__}; return a Router from 'init', "
                f"or define '{needed}'"
            )
        return node.state
