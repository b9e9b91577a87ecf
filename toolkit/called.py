"""How this process was called, for usage lines: ``toolkit simulate``, or ``python -m toolkit.simulate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_prefix = ""


@contextmanager
def as_command(prefix: str) -> Iterator[None]:
    """Within, commands are called as words after *prefix* (``toolkit``)."""
    global _prefix
    before, _prefix = _prefix, prefix
    try:
        yield
    finally:
        _prefix = before


def is_command() -> bool:
    """Whether a command of this package was called by its word."""
    return bool(_prefix)


def program(name: str, otherwise: str = "") -> str:
    """Return what stands in the usage line of the command *name*; *otherwise* where its module was called, and not by ``python -m``."""
    return f"{_prefix} {name}" if _prefix else otherwise or f"python -m toolkit.{name}"
