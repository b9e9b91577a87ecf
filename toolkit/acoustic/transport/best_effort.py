"""Best effort: every fragment is sent once, and the receiver is told what is missing."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import ClassVar, final

from pydantic import Field
from simpy.events import Event

from toolkit.acoustic.transport import Transport
from toolkit.acoustic.transport.messages import Courier, Message, Outgoing
from toolkit.core.context import Delivery
from toolkit.core.program import Process


@final
class BestEffort(Transport):
    """Fragments follow one another at a pace, and no receipt comes back.

    The receiver takes a message for done when all of it has come, or when a later one has begun and nothing came of this one for
    `patience_s`. It is never told of a message that no later one follows: a program that waits has to know how long. What ``ctx.send``
    gives fires when all fragments have come or are lost, which no sender could know.
    """

    lossy: ClassVar[bool] = True

    pace: float = Field(2.0, ge=1, description="time between two fragments, as a multiple of the time that one takes on the air")
    patience_s: float = Field(120.0, ge=0, description="how long the rest of a message may take once a later one has begun")

    def waits_s(self) -> float:
        return self.patience_s

    def receipts(self) -> None:
        return None

    def outgoing(self, mail: Courier, src: int, dst: int) -> Outgoing:
        return Pacer(self, mail)


class Pacer(Outgoing):
    """Sends messages fragment by fragment."""

    def __init__(self, spec: BestEffort, mail: Courier) -> None:
        self.spec = spec
        self.mail = mail
        self._queue: deque[Message] = deque()
        self._busy = False
        self._stopped = False
        self._left: dict[int, list[int]] = {}
        """Fragments of a message that are not sent or under way, and how many of it were lost."""

    def push(self, message: Message) -> None:
        if self._stopped:
            self.mail.lose(message, "dead")
            return
        self._queue.append(message)
        if not self._busy:
            self.mail.env.process(self._send())

    def withdraw(self, message: Message) -> None:
        message.withdrawn = True

    def stop(self) -> None:
        self._stopped = True

    def _send(self) -> Process:
        self._busy = True
        while self._queue:
            message = self._queue.popleft()
            left = self._left[message.id] = [message.count, 0]
            for index in range(message.count):
                if message.withdrawn or self._stopped:
                    left[0] -= message.count - index
                    left[1] += message.count - index
                    break
                done = self.mail.send_fragment(message, index)
                assert done.callbacks is not None
                done.callbacks.append(partial(self._one_less, message))
                yield self.mail.env.timeout(self.spec.pace * self.mail.airtime_s(message.packet_nbytes(index)))
            self._see(message)
        self._busy = False

    def _one_less(self, message: Message, packet_ended: Event) -> None:
        left = self._left[message.id]
        delivery = packet_ended.value
        assert isinstance(delivery, Delivery)
        left[0] -= 1
        left[1] += delivery.outcome != "delivered"
        self._see(message)

    def _see(self, message: Message) -> None:
        """End a message of which nothing is under way any more."""
        left = self._left.get(message.id)
        if left is None or left[0] > 0:
            return
        del self._left[message.id]
        if left[1] == message.count:
            self.mail.end(message, "lost", "dead" if self._stopped else "withdrawn" if message.withdrawn else "fragments")
        else:
            self.mail.end(message, "delivered" if left[1] == 0 else "torn", "" if left[1] == 0 else "fragments")
