"""Rows that a compiled loop writes stand among the others where they belong, in shards of the same size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.core import ledger, row_buffer
from toolkit.core.ledger import Charge, Ledger
from toolkit.core.row_buffer import StringTable


def fill(book: Ledger, count: int) -> list[tuple]:
    """Write rows both ways, in an order drawn at random; return them as they should be read."""
    strings = StringTable(("", "delivered"))
    rows = book.open_row_buffer(strings)
    rng = np.random.default_rng(3)
    expected = []
    for number in range(count):
        t_s, node = float(number), int(rng.integers(5))
        if rng.random() < 0.3:
            book.charge(t_s, 0.5, node, -1, "tx", phase="data", nbytes=number, energy_j=1.5, outcome="sent", packet=number)
            expected.append((t_s, 0.5, node, -1, "tx", "data", 0.0, number, 1.5, "sent", number))
            continue
        if rows.tally[0] >= rows.tally[1]:
            book.make_room()
        rows.rows[rows.tally[0]] = (t_s, 0.25, 0.125, node, 7, number, -1, strings.code("rx"), strings.code("ack"), 1, 0)
        rows.tally[0] += 1
        expected.append((t_s, 0.25, node, 7, "rx", "ack", 0.0, number, 0.125, "delivered", -1))
    return expected


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95, 100])
def test_order_content_and_shards(monkeypatch, tmp_path, count: int) -> None:
    monkeypatch.setattr(row_buffer, "SHARD_ROWS", 10)
    monkeypatch.setattr(ledger, "SHARD_ROWS", 10)
    in_memory, on_disk = Ledger(), Ledger(tmp_path / "run")
    for book in (in_memory, on_disk):
        expected = pd.DataFrame(fill(book, count), columns=Charge._fields)
        read = book.charges()
        assert list(read.columns) == list(Charge._fields)
        assert read.to_dict("list") == expected.to_dict("list")
    on_disk.close(tmp_path / "metrics.parquet")
    sizes = [len(pd.read_parquet(path)) for path in sorted(tmp_path.glob("run-*.parquet"))]
    assert sizes == [10] * (count // 10) + ([count % 10] if count % 10 else [])


def test_rows_charged_before_the_block_come_first() -> None:
    book = Ledger()
    book.charge(0.0, 1.0, 0, 0, "idle")
    expected = fill(book, 5)
    assert book.charges().t0_s.tolist() == [0.0, *(row[0] for row in expected)]


def test_there_is_one_row_buffer() -> None:
    book = Ledger()
    book.open_row_buffer(StringTable())
    with pytest.raises(ValueError, match="a row buffer already"):
        book.open_row_buffer(StringTable())
