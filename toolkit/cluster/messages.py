"""Messages of a cluster: each is a flow over the links of its route, and lies in a mailbox until the receiver asks for it.

Where machines have a `message_overhead_s`, a message leaves once its sender has handled it and is there once its receiver has; each machine
handles one message at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from simpy.events import Event, Timeout

from toolkit.cluster.flows import Flow, Links
from toolkit.cluster.maxmin import Use
from toolkit.cluster.settings import ClusterSettings
from toolkit.cluster.topology import BuiltTopology
from toolkit.core.context import Delivery, Payload
from toolkit.core.device import Device
from toolkit.core.world import World


class Message(Event):
    """A message on its way; as an event it fires when the last byte has arrived, with its `Delivery`."""

    def __init__(self, mail: Mail, path: Path, nbytes: int, phase: str, payload: Payload | None) -> None:
        self.env = env = mail.env  # what Event's own __init__ does, without calling it half a million times
        self.callbacks = []
        self.mail = mail
        self.path = path
        self.nbytes = nbytes
        self.phase = phase
        self.payload = payload
        self.begun_s = env.now
        self.claim: Event | None = None
        """What the receiver waits for, if it does already."""
        self.flow: Flow | None = None
        self.dropped = False
        """Whether a new group was formed while it was under way; nobody waits for it any more."""

    def arrive(self, left_s: float) -> None:
        """Write down what the message cost, and tell at once whoever waits for it (events of their own would treble the events)."""
        if self.dropped:
            return
        self.flow = None
        path, begun_s = self.path, self.begun_s
        mail = self.mail
        mail.ledger.charge(
            begun_s, left_s - begun_s, path.src, path.dst, "tx", phase=self.phase, nbytes=self.nbytes,
            energy_j=self.nbytes * path.energy_j_per_byte + path.handling_j, outcome="delivered",
        )
        if path.received_in_s:
            mail.handle(path.dst, path.received_in_s).callbacks.append(self._hand_over)
        else:
            self._hand_over()

    def leave(self, _: Event | None = None) -> None:
        """Go on its way."""
        if self.dropped:
            return
        mail, path = self.mail, self.path
        if self.nbytes and path.uses:
            self.flow = mail.links.start(path.uses, self.nbytes, path.latency_s, self)
        else:
            arrival = self.env.timeout(path.latency_s)
            left_s = self.env.now
            arrival.callbacks.append(lambda _: self.arrive(left_s))

    def _hand_over(self, _: Event | None = None) -> None:
        if self.dropped:
            return
        if self.mail.may_lose_peers:
            self.mail.under_way.discard(self)
        _fire(self, Delivery("delivered", self.begun_s, self.env.now, len(self.path.uses)))
        if self.claim is not None:
            _fire(self.claim, self.payload)


def _fire(event: Event, value: object) -> None:
    """Let *event* happen in this very step."""
    event._ok, event._value = True, value
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)


class Path(NamedTuple):
    """What a message from one node to another takes."""

    src: int
    dst: int
    uses: tuple[Use, ...]
    latency_s: float
    energy_j_per_byte: float
    sent_in_s: float
    """What the sender spends on it before it leaves."""
    received_in_s: float
    """What the receiver spends on it when it is there."""
    handling_j: float
    """What both draw for that, beyond idling."""


class Mailbox:
    """The way from one node to another: what a message on it takes, and its mail."""

    __slots__ = ("claims", "messages", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: deque[Message] = deque()
        """Sent, and not asked for yet."""
        self.claims: deque[Event] = deque()
        """Asked for, and not sent yet."""


class Mail:
    """All messages between the nodes of a cluster."""

    def __init__(self, spec: ClusterSettings, built: BuiltTopology, world: World) -> None:
        self.env, self.ledger = world.env, world.ledger
        self._network, self._built = spec.network, built
        self.links = Links(world.env, (built.rate_bps * spec.network.bandwidth_factor).tolist())
        self.members = list(range(len(built.nodes)))
        """Nodes by rank in the present group; servers last."""
        self.may_lose_peers = bool(spec.failures.crashes)
        self.under_way: set[Message] = set()
        """Kept only where a crash will make them void."""
        self._mailboxes: dict[tuple[int, int], Mailbox] = {}
        self._devices: Mapping[int, Device] = {}
        self._handled_until_s = [0.0] * len(built.nodes)

    def machines(self, devices: Mapping[int, Device]) -> None:
        """Say which machine each node is, before the first message; without that handling one takes none of them any time."""
        self._devices = devices

    def handle(self, node: int, overhead_s: float) -> Timeout:
        """Let *node* handle one more message, after those that it has to; the event fires when it has."""
        now = self.env.now
        until_s = self._handled_until_s[node] = max(now, self._handled_until_s[node]) + overhead_s
        return Timeout(self.env, until_s - now)

    def transfer(self, src: int, dst: int, nbytes: int, phase: str, payload: Payload | None, late_s: float = 0.0) -> Message:
        """Start a message, *late_s* from now; the event fires with its `Delivery` when the last byte has arrived."""
        mailbox = self._mailboxes.get((src, dst)) or self._open(src, dst)
        path = mailbox.path
        message = Message(self, path, nbytes, phase, payload.clone() if payload is not None else None)
        if mailbox.claims:
            message.claim = mailbox.claims.popleft()
        else:
            mailbox.messages.append(message)
        if self.may_lose_peers:
            self.under_way.add(message)
        if path.sent_in_s or late_s:
            self.handle(src, path.sent_in_s + late_s).callbacks.append(message.leave)
        else:
            message.leave()
        return message

    def claim(self, src: int, dst: int) -> Event:
        """Return the event of the next unread message from *src* at *dst*; its value is the payload."""
        mailbox = self._mailboxes.get((src, dst)) or self._open(src, dst)
        event = Event(self.env)
        if not mailbox.messages:
            mailbox.claims.append(event)
            return event
        message = mailbox.messages.popleft()
        if message.processed:
            event._ok, event._value, event.callbacks = True, message.payload, None  # type: ignore[assignment]
        else:
            message.claim = event
        return event

    def path(self, src: int, dst: int) -> Path:
        """Return what a message from node *src* to node *dst* takes."""
        return (self._mailboxes.get((src, dst)) or self._open(src, dst)).path

    def _open(self, src: int, dst: int) -> Mailbox:
        network, built = self._network, self._built
        route = built.route(src, dst)
        back = built.route(dst, src) if network.ack_share else ()
        uses = tuple((link, 1.0) for link in route) + tuple((link, network.ack_share) for link in back if link not in route)
        latency_s = network.latency_factor * sum(float(built.delay_s[link]) for link in route)
        energy_j = 8.0 * sum(float(built.energy_j_per_bit[link]) for link in route)
        ends = [self._devices.get(node) for node in (src, dst)] if src != dst else [None, None]
        sent_in_s, received_in_s = (device.handling_s if device else 0.0 for device in ends)
        handling_j = sum(device.handling_j for device in ends if device)
        path = Path(src, dst, uses, latency_s, energy_j, sent_in_s, received_in_s, handling_j)
        mailbox = self._mailboxes[src, dst] = Mailbox(path)
        return mailbox

    def waits(self) -> list[tuple[int, int]]:
        """Return who waits for a message of whom: (receiver, sender)."""
        return [(dst, src) for (src, dst), mailbox in self._mailboxes.items() if mailbox.claims]

    def drop_all(self) -> None:
        """Forget all messages under way, unread or waited for."""
        for message in self.under_way:
            if message.flow is not None:
                self.links.cancel(message.flow)
            message.dropped = True
        self.under_way.clear()
        for mailbox in self._mailboxes.values():
            mailbox.messages.clear()
            mailbox.claims.clear()
