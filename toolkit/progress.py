"""Progress on the terminal: runs done, simulated time, wall time. Silent when nobody is watching."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.core.rundir import RunDirectory
from toolkit.core.words import counted
from toolkit.sweep import Job


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
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.5):
                shares = [_share(RunDirectory(job.directory), job) for job in jobs]
                done = sum(share >= 1.0 for share in shares)
                progress.update(
                    bar, completed=sum(s * h for s, h in zip(shares, hours, strict=True)), runs=f"{done} of {counted(len(jobs), 'run')}"
                )

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
