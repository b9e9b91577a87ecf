"""The cluster at work: its nodes, what befalls them during a run, and the books at the end."""

from __future__ import annotations

from collections.abc import Iterable

from simpy.events import Event

from toolkit.cluster.crowd import ClusterCrowd
from toolkit.cluster.failures import factors_in_force
from toolkit.cluster.ideal import IdealCollectives
from toolkit.cluster.messages import Mail
from toolkit.cluster.settings import ClusterSettings
from toolkit.cluster.slowness import Slowness
from toolkit.cluster.worker import CRASH, WorkerContext, drive
from toolkit.core.context import Context
from toolkit.core.crowd import LedByServer
from toolkit.core.fabric import Behaviour
from toolkit.core.program import Process
from toolkit.core.world import World
from toolkit.errors import ToolkitError


class ClusterNetwork:
    """Workers, servers and the links between them in one world."""

    def __init__(self, spec: ClusterSettings, world: World) -> None:
        self.spec = spec
        self.world = world
        self.built = spec.built_topology()
        self.mail = Mail(spec, self.built, world)
        self.ideal = IdealCollectives(spec, self.mail)
        self.lost: list[int] = []
        self.workers: list[WorkerContext] = []
        """Of all nodes by their numbers; of the server alone where its clients are a crowd."""
        self.crowd: ClusterCrowd | None = None
        for crash in spec.failures.crashes:
            world.env.process(self._crash(self.built.index_of_node(crash.node), crash.at_s))
        for name in dict.fromkeys(slow.link for slow in spec.failures.degradations):
            changes = factors_in_force(slow for slow in spec.failures.degradations if slow.link == name)
            world.env.process(self._degrade(self.built.index_of_link(name), changes))

    def _set_up(self, nodes: Iterable[int]) -> None:
        spec, slowness = self.spec, Slowness(self.spec, self.world.streams)
        kinds, which = spec.drawn_devices(self.world.streams)
        self.workers = [
            WorkerContext(
                node, spec, self.world, device=kinds[which[node]] if node < spec.workers else spec.device_of(self.built.nodes[node]),
                mail=self.mail, ideal=self.ideal, slowness=slowness,
            )
            for node in nodes
        ]
        self.mail.machines({ctx.node: ctx.device for ctx in self.workers})

    @property
    def contexts(self) -> list[Context]:
        if not self.workers:
            self._set_up(range(len(self.built.nodes)))
        return list(self.workers)

    def launch(self, program: Behaviour) -> Event:
        """Start *program* on every node; the event fires when all have come to their end."""
        processes = []
        if not self.workers and self.spec.keeps_crowd and isinstance(program, LedByServer):
            self._set_up([self.spec.workers])
            self.crowd = self.workers[0].crowd = ClusterCrowd(self.spec, self.mail, self.world, self.workers[0].woken_s)
        elif not self.workers:
            self._set_up(range(len(self.built.nodes)))
        for ctx in self.workers:
            ctx.process_handle = self.world.env.process(drive(ctx, program.run(ctx)))
            processes.append(ctx.process_handle)
        return self.world.env.all_of(processes)

    def deadlock(self) -> ToolkitError:
        """Say who waits for whom when nothing moves any more although programs are not at their end."""
        names = self.built.nodes
        waits = [f"{names[dst]} waits for {names[src]}" for dst, src in self.mail.waits()]
        return ToolkitError(f"the program cannot go on: {'; '.join(waits) or 'it waits for what never comes'}")

    def _degrade(self, link: int, changes: list[tuple[float, float]]) -> Process:
        """Let a link carry, from each instant of *changes* on, that share of its rate."""
        whole_bps, env = 8.0 * self.mail.links.bytes_per_s[link], self.world.env
        for at_s, factor in changes:
            yield env.timeout(at_s - env.now)
            self.mail.links.change_rate(link, whole_bps * factor)

    def _crash(self, node: int, at_s: float) -> Process:
        """Take a worker out, and after the time-out form a group of those that are left."""
        env, ctx = self.world.env, self.workers[node]
        yield env.timeout(at_s)
        if not ctx.alive or ctx.process_handle is None:
            return
        ctx.process_handle.interrupt(CRASH)
        self.lost.append(node)
        self.world.ledger.metric(env.now, "crash", 1.0, self.built.nodes[node])
        yield env.timeout(self.spec.failures.detect_s)
        self._form_group(node)

    def _form_group(self, lost: int) -> None:
        """Drop all messages under way, give out new ranks and tell every program."""
        self.mail.drop_all()
        self.ideal.forget()
        self.mail.members.remove(lost)
        size = sum(node < self.spec.workers for node in self.mail.members)
        for rank, node in enumerate(self.mail.members):
            ctx = self.workers[node]
            ctx.rank, ctx.size = rank, size
            ctx.idle_again()
            if ctx.alive and ctx.process_handle is not None:
                ctx.process_handle.interrupt(lost)

    def finish(self) -> None:
        """Charge what machines and interfaces draw while they wait, and record how far the links were used."""
        ledger, env = self.world.ledger, self.world.env
        end_s = float(env.now)
        built = self.built
        if self.crowd is not None:
            self.crowd.close(end_s)
        for ctx in self.workers:
            idle_s = max(0.0, end_s - ctx.busy_s)
            ledger.charge(0.0, idle_s, ctx.node, ctx.node, "idle", phase="host", energy_j=idle_s * ctx.device.idle_w, outcome="done")
            for rows in ctx.call_trace.rows:
                ledger.request(rows)
        for link, name in enumerate(built.links):
            draw_j = end_s * float(built.idle_w[link]) if len(built.nodes) > 1 else 0.0  # a machine alone is on no network
            if draw_j:
                ledger.charge(0.0, end_s, -1, -1, "idle", phase=f"link {name}", energy_j=draw_j, outcome="done")
            capacity = self.mail.links.bytes_per_s[link] * end_s
            if self.mail.links.carried_bytes[link] and capacity:
                ledger.metric(end_s, "link_utilisation", self.mail.links.carried_bytes[link] / capacity, name)
        ledger.metric(end_s, "end_s", end_s)
