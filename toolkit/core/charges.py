"""What a ledger holds, read as far as it is asked for: some kinds, some columns, or only sums, one shard after the other.

A day of a busy sea is tens of millions of rows. Their texts are read as numbers of the few that there are, and what a report adds up
is added up shard by shard, so that memory does not grow with simulated time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TEXTS = ("kind", "phase", "outcome")
"""Columns of `toolkit.core.ledger.Charge` that hold one of a few texts."""
GROUPED = ("kind", "phase", "outcome", "node")
"""What rows are grouped by in `Charges.totals`."""
SUMMED = ("dur_s", "flops", "nbytes", "energy_j")
"""What `Charges.totals` adds up."""


class Charges:
    """The rows of one run: files of its ledger, oldest first, and frames of rows that came after them; at least one of either."""

    def __init__(self, shards: Sequence[Path] = (), rest: Sequence[pd.DataFrame] = ()) -> None:
        self._shards = tuple(shards)
        self._rest = tuple(rest)

    def __len__(self) -> int:
        import pyarrow.parquet as pq

        return sum(int(pq.read_metadata(path).num_rows) for path in self._shards) + sum(map(len, self._rest))

    def rows(self, *kinds: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows of *kinds*, of all kinds where none is named, in the order in which they were written; texts as categories.

        Columns are those of `toolkit.core.ledger.Charge`, or *columns* of them.
        """
        return to_frame(self.tables(kinds, columns), len(self))

    @cached_property
    def totals(self) -> pd.DataFrame:
        """Sums of `SUMMED` and the number of ``rows`` for all that agree in kind, phase, outcome and node, sorted by these."""
        import pandas as pd

        sums = []
        for table in self.tables((), (*GROUPED, *SUMMED)):
            part = to_frame([table], len(table)).assign(rows=1)
            part = part.groupby(list(GROUPED), observed=True, sort=False)[[*SUMMED, "rows"]].sum().reset_index()
            sums.append(part.astype(dict.fromkeys(TEXTS, object)))
        return pd.concat(sums, ignore_index=True).groupby(list(GROUPED))[[*SUMMED, "rows"]].sum().reset_index()

    def tables(self, kinds: Sequence[str], columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield one table per shard and frame."""
        import pyarrow as pa

        wanted = None if columns is None else list(columns)
        read = wanted if wanted is None or not kinds or "kind" in wanted else [*wanted, "kind"]
        for path in self._shards:
            yield _of_kinds(read_shard(path, read), kinds, wanted)
        for frame in self._rest:
            table = pa.Table.from_pandas(frame if read is None else frame[read], preserve_index=False).replace_schema_metadata(None)
            yield _of_kinds(as_categories(table), kinds, wanted)


def read_shard(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return one file of a ledger, or some of its columns, with texts as dictionaries."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=None if columns is None else list(columns), read_dictionary=list(TEXTS))


MOST_SHORT = 2**15
"""Different words up to which two bytes tell them apart."""


def to_frame(tables: Iterable[pa.Table], at_most: int) -> pd.DataFrame:
    """Return *tables*, of *at_most* so many rows, one below the other as a frame, dictionaries as categories.

    The frame's columns are there from the beginning, so that it and one table are all that is held at a time.
    """
    import numpy as np
    import pandas as pd

    columns: dict[str, NDArray[Any]] = {}
    words: dict[str, dict[str, int]] = {}
    filled = 0
    for table in tables:
        for name, column in zip(table.column_names, table.combine_chunks().columns, strict=True):
            array = column.chunk(0) if column.num_chunks else column.combine_chunks()
            if hasattr(array, "dictionary"):
                known = words.setdefault(name, {})
                codes = [known.setdefault(text, len(known)) for text in array.dictionary.to_pylist()]
                values = np.array(codes, np.int16 if len(known) <= MOST_SHORT else np.int32)[array.indices.to_numpy()]
            else:
                values = array.to_numpy()
            column_so_far = columns.get(name)
            if column_so_far is None:
                column_so_far = columns[name] = np.empty(at_most, values.dtype)
            elif values.dtype.itemsize > column_so_far.dtype.itemsize:
                column_so_far = columns[name] = column_so_far.astype(values.dtype)
            column_so_far[filled : filled + len(table)] = values
        filled += len(table)
    frame: dict[str, Any] = {}
    for name, values in columns.items():
        own = values[:filled] if 2 * filled >= at_most else values[:filled].copy()
        frame[name] = pd.Categorical.from_codes(own, pd.Index(list(words[name]), dtype=object)) if name in words else own
    return pd.DataFrame(frame, copy=False)


def as_categories(table: pa.Table) -> pa.Table:
    """Return *table* with its texts as dictionaries."""
    import pyarrow as pa

    for name in TEXTS:
        place = table.schema.get_field_index(name)
        if place >= 0 and not pa.types.is_dictionary(table.schema.field(place).type):
            table = table.set_column(place, name, table.column(place).cast(pa.string()).dictionary_encode())
    return table


def _of_kinds(table: pa.Table, kinds: Sequence[str], columns: list[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    if kinds:
        table = table.filter(pc.is_in(table["kind"].cast(pa.string()), value_set=pa.array(kinds, pa.string())))
    return table if columns is None else table.select(columns)
