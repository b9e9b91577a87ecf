"""The kernel in both forms: plain functions, and the same ones compiled, which processes share on disk."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .advancing import advance, busy
from .deciding import settle
from .records import Room, plan
from .sending import send

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

FOLDER = Path(__file__).parent


class Kernel(NamedTuple):
    """The decisions, in one of two forms."""

    advance: Callable[..., Any]
    send: Callable[..., Any]
    settle: Callable[..., Any]
    busy: Callable[..., Any]
    where: Callable[[Room], tuple[Any, Any]]
    """What the functions are given of a room, and what has to be kept while they are."""


def _itself(room: Room) -> tuple[Room, Room]:
    return room, room


def _address(room: Room) -> tuple[int, Any]:
    numbers = plan(room)
    return numbers.ctypes.data, numbers


PLAIN = Kernel(advance, send, settle, busy, _itself)


@cache
def compiled() -> Kernel:
    """The same functions compiled by numba (some seconds the first time, then kept on disk).

    The modules of this package are loaded a second time, as those of another one, with every function compiled where it is defined; so the
    plain functions stay plain, and compiled ones call compiled ones (their imports of each other are relative). What is called from outside
    has one signature, and is called without the dispatcher, which would look up the types of all arguments each time.
    """
    name = f"{__package__}_compiled"
    copy = ModuleType(name)
    copy.__path__ = [str(FOLDER)]
    sys.modules[name] = copy
    with _alone():
        functions = importlib.import_module(f"{name}.entries").entries(_stamp())
    return Kernel(**functions, where=_address)


def _sources() -> list[Path]:
    return sorted(FOLDER.glob("*.py"))


def _stamp() -> str:
    """Tell this state of all sources from any other."""
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in _sources())).hexdigest()


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process compile at a time, and those that load what lies on disk wait for it.

    Of two that compile at once, numba lets each write over what the other keeps: the next one to load it fails.
    """
    with Path(__file__).open() as source:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(source, fcntl.LOCK_SH if _is_on_disk() else fcntl.LOCK_EX)
        yield


def is_at_hand() -> bool:
    """Whether the compiled functions are loaded, or lie on disk from before."""
    return compiled.cache_info().currsize > 0 or _is_on_disk()


@cache
def _is_on_disk() -> bool:
    place = os.environ.get("NUMBA_CACHE_DIR")
    folder = FOLDER / "__pycache__" if place is None else Path(place)
    written_s = max(source.stat().st_mtime for source in _sources())
    return any(file.stat().st_mtime >= written_s for file in folder.rglob("entries.*busy-*.nbi"))  # compiled when all others are
