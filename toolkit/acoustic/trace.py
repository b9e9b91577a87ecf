"""The trace: one row for every transmission, reception, drop and packet of a run, and where the nodes were.

A trace explains a run, it does not account for it: that is the ledger's task, and the two agree (``tests/acoustic/test_trace.py``).
Nothing here changes what a run does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.packets import Frame, NodeTracker, Packet
from toolkit.core.world import World

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

SHARD_ROWS = 100_000
"""Rows kept in memory before they are written."""
_NAN = float("nan")


class TraceRow(NamedTuple):
    """One event of the trace, in SI units; -1 stands for nobody, no frame or no packet, NaN for no measurement.

    ``new``: *node* created *packet*. ``tx``: *node* sends *frame*, for *dur_s*, to *peer* (-1: to all); `outcome` is ``sent``, or
    ``unheard`` where no modem could lock on it. ``rx``: the arrival of *frame* from *peer* at *node*, where a modem could have locked:
    `t_s` is when it begins, `dur_s` how long the modem listened, `outcome` ``decoded`` or why not. ``drop``: *node* gave up a frame
    (its MAC) or a copy of a packet (its routing), or refused one; `outcome` is the reason. ``end``: what became of *packet*, created
    at *node* `dur_s` before: ``delivered`` at *peer*, ``in_flight``, or the reason of its loss (``lost`` where none is known).
    """

    t_s: float
    dur_s: float
    event: str
    node: int
    peer: int
    frame: int
    packet: int
    kind: str
    nbytes: int
    snr_db: float
    sinr_db: float
    outcome: str


class Trace:
    """Collects the rows of one run. Where the world has a path for it, T, it writes ``T.parquet`` and ``T-nodes.parquet``; else it
    keeps them. Both files say in their metadata how fast sound is and how long the run was.

    Rows stand in the order in which they became known: a reception when it ends. *sink* (n,) tells the sinks from the nodes.
    """

    def __init__(self, world: World, sink: NDArray[np.bool_], sound_speed_m_s: float) -> None:
        self._world = world
        self._path = world.trace
        self._sink = sink
        self._facts = {"sound_speed_m_s": repr(float(sound_speed_m_s)), "duration_s": repr(float(world.duration_s))}
        self._rows: list[TraceRow] = []
        self._writer: pq.ParquetWriter | None = None
        self._times_s: list[float] = []
        self._places_m: list[NDArray[np.float64]] = []

    # What the network tells

    def created(self, packet: Packet) -> None:
        """A node has a new packet."""
        self._add(packet.created_s, 0.0, "new", packet.src, packet=packet.id, nbytes=packet.nbytes, outcome="created")

    def sent(self, number: int, dur_s: float, node: int, frame: Frame, *, heard: bool) -> None:
        """A transmission begins, and is known by its *number*; what the end of the run cuts off is not in its *dur_s*."""
        self._add(
            self._world.now, min(dur_s, self._world.duration_s - self._world.now), "tx", node, peer=frame.dst, frame=number,
            packet=_packet(frame), kind=frame.kind, nbytes=frame.nbytes, outcome="sent" if heard else "unheard",
        )

    def received(
        self, t_s: float, dur_s: float, node: int, number: int, frame: Frame, *, snr_db: float, sinr_db: float, outcome: str
    ) -> None:
        """The arrival of transmission *number* at *node* has ended. *sinr_db* is NaN where the modem did not listen to its end."""
        self._add(
            t_s, dur_s, "rx", node, peer=frame.src, frame=number, packet=_packet(frame), kind=frame.kind, nbytes=frame.nbytes,
            snr_db=snr_db, sinr_db=sinr_db, outcome="decoded" if outcome == "delivered" else outcome,
        )

    def dropped(self, node: int, frame: Frame | None, packet: Packet | None, reason: str) -> None:
        """A node gives up a frame or a copy of a packet, or refuses one."""
        peer, kind, nbytes = (-1, "data", 0) if frame is None else (frame.dst, frame.kind, frame.nbytes)
        number = -1 if packet is None else packet.id
        if frame is None and packet is not None:
            nbytes = packet.nbytes
        self._add(self._world.now, 0.0, "drop", node, peer=peer, packet=number, kind=kind, nbytes=nbytes, outcome=reason)

    def ended(self, t_s: float, packet: Packet, sink: int, outcome: str, reason: str) -> None:
        """What became of a packet is known."""
        self._add(
            t_s, t_s - packet.created_s, "end", packet.src, peer=sink, packet=packet.id, nbytes=packet.nbytes,
            outcome=(reason or "lost") if outcome == "lost" else outcome,
        )

    def places(self, position_m: NDArray[np.float64]) -> None:
        """Where everybody is from now on: (n, 3) x, y, depth."""
        self._times_s.append(self._world.now)
        self._places_m.append(position_m.copy())

    def watch_mac(self, node: int, on_drop: Callable[[Frame, str], None]) -> Callable[[Frame, str], None]:
        """Return *on_drop*, watched: the MAC of *node* gives up a frame."""

        def watched(frame: Frame, reason: str) -> None:
            self.dropped(node, frame, frame.packet, reason)
            on_drop(frame, reason)

        return watched

    # What it leaves

    def events(self) -> pd.DataFrame:
        """The rows not yet written."""
        frame: pd.DataFrame = self._table().to_pandas()
        return frame

    def nodes(self) -> pd.DataFrame:
        """Where everybody was, one row per node and epoch: t_s, node, x_m, y_m, depth_m, sink."""
        import pandas as pd

        count = len(self._sink)
        places_m = np.concatenate(self._places_m) if self._places_m else np.zeros((0, 3))
        return pd.DataFrame({
            "t_s": np.repeat(np.array(self._times_s, dtype=float), count),
            "node": np.tile(np.arange(count), len(self._times_s)),
            "x_m": places_m[:, 0], "y_m": places_m[:, 1], "depth_m": places_m[:, 2],
            "sink": np.tile(self._sink, len(self._times_s)),
        })

    def close(self) -> None:
        """Write what is left; nothing, where there is no path."""
        if self._path is None:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._flush()
        if self._writer is not None:
            self._writer.close()
        events, nodes = self._path.with_name(f"{self._path.name}.parquet"), self._path.with_name(f"{self._path.name}-nodes.parquet")
        table = pa.Table.from_pandas(self.nodes(), preserve_index=False).replace_schema_metadata(self._facts)
        pq.write_table(table, nodes, compression="zstd")
        self._partial(self._path).replace(events)

    def _add(
        self, t_s: float, dur_s: float, event: str, node: int, *, nbytes: int, outcome: str, peer: int = -1, frame: int = -1,
        packet: int = -1, kind: str = "data", snr_db: float = _NAN, sinr_db: float = _NAN,
    ) -> None:
        self._rows.append(TraceRow(
            t_s=t_s, dur_s=dur_s, event=event, node=node, peer=peer, frame=frame, packet=packet, kind=kind, nbytes=nbytes, snr_db=snr_db,
            sinr_db=sinr_db, outcome=outcome,
        ))
        if self._path is not None and len(self._rows) >= SHARD_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Write the rows so far as one row group."""
        import pyarrow.parquet as pq

        if self._path is None:
            return
        table = self._table()
        if self._writer is None:
            partial = self._partial(self._path)
            partial.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(partial, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._rows.clear()

    @staticmethod
    def _partial(path: Path) -> Path:
        return path.with_name(f"{path.name}.partial")

    def _table(self) -> pa.Table:
        import pyarrow as pa

        columns = list(zip(*self._rows, strict=True)) if self._rows else [()] * len(TraceRow._fields)
        types = {float: pa.float64(), int: pa.int32(), str: pa.string()}
        schema = pa.schema([(name, types[hint]) for name, hint in get_type_hints(TraceRow).items()], metadata=self._facts)
        return pa.table([pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)


class TracedTracker:
    """The book of packets as one node has it, when the run is traced: what the node gives up is written down with its name."""

    def __init__(self, tracker: NodeTracker, node: int, trace: Trace) -> None:
        self._tracker = tracker
        self._node = node
        self._trace = trace

    @property
    def duplicates(self) -> int:
        return self._tracker.duplicates

    @duplicates.setter
    def duplicates(self, count: int) -> None:
        self._tracker.duplicates = count

    def hold(self, packet: Packet) -> None:
        self._tracker.hold(packet)

    def drop(self, packet: Packet, reason: str) -> None:
        if reason:
            self._trace.dropped(self._node, None, packet, reason)
        self._tracker.drop(packet, reason)

    def refuse(self, packet: Packet, reason: str) -> None:
        self._trace.dropped(self._node, None, packet, reason)
        self._tracker.refuse(packet, reason)

    def deliver(self, packet: Packet, sink: int, hops: int) -> None:
        if packet.delivered:
            self._trace.dropped(self._node, None, packet, "duplicate")
        self._tracker.deliver(packet, sink, hops)

    def ratio_ashore(self) -> float:
        return self._tracker.ratio_ashore()


def _packet(frame: Frame) -> int:
    return -1 if frame.packet is None else frame.packet.id
