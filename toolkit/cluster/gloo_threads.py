"""Where processes have no core to spare, gloo's threads must not take one from a thread that holds a lock they want."""

from __future__ import annotations

import os
import sys
from pathlib import Path

THREADS = ("gloo_", "pt_gloo_")
"""How the names of gloo's own threads begin, and those of torch's that serve it."""


def computing_goes_first() -> int:
    """Let no thread of gloo interrupt one that computes, and return how many threads were told so.

    The thread that receives wakes when a message comes, often on the core of the very thread that is about to send one and holds the lock
    of the connection. It cannot have that lock, asks for it again and again (pytorch/gloo issue 246) and keeps the core for its slice of
    some two milliseconds, as long as a step of a small network. As a batch thread (``SCHED_BATCH``) it waits for an idle core, or until
    the other thread waits itself. Linux only; elsewhere nothing is done, nor where there is no such thread.
    """
    if not sys.platform.startswith("linux"):
        return 0
    told = 0
    for task in Path("/proc/self/task").iterdir():
        try:
            if (task / "comm").read_text().startswith(THREADS):
                os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))
                told += 1
        except OSError:  # it has just ended, or may not be told
            continue
    return told
