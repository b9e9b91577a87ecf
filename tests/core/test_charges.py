"""Reading a ledger in parts gives what reading all of it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from toolkit.core import ledger as ledger_module
from toolkit.core.charges import GROUPED, SUMMED, TEXTS, Charges, as_categories, to_frame
from toolkit.core.ledger import Charge, Ledger

KINDS = ("tx", "rx", "compute", "idle", "send")
PHASES = ("data", "ack", "")


def written(path: Path | None, rows: int = 1000) -> Ledger:
    """A ledger of random rows, in shards where there is a path; energies are whole numbers, so that sums are exact."""
    rng = np.random.default_rng(0)
    ledger = Ledger(path)
    for number in range(rows):
        ledger.charge(
            float(number), float(rng.integers(9)), int(rng.integers(5)), 1, str(rng.choice(KINDS)), phase=str(rng.choice(PHASES)),
            flops=float(rng.integers(100)), nbytes=int(rng.integers(100)), energy_j=float(rng.integers(100)),
            outcome=str(rng.choice(["sent", "lost"])), packet=number,
        )
    return ledger


@pytest.fixture(params=["in memory", "in shards"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(ledger_module, "SHARD_ROWS", 300)
    (tmp_path / "ledger").mkdir()
    return written(tmp_path / "ledger" / "a-s1" if request.param == "in shards" else None)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """*frame* with texts as objects and rows numbered anew."""
    return frame.astype({name: object for name in TEXTS if name in frame}).reset_index(drop=True)


def test_all_rows_are_those_that_were_charged(ledger: Ledger) -> None:
    pd.testing.assert_frame_equal(plain(ledger.reader.rows()), plain(ledger.charges()))


@pytest.mark.parametrize("kinds", [("send",), ("tx", "rx"), ("nothing",)])
@pytest.mark.parametrize("columns", [None, ("t0_s", "packet"), ("kind", "energy_j")])
def test_some_kinds_and_columns_are_what_a_filter_leaves(ledger: Ledger, kinds: tuple[str, ...], columns: tuple[str, ...] | None) -> None:
    everything = ledger.charges()
    expected = everything.loc[everything["kind"].isin(kinds), list(columns or Charge._fields)]
    pd.testing.assert_frame_equal(plain(ledger.reader.rows(*kinds, columns=columns)), plain(expected))


def test_totals_are_the_sums_over_all_rows(ledger: Ledger) -> None:
    everything = ledger.charges()
    expected = everything.groupby(list(GROUPED))[list(SUMMED)].sum().assign(rows=everything.groupby(list(GROUPED)).size()).reset_index()
    pd.testing.assert_frame_equal(plain(ledger.reader.totals), plain(expected))
    assert ledger.reader.totals["rows"].sum() == len(everything)


def test_an_empty_ledger_has_its_columns() -> None:
    empty = Ledger().reader
    assert list(empty.rows().columns) == list(Charge._fields)
    assert len(empty.totals) == 0
    assert len(Charges(rest=[Ledger().charges()]).rows("tx", columns=("t0_s",))) == 0


def test_more_words_than_two_bytes_tell_apart() -> None:
    """A hundred thousand links have a row each, with their names; the first rows were told apart by two bytes."""
    def table(first: int, count: int) -> pa.Table:
        names = [f"link {number}" for number in range(first, first + count)]
        return as_categories(pa.table({"phase": names, "nbytes": list(range(count))}))

    frame = to_frame([table(0, 3), table(3, 40_000), table(0, 5)], 40_008)
    assert frame["phase"].astype(str).tolist() == [f"link {number}" for number in [*range(40_003), *range(5)]]
    assert frame["nbytes"].sum() == 3 + 40_000 * 39_999 // 2 + 10
