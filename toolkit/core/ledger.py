"""The ledger: one row per thing that cost anything. Every report is a groupby of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from toolkit.core.call_trace import Request
from toolkit.core.charges import Charges
from toolkit.core.row_buffer import SHARD_ROWS, RowBuffer, StringTable
from toolkit.core.wholefile import Fingerprint, fingerprint, settle

if TYPE_CHECKING:
    import pandas as pd


class Charge(NamedTuple):
    """One row of the ledger (SI units). The duration is stored, since `t1 - t0` loses digits late in a run.

    `kind` is what was used: ``compute``, ``store``, ``tx``, ``rx``, ``idle``; or ``send``, the record of one end-to-end message, which
    itself costs nothing (its hops are charged as tx and rx). `phase` says what for (``data``, ``ack``, ``prediction``), and
    `outcome` how it ended (``sent``, ``delivered``, ``collision``, ``noise``, ``lost`` …).
    """

    t0_s: float
    dur_s: float
    node: int
    peer: int
    kind: str
    phase: str
    flops: float
    nbytes: int
    energy_j: float
    outcome: str
    packet: int


class Metric(NamedTuple):
    """One observed value against simulated time: accuracy, hops, a link's SNR. `who` names the node, link or class."""

    t_s: float
    step: int
    name: str
    who: str
    value: float


