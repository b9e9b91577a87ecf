"""How a command stops when it is told to, by Ctrl-C or by a signal, and the status with which it leaves."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
KEPT = "finished runs are kept; the same command with --resume does the rest"


class Told(KeyboardInterrupt):
    """A signal has told this process to stop; it ends whatever Ctrl-C would."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_stop() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does; one that is ignored already (``nohup``) stays so. In the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def tell(number: int, _: object) -> NoReturn:
        raise Told(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, tell)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(told: KeyboardInterrupt) -> int:
    """Say in a sentence that the command was stopped; return its exit status, 128 and the number of the signal."""
    number = told.number if isinstance(told, Told) else signal.SIGINT
    sys.stderr.write(f"{NAMES[signal.Signals(number)]}: {KEPT}\n")
    return 128 + number


def output_lost(error: OSError, results: object) -> int:
    """Say that the standard output took no more, and where the *results* are all the same; return the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr.write(f"error: the standard output cannot be written ({error.strerror}); results are in {results}\n")
    return 1


def leave(status: int) -> NoReturn:
    """End this process with *status*; at once where it was stopped, since what is torn down half-way would only complain."""
    if status > 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
