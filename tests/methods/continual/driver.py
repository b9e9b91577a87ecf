"""The continual methods of this package by name, with settings that make them quick, through the small runs of their laws."""

from __future__ import annotations

from typing import Any

from toolkit.laws import small_stream
from toolkit.laws.small_stream import Run, Watched, drive, opening, program, run_plan
from toolkit.methods.continual import ContinualMethod

__all__ = ["AROUND", "NAMES", "SETTINGS", "Run", "Watched", "drive", "make", "opening", "program", "run_plan", "train"]

SETTINGS: dict[str, dict[str, Any]] = {
    "hal": {"anchor_steps": 3}, "lwf": {"warm_up_epochs": 1}, "gss": {"subset": 4}, "e2net": {"candidates": 5},
    "etag": {"generator_epochs": 2, "hidden": 16, "latent": 8}, "gfr": {"generator_epochs": 2, "hidden": 16, "latent": 8},
    "abd": {"dream_steps": 3, "latent": 8, "width": 8},
}
"""What methods need to be quick here."""
AROUND = {"clfd": ("er", "derpp", "er_ace", "cls_er", "e2net")}
"""Methods that go round a host, and the hosts."""
NAMES = [
    case for name in ContinualMethod.member_names() for case in ([f"{name}-{host}" for host in AROUND[name]] if name in AROUND else [name])
]
"""Every method; of one that goes round a host one for each host."""


def make(name: str, **settings: Any) -> ContinualMethod:
    """Return a method with the settings that make it quick, and others."""
    name, _, host = name.partition("-")
    around = {"host": make(host)} if host else {}
    return ContinualMethod.find(name).model_validate({**SETTINGS.get(name, {}), **around, **settings})


def train(method: ContinualMethod | str, seed: int = 0, **settings: Any) -> Run:
    """Run a method, or the one of that name; see `toolkit.laws.small_stream.train`."""
    return small_stream.train(make(method) if isinstance(method, str) else method, seed, **settings)