class Ledger:
    """Collects charges and metrics of one run, writing full shards to disk when it is given a *stem* to write to."""

    def __init__(self, stem: Path | None = None) -> None:
        self._stem = stem
        self._charges: list[tuple[object, ...]] = []
        self._metrics: list[tuple[object, ...]] = []
        self._shards: list[Path] = []
        self._fingerprints: dict[Path, Fingerprint] = {}
        self._requests: list[tuple[object, ...]] = []
        self._row_buffer: RowBuffer | None = None
        self._full: list[tuple[list[tuple[object, ...]], RowBuffer]] = []

    def open_row_buffer(self, strings: StringTable) -> RowBuffer:
        """Return the row buffer in which a compiled loop writes rows; there is one in a run at most."""
        if self._row_buffer is not None:
            raise ValueError("the ledger has a row buffer already")
        self._row_buffer = RowBuffer(strings, len(self._charges))
        return self._row_buffer

    def charge(
        self, t0_s: float, dur_s: float, node: int, peer: int, kind: str, *, phase: str = "",
        flops: float = 0.0, nbytes: int = 0, energy_j: float = 0.0, outcome: str = "", packet: int = -1,
    ) -> None:
        """Write one row."""
        if self._row_buffer is not None:
            self.make_room()
            self._row_buffer.mark()
        self._charges.append((t0_s, dur_s, node, peer, kind, phase, flops, nbytes, energy_j, outcome, packet))
        if self._stem is not None and self._row_buffer is None and len(self._charges) >= SHARD_ROWS:
            self._flush()

    def make_room(self) -> None:
        """Let one more row be written, in the row buffer or beside it."""
        if self._row_buffer is not None and self._row_buffer.is_full:
            if self._stem is None:
                self._full.append((self._charges.copy(), self._row_buffer.snapshot()))
                self._charges.clear()
                self._row_buffer.clear()
            self._flush()

    def metric(self, t_s: float, name: str, value: float, who: str = "", step: int = -1) -> None:
        """Record one observed value."""
        self._metrics.append((t_s, step, name, who, value))

    def request(self, row: Request) -> None:
        """Keep one row of a node's script."""
        self._requests.append(row)

    def _flush(self) -> None:
        """Write what is pending as one shard, where there is a place for it."""
        if self._stem is None:
            return
        frame = self.pending()
        if not len(frame):
            return
        path = self._shard(len(self._shards))
        self._write(frame, path)
        self._shards.append(path)
        self._charges.clear()
        if self._row_buffer is not None:
            self._row_buffer.clear()

    def state(self) -> dict[str, Any]:
        """Return everything written so far that is not in a full shard, and how many of these there are."""
        if self._row_buffer is not None:
            raise ValueError("rows that a compiled loop writes are not kept")
        return {
            "shards": [self._fingerprints[path] for path in self._shards], "charges": kept_rows(self._charges, Charge),
            "metrics": kept_rows(self._metrics, Metric), "requests": kept_rows(self._requests, Request),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; shards written after it are written again."""
        self._charges, self._metrics, self._requests = (list(rows_of(state[name])) for name in ("charges", "metrics", "requests"))
        self._shards = [self._shard(number) for number in range(len(state["shards"]))]
        self._fingerprints = dict(zip(self._shards, state["shards"], strict=True))

    def _shard(self, number: int) -> Path:
        if self._stem is None:
            raise ValueError("a ledger in memory has no shards")
        return self._stem.with_name(f"{self._stem.name}-{number:03d}.parquet")

    def pending(self) -> pd.DataFrame:
        """The charges since the last full shard, as a frame."""
        columns = _columns(self._charges, Charge)
        return _frame(columns if self._row_buffer is None else self._row_buffer.among(columns))

    def charges(self) -> pd.DataFrame:
        """All charges so far, in the order in which they were written."""
        import pandas as pd

        parts = [pd.read_parquet(path) for path in self._shards]
        parts += [_frame(block.among(_columns(rows, Charge))) for rows, block in self._full]
        return pd.concat([*parts, self.pending()], ignore_index=True) if parts else self.pending()

    @property
    def reader(self) -> Charges:
        """The same rows, to be read as far as they are needed."""
        return Charges(self._shards, [*(_frame(block.among(_columns(rows, Charge))) for rows, block in self._full), self.pending()])

    def metrics(self) -> pd.DataFrame:
        """All metrics so far."""
        return _frame(_columns(self._metrics, Metric))

    def close(self, metrics_path: Path, requests_path: Path | None = None) -> None:
        """Write what is pending: the last ledger shard, the metrics, and the scripts where the fabric keeps any."""
        self._flush()
        self._write(self.metrics(), metrics_path)
        if self._requests and requests_path is not None:
            requests_path.parent.mkdir(exist_ok=True)
            self._write(_frame(_columns(self._requests, Request)), requests_path)

    @property
    def files(self) -> dict[Path, Fingerprint]:
        """All files written so far, and what they are known again by."""
        return dict(self._fingerprints)

    def _write(self, frame: pd.DataFrame, path: Path) -> None:
        _write(frame, path)
        self._fingerprints[path] = fingerprint(path)


def kept_rows(rows: Sequence[tuple[object, ...]], row_type: type[NamedTuple]) -> list[Any]:
    """Return *rows* by columns, as a checkpoint keeps them: numbers as arrays, texts as the different ones and which it is."""
    kept: list[Any] = []
    for column in _columns(rows, row_type).values():
        if column.dtype != object:
            kept.append(column)
            continue
        words = {text: place for place, text in enumerate(dict.fromkeys(column.tolist()))}
        kept.append((list(words), np.fromiter(map(words.__getitem__, column.tolist()), np.int64, len(column))))
    return kept


def rows_of(kept: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Return the rows that `kept_rows` was given, texts and Python's own numbers in them."""
    columns = [[column[0][place] for place in column[1].tolist()] if isinstance(column, tuple) else column.tolist() for column in kept]
    return zip(*columns, strict=True)


def _columns(rows: Sequence[tuple[object, ...]], row_type: type[NamedTuple]) -> dict[str, NDArray[Any]]:
    """Rows as columns; texts stay objects."""
    types = {float: np.float64, int: np.int64, str: object}
    hints = get_type_hints(row_type)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(row_type._fields)
    result = {}
    for name, column in zip(row_type._fields, columns, strict=True):
        result[name] = np.empty(len(column), dtype=types[hints[name]])
        result[name][:] = column
    return result


def _frame(columns: dict[str, NDArray[Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in columns.items()})


def _write(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = path.with_suffix(".partial")
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, partial, compression="zstd", use_dictionary=["kind", "phase", "outcome"] if "kind" in frame else True)
    settle(partial, path)
