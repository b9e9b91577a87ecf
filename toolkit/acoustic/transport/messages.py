"""What travels: messages, their fragments, and receipts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol

from simpy.events import Event

from toolkit.core.alarm import Clock
from toolkit.core.context import Payload, Torn

HEADER_BYTES = 10
"""In front of the content of every fragment: from 2, to 2, message 2, fragment 2, fragments in all 2."""
RECEIPT_BYTES = 10
"""From 2, to 2, message 2, all came before fragment 2, fragment that is answered 2; and a bit for each later one in the window."""
RECEIPT = "receipt"
"""What frames with receipts are called in the ledger."""


def fragments_of(nbytes: int, room_nbytes: int) -> int:
    """Return in how many fragments a message travels; an empty one in one."""
    return max(1, -(-nbytes // room_nbytes))


class Message(Event):
    """A message of one rank to another; as an event it fires, with a `Delivery`, when its sender is done with it."""

    def __init__(
        self, env: Clock, src: int, dst: int, *, number: int, id: int, nbytes: int, room_nbytes: int, phase: str,
        payload: Payload | None,
    ) -> None:
        super().__init__(env)
        self.number = number
        """Counts the messages of one sender to one receiver."""
        self.id = id
        """Counts the messages of a run."""
        self.src, self.dst = src, dst
        self.nbytes = nbytes
        self.room_nbytes = room_nbytes
        self.count = fragments_of(nbytes, room_nbytes)
        self.phase = phase
        self.payload = payload
        self.begun_s = float(env.now)
        self.hops = 0
        """Most transmissions that one of its fragments took."""
        self.told = False
        """Whether what became of it is in the ledger."""
        self.withdrawn = False

    def bytes_of(self, index: int) -> tuple[int, int]:
        """Return the range of bytes (first, one after the last) that fragment *index* holds."""
        return index * self.room_nbytes, min((index + 1) * self.room_nbytes, self.nbytes)

    def packet_nbytes(self, index: int) -> int:
        """Return the size of the packet that fragment *index* is."""
        first, end = self.bytes_of(index)
        return HEADER_BYTES + end - first

    def torn(self, came: set[int]) -> Torn:
        """Return what a receiver has of it who only got the fragments *came*."""
        missing = _joined([self.bytes_of(index) for index in range(self.count) if index not in came])
        there = _joined([self.bytes_of(index) for index in sorted(came)])
        return Torn(self.nbytes if came else 0, tuple(missing), _pieces(self.payload, there))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges of bytes, given in order, where one ends and the next begins."""
    joined: list[tuple[int, int]] = []
    for first, end in ranges:
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def _pieces(payload: Payload | None, there: list[tuple[int, int]]) -> tuple[tuple[slice, Payload], ...]:
    """The elements of *payload* that lie wholly in the ranges of bytes *there*."""
    count = 0 if payload is None else payload.numel()
    if payload is None or not count:
        return ()
    size = payload.nbytes // count
    places = [slice(-(-first // size), min(end // size, count)) for first, end in there]
    return tuple((place, payload[place].clone()) for place in places if place.start < place.stop)


class Fragment(NamedTuple):
    """The content of one packet."""

    message: Message
    place: int


class Announcement(NamedTuple):
    """The content of one packet that is for many: a fragment of messages that say the same, one to each receiver."""

    messages: tuple[Message, ...]
    place: int


class Receipt(NamedTuple):
    """What a receiver has of a message: all fragments before one, and some beyond it."""

    src: int
    """Sender of the message."""
    dst: int
    """Its receiver, who sends this."""
    number: int
    before: int
    beyond: frozenset[int]
    answers: int
    """The fragment whose coming made the receiver send it."""


class ReceiptRule(NamedTuple):
    """When a receiver answers: so many new fragments, or what came when it is quiet for a while; receipts have a bit per fragment."""

    per_receipt: int
    wait_s: float
    window: int


class Courier(Protocol):
    """What senders and receivers need of the mail around them; `toolkit.acoustic.transport.mail.SeaMail` is one."""

    env: Clock
    airtime_s: Callable[[float], float]

    def send_fragment(self, message: Message, index: int) -> Event: ...
    def send_receipt(self, receipt: Receipt, window: int) -> None: ...
    def tell(self, message: Message, outcome: str) -> None: ...
    def end(self, message: Message, outcome: str, reason: str) -> None: ...
    def lose(self, message: Message, reason: str) -> None: ...


class Outgoing(ABC):
    """What sends the messages of one rank to one other, in order."""

    @abstractmethod
    def push(self, message: Message) -> None:
        """Take a message; those before it come first."""

    def join(self, message: Message) -> bool:
        """Take a message whose fragments are all announced to many at this moment, if none is under way; False: it has to be pushed."""
        return False

    def take(self, receipt: Receipt) -> None:  # noqa: B027 - only some transports have receipts
        """Act on a receipt."""

    @abstractmethod
    def withdraw(self, message: Message) -> None:
        """Send nothing more of a message."""

    @abstractmethod
    def stop(self) -> None:
        """The sender is no more."""
