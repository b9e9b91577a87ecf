"""Machines: what a program needs of the fabric it runs on, and the one place where that is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.core.device import Device
from toolkit.errors import ScenarioError


@dataclass(frozen=True)
class Machines:
    """The computers of a fabric, by name, in the order of their ranks."""

    workers: Mapping[str, Device] = field(default_factory=dict)
    servers: Mapping[str, Device] = field(default_factory=dict)
    crashes: tuple[str, ...] = ()
    """Those that are lost at a set time."""
    idle_servers: bool = False
    """Whether servers may have nothing to do: they are there anyway (the sinks of a sea)."""
    lossy: bool = False
    """Whether messages between them may be lost, and parts of messages."""
    inexact: str = ""
    """The setting by which a collective may leave out what some worker gave to it; empty where none does."""
    unforeseen: str = ""
    """The setting for which nobody can forecast a link that may fail (`Context.chance_of_frame`); empty where that can be done."""
    missing: str = "fabric: cluster"
    """What programs lack where there are no machines."""

    @property
    def first(self) -> Device:
        """The machine of rank 0."""
        return next(iter(self.workers.values()))

    def check_memory(self, need_bytes: float, what: str) -> None:
        """Raise a `ScenarioError` for the first worker whose memory *what* does not fit into."""
        for name, device in self.workers.items():
            device.check_fits(need_bytes, f"{what} on {name}" if len(self.workers) > 1 else what)


@dataclass(frozen=True)
class Needs:
    """What a program needs of its fabric: how many machines of each kind, and whether it goes on without one that crashes."""

    who: str
    """The subject of the sentences: ``continual learning``."""
    workers: tuple[int, int | None] = (1, None)
    """Fewest and most; None: any number."""
    servers: tuple[int, int | None] = (0, 0)
    survives: bool = True
    """Whether it goes on without a worker that crashes."""
    hint: str = ""
    """What to take instead where there are too many workers."""
    survives_loss: bool = False
    """Whether it goes on where a message, or a part of one, never comes: its `recv` may give a `toolkit.core.context.Torn`."""
    accepts_partial: bool = False
    """Whether it goes on where a collective leaves out what some worker gave to it."""

    def check(self, machines: Machines, fabric: str) -> None:
        """Raise a `ScenarioError` where *machines*, those of a fabric of this type, do not do."""
        if not machines.workers:
            raise ScenarioError(f"program: {self.who} needs {machines.missing}, and this is '{fabric}'")
        _check_count(self.who, "worker", len(machines.workers), self.workers, self.hint)
        fewest, most = self.servers
        _check_count(self.who, "server", len(machines.servers), (fewest, None if machines.idle_servers and most == 0 else most))
        if machines.lossy and not self.survives_loss:
            raise ScenarioError(
                f"fabric.transport: {self.who} waits for every message, and some may be lost on the way here; set transport: reliable"
            )
        if machines.inexact and not self.accepts_partial and len(machines.workers) > 1:
            raise ScenarioError(f"{machines.inexact}: may leave out what a worker sent, and {self.who} needs that of all; take another one")
        if machines.crashes and not self.survives:
            raise ScenarioError(f"fabric.failures.crashes: {self.who} does not go on without a worker; take {machines.crashes[0]} out")


def _check_count(who: str, kind: str, have: int, span: tuple[int, int | None], hint: str = "") -> None:
    fewest, most = span
    if have < fewest:
        raise ScenarioError(f"fabric.{kind}s: {who} needs at least {fewest} {kind}{'s' * (fewest > 1)} (got {have})")
    if most is None or have <= most:
        return
    if most == 0:
        raise ScenarioError(f"fabric.{kind}s: {who} has no use for {kind}s; set it to 0 (got {have})")
    machines = "machine" if kind == "worker" else kind
    raise ScenarioError(f"fabric.{kind}s: {who} runs on {most} {machines}{'s' * (most > 1)} (got {have}){hint}")
