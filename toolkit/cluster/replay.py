"""Replay: a finished run's requests made again, on other machines, links or schedules, without training again."""

from __future__ import annotations

from pathlib import Path
from typing import final

import pandas as pd
from pydantic import Field

from toolkit.collectives import AllReduce
from toolkit.core.call_trace import Request
from toolkit.core.context import Context
from toolkit.core.once import read_once
from toolkit.core.program import Process, Program
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.work import Work
from toolkit.errors import RunDirectoryError

ASKS = {"compute", "store", "send", "recv", "sleep"}


@final
class Replay(Program):
    """Every node asks for what it asked for in the recorded run, in the same order, and waits where it waited."""

    call_trace: Path = Field(description="file of what the programs of a finished run asked for")

    def run(self, ctx: Context) -> Process:
        rows = _scripts(self.call_trace).get(ctx.node, [])
        asked: dict[int, object] = {}
        for index, row in enumerate(rows):
            if row.op == "wait":
                yield asked.pop(row.elements)
            elif row.op in ASKS:
                asked[index] = _ask(ctx, row)
            elif row.op == "metric":
                ctx.metric(row.name, row.value, row.who, row.step)
            else:
                yield from _together(ctx, row)
            ctx.progress(index / len(rows))


def _ask(ctx: Context, row: Request) -> object:
    if row.op == "compute":
        return ctx.compute(Work(*(getattr(row, name) for name in Work._fields)), row.phase, row.value or 1.0)
    if row.op == "store":
        return ctx.store(row.read_bytes, row.write_bytes, row.phase)
    if row.op == "sleep":
        return ctx.sleep(row.value)
    payload = SizeOnlyPayload(row.elements, row.itemsize)
    return ctx.recv(row.peer, payload) if row.op == "recv" else ctx.send(row.peer, payload.nbytes, row.phase, payload)


def _together(ctx: Context, row: Request) -> Process:
    payload = SizeOnlyPayload(row.elements, row.itemsize)
    kind, _, name = row.op.partition(":")
    if kind == "all_reduce":
        yield from ctx.all_reduce(payload, row.phase, AllReduce.find(name)() if name else None)
    elif kind == "all_gather":
        yield from ctx.all_gather(payload, row.phase)
    else:
        yield from ctx.broadcast(payload, row.peer, row.phase)


@read_once(1)
def _scripts(path: Path) -> dict[int, list[Request]]:
    """Return the requests of a run by node, read once for all nodes of a run."""
    if not path.is_file():
        raise RunDirectoryError(f"{path}: is missing, so this run cannot be priced again")
    frame = pd.read_parquet(path)
    found: dict[int, list[Request]] = {}
    for row in frame.itertuples(index=False, name=None):
        request = Request(*row)
        found.setdefault(request.node, []).append(request)
    return found
