"""The cluster at work: messages as flows, the mail between nodes, failures, and the books at the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from simpy.events import Event

from toolkit.cluster.failures import stretched_by_absences
from toolkit.cluster.flows import Flow, Links
from toolkit.cluster.maxmin import Use
from toolkit.cluster.meeting import Meeting, add_s_per_byte
from toolkit.cluster.stragglers.none import NoStragglers
from toolkit.cluster.worker import CRASH, WorkerContext, drive
from toolkit.collectives import AllReduce, LinkCost
from toolkit.core.context import Context, Delivery, Payload
from toolkit.core.program import Process, Program
from toolkit.core.world import World
from toolkit.errors import ScenarioError, ToolkitError

if TYPE_CHECKING:
    from toolkit.cluster.fabric import Cluster


class Letter(Event):
    """A message on its way; as an event it fires when the last byte has arrived, with its `Delivery`."""

    def __init__(self, network: ClusterNetwork, path: Path, nbytes: int, phase: str, payload: Payload | None) -> None:
        self.env = env = network.env  # what Event's own __init__ does, without calling it half a million times
        self.callbacks = []
        self.network = network
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
        network = self.network
        network.ledger.charge(
            begun_s, left_s - begun_s, path.src, path.dst, "tx", self.phase, 0.0, self.nbytes,
            self.nbytes * path.energy_j_per_byte, "delivered",
        )
        if network.may_lose_peers:
            network.under_way.discard(self)
        _fire(self, Delivery("delivered", begun_s, self.env.now, len(path.uses)))
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


class Lane:
    """The way from one node to another: what a message on it takes, and its mail."""

    __slots__ = ("claims", "letters", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.letters: deque[Letter] = deque()
        """Sent, and not asked for yet."""
        self.claims: deque[Event] = deque()
        """Asked for, and not sent yet."""


class ClusterNetwork:
    """Workers, servers and the links between them in one world."""

    def __init__(self, spec: Cluster, world: World) -> None:
        self.spec = spec
        self.world = world
        self.env, self.ledger = world.env, world.ledger
        self.wiring = spec.wiring()
        network = spec.network
        self.links = Links(world.env, (self.wiring.rate_bps * network.bandwidth_factor).tolist())
        self.meeting = Meeting(self)
        self.lost: list[int] = []
        self._lanes: dict[tuple[int, int], Lane] = {}
        self.may_lose_peers = bool(spec.failures.crashes)
        self.under_way: set[Letter] = set()
        """Kept only where a crash will make them void."""
        self._slow = spec.stragglers.init(self.wiring, world.streams)
        self._away = spec.absences(self.wiring)
        self.undisturbed = not self._away and isinstance(spec.stragglers, NoStragglers)
        self.workers = [WorkerContext(self, node, spec.device_of(name)) for node, name in enumerate(self.wiring.nodes)]
        self.members = list(range(len(self.workers)))
        """Nodes by rank in the present group; servers last."""
        for crash in spec.failures.crashes:
            world.env.process(self._crash(self.wiring.index_of_node(crash.node), crash.at_s))
        for slow in spec.failures.degradations:
            world.env.process(self._degrade(self.wiring.index_of_link(slow.link), slow.factor, slow.from_s, slow.to_s))

    @property
    def contexts(self) -> list[Context]:
        return list(self.workers)

    def launch(self, program: Program) -> Event:
        """Start *program* on every node; the event fires when all have come to their end."""
        processes = []
        for ctx in self.workers:
            ctx.process_handle = self.world.env.process(drive(ctx, program.run(ctx)))
            processes.append(ctx.process_handle)
        return self.world.env.all_of(processes)

    def stuck(self) -> ToolkitError:
        """Say who waits for whom when nothing moves any more although programs are not at their end."""
        names = self.wiring.nodes
        waits = [f"{names[dst]} waits for {names[src]}" for (src, dst), lane in self._lanes.items() if lane.claims]
        return ToolkitError(f"the program cannot go on: {'; '.join(waits) or 'it waits for what never comes'}")

    def refuse(self, *_: Any) -> Event:
        raise ToolkitError("a worker's messages go through WorkerContext.send")

    def transfer(self, src: int, dst: int, nbytes: int, phase: str, payload: Payload | None) -> Letter:
        """Start a message; the event fires with its `Delivery` when the last byte has arrived."""
        lane = self._lanes.get((src, dst)) or self._open(src, dst)
        path = lane.path
        letter = Letter(self, path, nbytes, phase, payload.clone() if payload is not None else None)
        if lane.claims:
            letter.claim = lane.claims.popleft()
        else:
            lane.letters.append(letter)
        if self.may_lose_peers:
            self.under_way.add(letter)
        if nbytes and path.uses:
            letter.flow = self.links.start(path.uses, nbytes, path.latency_s, letter)
        else:
            arrival = self.env.timeout(path.latency_s)
            left_s = self.env.now
            arrival.callbacks.append(lambda _: letter.arrive(left_s))
        return letter

    def claim(self, src: int, dst: int) -> Event:
        """Return the event of the next unread message from *src* at *dst*; its value is the payload."""
        lane = self._lanes.get((src, dst)) or self._open(src, dst)
        event = Event(self.env)
        if not lane.letters:
            lane.claims.append(event)
            return event
        letter = lane.letters.popleft()
        if letter.processed:
            event._ok, event._value, event.callbacks = True, letter.payload, None  # type: ignore[assignment]
        else:
            letter.claim = event
        return event

    def path(self, src: int, dst: int) -> Path:
        """Return what a message from node *src* to node *dst* takes."""
        return (self._lanes.get((src, dst)) or self._open(src, dst)).path

    def _open(self, src: int, dst: int) -> Lane:
        network, wiring = self.spec.network, self.wiring
        route = wiring.route(src, dst)
        back = wiring.route(dst, src) if network.ack_share else ()
        uses = tuple((link, 1.0) for link in route) + tuple((link, network.ack_share) for link in back if link not in route)
        latency_s = network.latency_factor * sum(float(wiring.delay_s[link]) for link in route)
        energy_j = 8.0 * sum(float(wiring.energy_j_per_bit[link]) for link in route)
        lane = self._lanes[src, dst] = Lane(Path(src, dst, uses, latency_s, energy_j))
        return lane

    def schedule(self, kind: str) -> AllReduce:
        """Return the all-reduce that a request names (``all_reduce:ring``), or this cluster's (``all_reduce``)."""
        _, _, name = kind.partition(":")
        return AllReduce.find(name)() if name else self.spec.collectives.all_reduce

    def link_cost(self) -> LinkCost:
        """The constants of the closed forms: those of the path from the first to the second worker."""
        if len(self.workers) < 2:
            return LinkCost(0.0, 0.0, 0.0)
        path = self.path(0, 1)
        slowest = min(self.links.bytes_per_s[link] / weight for link, weight in path.uses)
        return LinkCost(path.latency_s, 1.0 / slowest, add_s_per_byte(self.workers[0].device))

    def charge_ideal(self, rank: int, nbytes: float, phase: str, dur_s: float) -> None:
        """Write down one worker's part of a collective that is priced by its closed form."""
        node = self.members[rank]
        energy_j = nbytes * self.path(0, 1).energy_j_per_byte if len(self.workers) > 1 else 0.0
        self.world.ledger.charge(self.world.now, dur_s, node, -1, "tx", phase, 0.0, round(nbytes), energy_j, "delivered")

    def stretched_s(self, node: int, start_s: float, dur_s: float) -> float:
        """How long a computation takes on a machine that may be slow or away (where none is, nobody needs to ask)."""
        return stretched_by_absences(self._away.get(node, []), start_s, dur_s * self._slow(node, start_s))

    def _degrade(self, link: int, factor: float, from_s: float, to_s: float) -> Process:
        whole_bps = 8.0 * self.links.bytes_per_s[link]
        yield self.world.env.timeout(from_s)
        self.links.change_rate(link, whole_bps * factor)
        yield self.world.env.timeout(to_s - from_s)
        self.links.change_rate(link, whole_bps)

    def _crash(self, node: int, at_s: float) -> Process:
        """Take a worker out, and after the time-out form a group of those that are left."""
        env, ctx = self.world.env, self.workers[node]
        yield env.timeout(at_s)
        if not ctx.alive or ctx.process_handle is None:
            return
        ctx.process_handle.interrupt(CRASH)
        self.lost.append(node)
        self.world.ledger.metric(env.now, "crash", 1.0, self.wiring.nodes[node])
        yield env.timeout(self.spec.failures.detect_s)
        self._form_group(node)

    def _form_group(self, lost: int) -> None:
        """Drop all messages under way, give out new ranks and tell every program."""
        for letter in self.under_way:
            if letter.flow is not None:
                self.links.cancel(letter.flow)
            letter.dropped = True
        self.under_way.clear()
        for lane in self._lanes.values():
            lane.letters.clear()
            lane.claims.clear()
        self.meeting.forget()
        self.members.remove(lost)
        size = sum(node < self.spec.workers for node in self.members)
        for rank, node in enumerate(self.members):
            ctx = self.workers[node]
            ctx.rank, ctx.size = rank, size
            ctx.idle_again()
            if ctx.alive and ctx.process_handle is not None:
                ctx.process_handle.interrupt(lost)

    def finish(self) -> None:
        """Charge what machines and interfaces draw while they wait, and record how far the links were used."""
        ledger, env = self.world.ledger, self.world.env
        end_s = float(env.now)
        wiring = self.wiring
        for ctx in self.workers:
            idle_s = max(0.0, end_s - ctx.busy_s)
            ledger.charge(0.0, idle_s, ctx.node, ctx.node, "idle", "host", energy_j=idle_s * ctx.device.idle_w, outcome="done")
            for rows in ctx.script.rows:
                ledger.request(rows)
        for link, name in enumerate(wiring.links):
            draw_j = end_s * float(wiring.idle_w[link]) if len(self.workers) > 1 else 0.0  # a machine alone is on no network
            if draw_j:
                ledger.charge(0.0, end_s, -1, -1, "idle", f"link {name}", energy_j=draw_j, outcome="done")
            capacity = self.links.bytes_per_s[link] * end_s
            if self.links.carried_bytes[link] and capacity:
                ledger.metric(end_s, "link_utilisation", self.links.carried_bytes[link] / capacity, name)
        ledger.metric(end_s, "end_s", end_s)


def check_group(spec: Cluster) -> None:
    """Refuse crashes that leave nobody, and names that the topology does not know."""
    wiring = spec.wiring()
    for place, names, find in (
        ("failures.crashes", [crash.node for crash in spec.failures.crashes], wiring.index_of_node),
        ("failures.absences", [absence.node for absence in spec.failures.absences], wiring.index_of_node),
        ("failures.degradations", [slow.link for slow in spec.failures.degradations], wiring.index_of_link),
        ("node_devices", list(spec.node_devices), wiring.index_of_node),
    ):
        for name in names:
            try:
                node = find(name)
            except ValueError as error:
                raise ScenarioError(f"fabric.{place}: {error}") from error
            if place == "failures.crashes" and node >= spec.workers:
                raise ScenarioError(f"fabric.{place}: '{name}' is a server; only workers can be lost (the method has no second server)")
    if len({crash.node for crash in spec.failures.crashes}) >= spec.workers:
        raise ScenarioError(f"fabric.failures.crashes: all {spec.workers} workers crash; at least one must be left")


