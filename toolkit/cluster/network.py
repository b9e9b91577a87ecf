"""The cluster at work: messages as flows, the mail between nodes, failures, and the books at the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from toolkit.cluster.failures import stretched_by_absences
from toolkit.cluster.flows import Flow, Links
from toolkit.cluster.maxmin import Use
from toolkit.cluster.meeting import Meeting, add_s_per_byte
from toolkit.cluster.worker import CRASH, WorkerContext, drive
from toolkit.collectives import AllReduce, LinkCost
from toolkit.core.context import Context, Delivery, Payload
from toolkit.core.program import Process, Program
from toolkit.core.world import World
from toolkit.errors import ScenarioError, ToolkitError

if TYPE_CHECKING:
    from toolkit.cluster.fabric import Cluster


class Letter:
    """A message between its sending and its being read."""

    __slots__ = ("arrived", "claim", "flow", "payload")

    def __init__(self, payload: Payload | None, arrived: Event) -> None:
        self.payload = payload
        self.arrived = arrived
        self.claim: Event | None = None
        self.flow: Flow | None = None


class ClusterNetwork:
    """Workers, servers and the links between them in one world."""

    def __init__(self, spec: Cluster, world: World) -> None:
        self.spec = spec
        self.world = world
        self.wiring = spec.wiring()
        network = spec.network
        self.links = Links(world.env, (self.wiring.rate_bps * network.bandwidth_factor).tolist())
        self.meeting = Meeting(self)
        self.lost: list[int] = []
        self._uses: dict[tuple[int, int], tuple[tuple[Use, ...], float, float]] = {}
        self._mail: dict[tuple[int, int], deque[Letter]] = {}
        self._claims: dict[tuple[int, int], deque[Event]] = {}
        self._under_way: set[Letter] = set()
        self._slow = spec.stragglers.init(self.wiring, world.streams)
        self._away = spec.absences(self.wiring)
        self.workers = [WorkerContext(self, node, spec.device_of(name)) for node, name in enumerate(self.wiring.nodes)]
        self._members = list(range(len(self.workers)))
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
        waits = [f"{names[dst]} waits for {names[src]}" for (src, dst), claims in self._claims.items() if claims]
        return ToolkitError(f"the program cannot go on: {'; '.join(waits) or 'it waits for what never comes'}")

    def node_of(self, rank: int) -> int:
        """Return the node that has *rank* in the present group."""
        return self._members[rank]

    def refuse(self, *_: Any) -> Event:
        raise ToolkitError("a worker's messages go through WorkerContext.send")

    def transfer(self, src: int, dst: int, nbytes: int, phase: str, payload: Payload | None) -> Event:
        """Start a message; the event fires with its `Delivery` when the last byte has arrived."""
        env = self.world.env
        begun_s = env.now
        arrived = Event(env)
        letter = Letter(payload.clone() if payload is not None else None, arrived)
        pair = (src, dst)
        claims = self._claims.get(pair)
        if claims:
            letter.claim = claims.popleft()
        else:
            self._mail.setdefault(pair, deque()).append(letter)
        arrived.callbacks.append(lambda _: self._deliver(letter))  # type: ignore[union-attr]
        uses, latency_s, energy_j_per_byte = self._path(src, dst)
        self._under_way.add(letter)

        def ended() -> None:
            letter.flow = None
            now = env.now
            self.world.ledger.charge(
                begun_s, now - begun_s, src, dst, "tx", phase, 0.0, nbytes, nbytes * energy_j_per_byte, "delivered"
            )
            arrived._ok, arrived._value = True, Delivery("delivered", begun_s, now + latency_s, len(uses))
            env.schedule(arrived, delay=latency_s)

        if nbytes and uses:
            letter.flow = self.links.start(uses, nbytes, ended)
        else:
            ended()
        return arrived

    def claim(self, src: int, dst: int) -> Event:
        """Return the event of the next unread message from *src* at *dst*; its value is the payload."""
        pair = (src, dst)
        event = Event(self.world.env)
        waiting = self._mail.get(pair)
        if not waiting:
            self._claims.setdefault(pair, deque()).append(event)
            return event
        letter = waiting.popleft()
        if letter.arrived.callbacks is None:
            event._ok, event._value, event.callbacks = True, letter.payload, None  # type: ignore[assignment]
        else:
            letter.claim = event
        return event

    def _deliver(self, letter: Letter) -> None:
        self._under_way.discard(letter)
        claim = letter.claim
        if claim is not None:  # told at once: an event of its own would double the events per message
            claim._ok, claim._value = True, letter.payload
            callbacks, claim.callbacks = claim.callbacks, None  # type: ignore[assignment]
            for callback in callbacks or ():
                callback(claim)

    def _path(self, src: int, dst: int) -> tuple[tuple[Use, ...], float, float]:
        """Return what a message takes: its share of links, its latency in s, and the energy of a byte in J."""
        pair = (src, dst)
        if pair not in self._uses:
            network, wiring = self.spec.network, self.wiring
            route = wiring.route(src, dst)
            back = wiring.route(dst, src) if network.ack_share else ()
            uses = tuple((link, 1.0) for link in route) + tuple((link, network.ack_share) for link in back if link not in route)
            latency_s = network.latency_factor * sum(float(wiring.delay_s[link]) for link in route)
            energy_j = 8.0 * sum(float(wiring.energy_j_per_bit[link]) for link in route)
            self._uses[pair] = (uses, latency_s, energy_j)
        return self._uses[pair]

    def schedule(self, kind: str) -> AllReduce:
        """Return the all-reduce that a request names (``all_reduce:ring``), or this cluster's (``all_reduce``)."""
        _, _, name = kind.partition(":")
        return AllReduce.find(name)() if name else self.spec.collectives.all_reduce

    def link_cost(self) -> LinkCost:
        """The constants of the closed forms: those of the path from the first to the second worker."""
        if self.spec.workers < 2:
            return LinkCost(0.0, 0.0, 0.0)
        uses, latency_s, _ = self._path(0, 1)
        slowest = min(self.links.bytes_per_s[link] / weight for link, weight in uses)
        return LinkCost(latency_s, 1.0 / slowest, add_s_per_byte(self.workers[0].device))

    def charge_ideal(self, rank: int, nbytes: float, phase: str, dur_s: float) -> None:
        """Write down one worker's part of a collective that is priced by its closed form."""
        node = self.node_of(rank)
        energy_j = nbytes * self._path(0, 1)[2] if self.spec.workers > 1 else 0.0
        self.world.ledger.charge(self.world.now, dur_s, node, -1, "tx", phase, 0.0, round(nbytes), energy_j, "delivered")

    def stretched_s(self, node: int, start_s: float, dur_s: float) -> float:
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
        for letter in self._under_way:
            if letter.flow is not None:
                self.links.cancel(letter.flow)
            letter.claim = None
        for shelf in (self._under_way, self._mail, self._claims):
            shelf.clear()
        self.meeting.forget()
        self._members.remove(lost)
        size = sum(node < self.spec.workers for node in self._members)
        for rank, node in enumerate(self._members):
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
            draw_j = end_s * float(wiring.idle_w[link])
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


