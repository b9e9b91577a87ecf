"""The mail of one sea: all messages with content between its nodes and sinks.

Ranks are addresses: sensor nodes are 0 to n-1, sinks n to n+m-1, as their ids are; rank n+m is a service that lives at the first sink (the
hub of a star) and has mail of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simpy.events import Event

from toolkit.acoustic.packets import EVERYBODY, Packet, PacketTracker
from toolkit.acoustic.transport import Transport
from toolkit.acoustic.transport.incoming import Incoming
from toolkit.acoustic.transport.messages import RECEIPT, RECEIPT_BYTES, Announcement, Fragment, Message, Outgoing, Receipt
from toolkit.core.context import Delivery, Payload
from toolkit.core.world import World
from toolkit.errors import ScenarioError

Route = Callable[[Packet], None]


class SeaMail:
    """Sends messages as packets, and gives every packet that arrives to whom it is for."""

    def __init__(
        self, spec: Transport, world: World, tracker: PacketTracker, *, nodes: int, sinks: int, route: Route,
        airtime_s: Callable[[float], float],
    ) -> None:
        """*route* takes a packet that its source holds and lets it go; *airtime_s* is what a frame of so many bytes takes."""
        self.spec = spec
        self.env = world.env
        self.airtime_s = airtime_s
        self.hub = nodes + sinks
        """Address of the service at the first sink."""
        self.may_tear: Callable[[Message], bool] = lambda _: True
        """Whether the program lives with the loss of a message."""
        self.tell_all: Route | None = None
        """Takes a packet for everybody that its sink does not hold yet; none where packets go to one end each."""
        self._world, self._tracker, self._route = world, tracker, route
        self._first_sink = nodes
        self._outgoing: dict[tuple[int, int], Outgoing] = {}
        self._incoming: dict[tuple[int, int], Incoming] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._messages: list[Message] = []
        self._dead: set[int] = set()

    def place(self, rank: int) -> int:
        """Return the node or sink at which *rank* is."""
        return self._first_sink if rank == self.hub else rank

    # What programs ask for

    def send(self, src: int, dst: int, nbytes: int, phase: str, payload: Payload | None) -> Message:
        """Start a message; it fires, with its `Delivery`, when the sender is done with it.

        Raises:
            ScenarioError: there is nobody of that rank.
        """
        if not 0 <= dst <= self.hub:
            raise ScenarioError(f"program: node {src} sends to rank {dst}; ranks go from 0 to {self.hub - 1} here")
        message = self._new(src, dst, nbytes, phase, payload.clone() if payload is not None else None)
        if self.place(src) == self.place(dst):
            self.env.call_in(0.0, lambda _: self._at_home(message))
        else:
            self._sender(src, dst).push(message)
        return message

    def announce(self, src: int, ranks: Sequence[int], nbytes: int, phase: str, payload: Payload) -> list[Message]:
        """Start the same message to several ranks: where there is a way to tell many at once, each fragment is one packet for all."""
        content = payload.clone()
        messages = [self._new(src, dst, nbytes, phase, content) for dst in ranks]
        joined = [message for message in messages if self.tell_all is not None and self._sender(src, message.dst).join(message)]
        for message in messages:
            if message not in joined:
                self._sender(src, message.dst).push(message)
        for place in range(messages[0].count if joined else 0):
            body = Announcement(tuple(joined), place)
            packet = self._tracker.create(self.place(src), messages[0].packet_nbytes(place), dst=EVERYBODY, body=body)
            assert self.tell_all is not None
            self.tell_all(packet)
        return messages

    def heard(self, node: int, packet: Packet, hops: int) -> None:
        """*node* has heard a packet that is for everybody, after so many hops."""
        body = packet.body
        if not isinstance(body, Announcement) or node in self._dead:
            return
        for message in body.messages:
            if message.dst == node:
                message.hops = max(message.hops, hops)
                self._receiver(message.src, message.dst).take(Fragment(message, body.place))

    def claim(self, src: int, dst: int) -> Event:
        """Return the event of the next unread message from *src* at *dst*: its payload, or a `Torn`."""
        return self._receiver(src, dst).claim()

    def withdraw(self, message: Message) -> None:
        """Send no more of a message, if its sender is not done with it."""
        if not message.triggered and (message.src, message.dst) in self._outgoing:
            self._outgoing[message.src, message.dst].withdraw(message)

    # What transports ask for

    def send_fragment(self, message: Message, index: int) -> Event:
        """Let a fragment go as a packet; return the event of its packet's end."""
        return self._launch(message.src, message.dst, message.packet_nbytes(index), "data", Fragment(message, index))

    def send_receipt(self, receipt: Receipt, window: int) -> None:
        """Let a receipt go as a packet, from the receiver of a message to its sender."""
        self._launch(receipt.dst, receipt.src, RECEIPT_BYTES + -(-window // 8), RECEIPT, receipt)

    def tell(self, message: Message, outcome: str) -> None:
        """Write down what became of a message, once."""
        if not message.told:
            message.told = True
            begun_s = message.begun_s
            self._world.ledger.charge(
                begun_s, self.env.now - begun_s, self.place(message.src), self.place(message.dst), "message", phase=message.phase,
                nbytes=message.nbytes, outcome=outcome, packet=message.id,
            )

    def end(self, message: Message, outcome: str, reason: str) -> None:
        """Tell the sender's program that the transport is done with a message."""
        self.tell(message, outcome)
        if outcome == "delivered":
            message.payload = None  # the receiver has it
        if not message.triggered:
            outcome = "delivered" if outcome == "delivered" else "lost"
            message.succeed(Delivery(outcome, message.begun_s, self.env.now, message.hops, reason))

    def lose(self, message: Message, reason: str) -> None:
        """Give a message up.

        Raises:
            ScenarioError: the program cannot live with that.
        """
        self.end(message, "lost", reason)
        if reason != "dead" and not self.may_tear(message):
            raise ScenarioError(
                f"fabric.transport: the message of {message.nbytes} bytes from node {message.src} to node {message.dst} was given up after "
                f"{self.env.now - message.begun_s:.0f} s ({reason}), and the program waits for every message; give it more tries, a longer "
                "lifetime_s, or neither"
            )

    # What the network tells

    def bury(self, node: int) -> None:
        """A node has died: it sends nothing any more."""
        self._dead.add(node)
        for (src, _), outgoing in list(self._outgoing.items()):
            if self.place(src) == node:
                outgoing.stop()

    def finish(self) -> None:
        """Write down the messages that are still under way."""
        for message in self._messages:
            self.tell(message, "in_flight")

    def _new(self, src: int, dst: int, nbytes: int, phase: str, content: Payload | None) -> Message:
        number = self._numbers.get((src, dst), 0)
        self._numbers[src, dst] = number + 1
        message = Message(
            self.env, src, dst, number=number, id=len(self._messages), nbytes=nbytes, room_nbytes=self.spec.room_nbytes, phase=phase,
            payload=content,
        )
        self._messages.append(message)
        return message

    def _launch(self, src: int, dst: int, nbytes: int, kind: str, body: Fragment | Receipt) -> Event:
        packet = self._tracker.create(self.place(src), nbytes, dst=self.place(dst), kind=kind, body=body)
        assert packet.done.callbacks is not None
        packet.done.callbacks.append(lambda event: self._arrived(packet, event.value))
        self._route(packet)
        return packet.done

    def _arrived(self, packet: Packet, delivery: Delivery) -> None:
        """A packet has come to its end; if that is where it should go, what it holds is taken."""
        if delivery.outcome != "delivered" or packet.dst in self._dead:
            return
        body = packet.body
        if isinstance(body, Receipt):
            self._sender(body.src, body.dst).take(body)
        elif isinstance(body, Fragment):
            body.message.hops = max(body.message.hops, delivery.hops)
            self._receiver(body.message.src, body.message.dst).take(body)

    def _at_home(self, message: Message) -> None:
        """A message to somebody at the same place takes no packet."""
        receiver = self._receiver(message.src, message.dst)
        for index in range(message.count):
            receiver.take(Fragment(message, index))
        self.end(message, "delivered", "")

    def _sender(self, src: int, dst: int) -> Outgoing:
        found = self._outgoing.get((src, dst))
        if found is None:
            found = self._outgoing[src, dst] = self.spec.outgoing(self, src, dst)
            if self.place(src) in self._dead:
                found.stop()
        return found

    def _receiver(self, src: int, dst: int) -> Incoming:
        found = self._incoming.get((src, dst))
        if found is None:
            rule = self.spec.receipts() if self.place(src) != self.place(dst) else None
            found = self._incoming[src, dst] = Incoming(self, src, dst, rule=rule, waits_s=self.spec.waits_s())
        return found

