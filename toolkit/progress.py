"""Progress on the terminal or in a notebook: runs done, simulated time, wall time. Silent when nobody is watching."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from toolkit.core.rundir import RunDirectory
from toolkit.core.words import counted
from toolkit.job import Job

Watch = Callable[[list[Job], RunDirectory], AbstractContextManager[None]]
"""Shows how far the runs of a comparison are, for as long as they take."""
EVERY_S = 0.5


@contextmanager
def watch(jobs: list[Job], directory: RunDirectory) -> Iterator[None]:
    """Show how far the *jobs* are, as told by the files that they leave in their run directories."""
    if not sys.stderr.isatty() or not jobs:
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    timed = all(job.tree["duration_s"] is not None for job in jobs)
    hours = [float(job.tree["duration_s"]) / 3600.0 if timed else 1.0 for job in jobs]
    unit = "simulated {task.completed:.0f} of {task.total:.0f} h" if timed else "{task.percentage:.0f} %"
    columns = (
        TextColumn("{task.fields[runs]}"), BarColumn(), TextColumn(unit),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=sum(hours), runs="")

        def show(shares: list[float]) -> None:
            done = sum(share >= 1.0 for share in shares)
            progress.update(
                bar, completed=sum(s * h for s, h in zip(shares, hours, strict=True)), runs=f"{done} of {counted(len(jobs), 'run')}"
            )

        with _looking(jobs, show):
            yield


@contextmanager
def in_notebook(jobs: list[Job], directory: RunDirectory) -> Iterator[None]:
    """Show how far the *jobs* are in one line of text that changes, where this runs in a notebook; nothing elsewhere."""
    line = _notebook_line()
    if line is None or not jobs:
        yield
        return
    begun_s = time.monotonic()

    def show(shares: list[float]) -> None:
        line(_told(shares, time.monotonic() - begun_s))

    with _looking(jobs, show):
        yield
    show([1.0] * len(jobs))


def _told(shares: list[float], wall_s: float) -> str:
    """How far all is, and how long the rest will take at this pace."""
    done, share = sum(each >= 1.0 for each in shares), sum(shares) / len(shares)
    left = f", about {wall_s / share - wall_s:.0f} s left" if 0.02 < share < 1 else ""
    return f"{done} of {counted(len(shares), 'run')}, {share:.0%}, {wall_s:.0f} s{left}"


def _notebook_line() -> Callable[[str], None] | None:
    """Return what changes one line of a notebook's output; None where this is no notebook."""
    kernel = sys.modules.get("ipykernel.zmqshell")
    shell = sys.modules["IPython"].get_ipython() if kernel is not None and "IPython" in sys.modules else None
    if kernel is None or not isinstance(shell, kernel.ZMQInteractiveShell):
        return None
    display = sys.modules["IPython"].display
    shown = display.display({"text/plain": "0 runs"}, raw=True, display_id=True)

    def change(text: str) -> None:
        shown.update({"text/plain": text}, raw=True)

    return change


@contextmanager
def _looking(jobs: list[Job], show: Callable[[list[float]], None]) -> Iterator[None]:
    """Call *show* every half second with the share of each job that is done."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(EVERY_S):
            show([_share(RunDirectory(job.directory), job) for job in jobs])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _share(directory: RunDirectory, job: Job) -> float:
    record = directory.record(job.name)
    if record.exists():
        return 1.0
    try:
        return min(0.99, float(record.with_suffix(".progress").read_text()))
    except (OSError, ValueError):
        return 0.0
