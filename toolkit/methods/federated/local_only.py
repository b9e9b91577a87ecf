"""Local only: every client trains by itself and tells nobody. What a federation has to beat."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from toolkit.core.context import Asking
from toolkit.methods.federated.courier import Update
from toolkit.methods.federated.rounds import Rounds
from toolkit.methods.federated.server import Server
from toolkit.methods.federated.work import HEADER_BYTES


@final
class LocalOnly(Rounds):
    """Each round every client that is there takes its epochs on a network of its own, told to by 16 bytes and telling with 16 that it did.

    Accuracy and loss are means over all clients' networks on the common test set; one that was never there has its first weights. The
    networks lie in the server's memory for the books alone; no bytes are counted for that.
    """

    sampled_share: float = Field(1.0, gt=0, le=1, description="share of all clients that a round takes")

    @property
    def reply_nbytes(self) -> int:
        return HEADER_BYTES

    def dispatch(self, server: Server, cohort: NDArray[np.int64]) -> list[int]:
        starts = [server.own.get(client, server.local.initial) for client in cohort.tolist()]
        return server.send_out(cohort, starts, HEADER_BYTES)

    def combine(self, server: Server, taken: list[Update]) -> Asking:
        server.own.update((update.ended.client, update.vector) for update in taken)
        yield server.ctx.sleep(0.0)

    def merits(self, server: Server) -> dict[str, float]:
        task, local = server.local.task, server.local
        found = [task.evaluate(local.load(vector).model) for vector in server.own.values()]
        missing = server.ctx.size - len(found)
        if missing:
            found += [task.evaluate(local.load(local.initial).model)] * missing
        return {name: sum(each[name] for each in found) / len(found) for name in found[0]}
