"""Transport: messages with content between any nodes and sinks, in fragments that are packets of whatever routing protocol there is.

A message of a program (`ctx.send`) is cut into fragments that fit into `frame_nbytes` with a header of `HEADER_BYTES`; each is a packet of
`toolkit.acoustic.packets.PacketTracker` like any other, so that packets generated stay packets delivered, lost or in flight. The receiver
puts them together, and hands messages of one sender over in the order in which they were sent (`ctx.recv`). What is handed over is the
content that was sent, as soon as all of it has come; of a message that is not whole the receiver is told which bytes are missing
(`toolkit.core.context.Torn`), and nothing stands in for them.

Modules: `messages` (what travels), `incoming` (putting together), `reliable` and `best_effort` (sending), `mail` (all of it in one
network), `service` (ways, and programs on nodes and sinks), `foresight` (what is said before a run). Addresses are ranks: nodes first,
then sinks.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from pydantic import Field, model_validator

from toolkit.acoustic.routing.way_down import WaySettings
from toolkit.acoustic.transport.messages import HEADER_BYTES, Courier, Outgoing, ReceiptRule, fragments_of
from toolkit.core.part import Part


class Transport(Part):
    """How messages with content get from one node or sink to another."""

    family: ClassVar[str] = "transport"
    lossy: ClassVar[bool] = False
    """Whether parts of messages may never come; programs have to say that they can live with it."""

    frame_nbytes: int = Field(128, ge=1, le=65_535, description="longest packet, with the transport's header and without the routing's")
    ways: WaySettings = Field(WaySettings(), description="how packets get from sinks to nodes, for protocols that only know the way up")

    @model_validator(mode="after")
    def _room_for_content(self) -> Self:
        if self.frame_nbytes <= HEADER_BYTES:
            raise ValueError(
                f"frame_nbytes: {self.frame_nbytes} bytes have no room for the header of {HEADER_BYTES} and any content; "
                f"give at least {HEADER_BYTES + 1}"
            )
        return self

    @property
    def room_nbytes(self) -> int:
        """Bytes of content in a full fragment."""
        return self.frame_nbytes - HEADER_BYTES

    def on_air_nbytes(self, nbytes: float) -> tuple[float, int]:
        """Return the bytes of all packets of a message of *nbytes*, sent once each, and how many packets that is."""
        count = fragments_of(int(nbytes), self.room_nbytes)
        return nbytes + count * HEADER_BYTES, count

    @abstractmethod
    def waits_s(self) -> float:
        """Return how long in s a receiver waits for the rest of a message once it knows that the sender has gone on to another."""

    @abstractmethod
    def receipts(self) -> ReceiptRule | None:
        """Return when receivers answer; None where they do not."""

    @abstractmethod
    def outgoing(self, mail: Courier, src: int, dst: int) -> Outgoing:
        """Return what sends the messages of rank *src* to rank *dst*."""
