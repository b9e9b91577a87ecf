from __future__ import annotations

import pandas as pd
import pytest

from toolkit.core import ledger as module
from toolkit.core import statefile
from toolkit.core.device import Device
from toolkit.core.ledger import Charge, Ledger, Metric, kept_rows, rows_of
from toolkit.core.simulated import SimulatedContext
from toolkit.core.work import Work, padded
from toolkit.core.world import World


def fill(ledger: Ledger, count: int) -> None:
    for i in range(count):
        ledger.charge(float(i), 0.5, i % 3, -1, "tx", phase="data", nbytes=i, energy_j=0.25, outcome="sent", packet=i)
    ledger.metric(1.0, "hops", 2.0, "3", 7)


def test_shards_hold_what_was_charged(tmp_path, monkeypatch) -> None:
    whole = Ledger()
    fill(whole, 25)
    monkeypatch.setattr(module, "SHARD_ROWS", 10)
    sharded = Ledger(tmp_path / "arm-s1")
    fill(sharded, 25)
    pd.testing.assert_frame_equal(sharded.charges(), whole.charges(), check_dtype=False)
    sharded.close(tmp_path / "metrics.parquet")
    parts = sorted(tmp_path.glob("arm-s1-*.parquet"))
    assert [len(pd.read_parquet(path)) for path in parts] == [10, 10, 5]
    assert list(pd.read_parquet(parts[0]).columns) == list(Charge._fields)
    assert list(pd.read_parquet(tmp_path / "metrics.parquet").columns) == list(Metric._fields)


def test_the_same_rows_give_the_same_bytes(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ledger = Ledger(tmp_path / name / "run")
        fill(ledger, 100)
        ledger.close(tmp_path / name / "metrics.parquet")
    for file in ("run-000.parquet", "metrics.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_computing_takes_roofline_time_in_turn_and_is_charged() -> None:
    world = World(1, 10.0)
    device = Device(peak_flops_per_s=100.0, efficiency=0.5, memory_bytes_per_s=1000.0, overhead_s=0.1, busy_w=2.0)
    ctx = SimulatedContext(world, 0, 1, device, lambda *_: world.env.event())
    times = []

    def program():
        first = ctx.compute(Work(flops=50.0, read_bytes=100.0), "a")  # 0.1 + max(1.0, 0.1) s
        second = ctx.compute(Work(flops=5.0, read_bytes=900.0), "b")  # 0.1 + max(0.1, 0.9) s, after the first
        yield first
        times.append(world.now)
        yield second
        times.append(world.now)

    world.env.process(program())
    world.env.run(until=10.0)
    rows = world.ledger.charges()
    assert times == [1.1, 2.1]
    assert rows.energy_j.tolist() == [2.2, 2.0]
    assert rows.t0_s.tolist() == [0.0, 1.1]
    assert rows.flops.tolist() == [50.0, 5.0]


def test_work_adds_and_scales() -> None:
    """In every field: each is counted by itself, and none for another."""
    one, other = Work(*range(1, 9)), Work(*(10.0 ** place for place in range(8)))
    assert len(Work._fields) == 8
    assert list(one + other) == [a + b for a, b in zip(one, other, strict=True)]
    assert one + other - other == one
    assert list(one.times(3)) == [3 * each for each in one]
    assert one.times(2) == one + one
    assert Work() + one == one
    assert one.beyond_first() == one._replace(launches=3)
    assert Work(launches=0).beyond_first() == Work()


def test_channels_are_counted_in_whole_groups() -> None:
    assert [padded(channels) for channels in (1, 7, 8, 9, 16, 17)] == [8, 8, 8, 16, 16, 24]


def test_a_kept_ledger_goes_on_as_it_was(tmp_path, monkeypatch) -> None:
    """Stopped after any number of rows, and taken up by another: the same rows, observations and files as undisturbed."""
    monkeypatch.setattr(module, "SHARD_ROWS", 10)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = Ledger(tmp_path / "whole" / "run")
    fill(whole, 15)
    fill(whole, 12)
    whole.close(tmp_path / "whole" / "metrics.parquet")
    first = Ledger(tmp_path / "stopped" / "run")
    fill(first, 15)
    kept = statefile.loads(statefile.dumps(first.state()))
    assert len(kept["shards"]) == 1
    fill(first, 4)  # lost with the process
    second = Ledger(tmp_path / "stopped" / "run")
    second.load_state(kept)
    fill(second, 12)
    second.close(tmp_path / "stopped" / "metrics.parquet")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "stopped").iterdir()) == [
        "metrics.parquet", "run-000.parquet", "run-001.parquet", "run-002.parquet",
    ]
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    assert {path.name: known for path, known in second.files.items()} == {path.name: known for path, known in whole.files.items()}


def test_rows_by_columns_come_back_and_what_is_no_row_is_refused() -> None:
    rows = [Metric(0.5, 3, "a", "x", 1.0), Metric(1.5, -1, "b", "x", 2.0), Metric(2.5, 0, "a", "", float("inf"))]
    assert list(rows_of(kept_rows(rows, Metric))) == [tuple(row) for row in rows]
    assert list(rows_of(kept_rows([], Metric))) == []
    for wrong in ([(0.5, 3, "a")], [tuple(rows[0]), (0.5,)], [(*rows[0], 1)]):
        with pytest.raises(ValueError, match="zip"):
            kept_rows(wrong, Metric)
