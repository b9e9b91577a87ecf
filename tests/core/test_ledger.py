from __future__ import annotations

import pandas as pd

from toolkit.core import ledger as module
from toolkit.core.context import SimulatedContext
from toolkit.core.device import Device
from toolkit.core.ledger import Charge, Ledger, Metric
from toolkit.core.work import Work
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
    assert Work(1, 2, 3) + Work(10, 20, 30) == Work(11, 22, 33)
    assert Work(1, 2, 3).times(2) == Work(2, 4, 6)
