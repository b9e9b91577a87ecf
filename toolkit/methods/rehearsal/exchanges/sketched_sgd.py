"""Sketched-SGD: tables up to a server, indices down, exact values up, the update down."""

from __future__ import annotations

from typing import ClassVar, final

from toolkit.collectives import arrived, post
from toolkit.core.context import Asking, Context
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.work import FLOAT_BYTES
from toolkit.methods.rehearsal.exchanges import SketchExchange, floats, pairs


@final
class SketchedSgdExchange(SketchExchange):
    """``(α+P·4rcβ) + 2(α+P·4p2kβ) + (α+P·8kβ)``: the server's link carries P messages each way."""

    needs_servers: ClassVar[bool] = True

    def run(self, ctx: Context, parameters: int) -> Asking:
        server = ctx.size
        candidates = floats(self.candidates(parameters))
        yield post(ctx, server, floats(self.cells(parameters)), "sketch")
        yield ctx.recv(server, candidates)
        yield post(ctx, server, candidates, "values")
        yield ctx.recv(server, pairs(self.chosen(parameters)))

    def serve(self, ctx: Context, parameters: int) -> Asking:
        candidates = floats(self.candidates(parameters))
        yield from self._heard(ctx, floats(self.cells(parameters)))
        yield from self._told(ctx, candidates, "indices")
        yield from self._heard(ctx, candidates)
        yield from self._told(ctx, pairs(self.chosen(parameters)), "update")

    @staticmethod
    def _heard(ctx: Context, like: SizeOnlyPayload) -> Asking:
        for worker in range(ctx.size):
            yield ctx.recv(worker, like)

    @staticmethod
    def _told(ctx: Context, message: SizeOnlyPayload, phase: str) -> Asking:
        yield from arrived([post(ctx, worker, message, phase) for worker in range(ctx.size)])

    def wire_bytes(self, parameters: int) -> int:
        """What a worker sends up."""
        return FLOAT_BYTES * (self.cells(parameters) + self.candidates(parameters))
