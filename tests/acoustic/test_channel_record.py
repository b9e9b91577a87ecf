"""Links whose SNR comes from a log: how it is read, what lies between rows, and that a run's own log gives the run again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.acoustic.channel_record import SILENT_DB, ChannelRecord
from toolkit.acoustic.environment import Span
from toolkit.core.rundir import RunDirectory
from toolkit.core.streams import Streams
from toolkit.errors import DataError
from toolkit.job import Job
from toolkit.record_channel import main, write
from toolkit.scenario import Scenario
from toolkit.sweep import run_job

SPAN = Span(datetime(2024, 5, 1, tzinfo=UTC), 0.0, 7200.0)
HEAD = "time,sender,receiver,snr_db\n"


def record(path: Path, text: str, **settings) -> ChannelRecord:
    path.write_text(text, encoding="utf-8")
    return ChannelRecord.model_validate({"file": str(path), **settings})


def laid(part: ChannelRecord, t_s: float, count: int = 3, span: Span = SPAN) -> np.ndarray:
    snr_db = np.full((count, count), 7.0)
    part.init(span, count).lay_over(snr_db, t_s)
    return snr_db


def rows(*items: tuple[float, int, int, float]) -> str:
    return HEAD + "".join(",".join(map(str, item)) + "\n" for item in items)


PAIR = rows((0, 0, 1, 10), (3600, 0, 1, 20), (7200, 0, 1, 30),
            (0, 1, 2, 5), (3600, 1, 2, 6), (7200, 1, 2, 9), (0, 2, 1, 1), (7200, 2, 1, 2))


def test_between_rows_by_hand(tmp_path: Path) -> None:
    """Forward 0->1, both directions of 1-2; 0-2 is in no row."""
    part = record(tmp_path / "a.csv", PAIR, max_gap_s=7200)
    expected = np.full((3, 3), SILENT_DB)
    np.fill_diagonal(expected, 7.0)
    expected[0, 1] = expected[1, 0] = 12.5
    expected[1, 2], expected[2, 1] = 5.25, 1.125
    np.testing.assert_allclose(laid(part, 900.0), expected)
    np.testing.assert_allclose(laid(part, 3600.0)[0, 1], 20.0)
    np.testing.assert_allclose(laid(part, 7200.0)[[0, 2], 1], [30.0, 2.0])


def test_held_and_rules_of_the_rest(tmp_path: Path) -> None:
    part = record(tmp_path / "a.csv", PAIR, max_gap_s=7200, interpolation="hold", reverse="silent", others="model")
    found = laid(part, 3599.0)
    assert (found[0, 1], found[1, 0], found[2, 1]) == (10.0, SILENT_DB, 1.0)
    assert found[0, 2] == found[2, 0] == 7.0  # what the model said


def test_a_gap_is_refused_silent_or_crossed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"link 2->1 has no row from 0 s to 7200 s, more than max_gap_s = 3600"):
        laid(record(tmp_path / "a.csv", PAIR), 0.0)
    silent = record(tmp_path / "b.csv", PAIR, gaps="silent")
    assert [laid(silent, t_s)[2, 1] for t_s in (0.0, 10.0, 7200.0)] == [1.0, SILENT_DB, 2.0]
    assert laid(record(tmp_path / "c.csv", PAIR, gaps="interpolate"), 3600.0)[2, 1] == 1.5


def test_the_ends_of_a_link_are_held_as_far_as_a_gap_may_be(tmp_path: Path) -> None:
    text = rows((0, 0, 1, 1), (7200, 0, 1, 1), (3000, 1, 2, 8), (4000, 1, 2, 9))
    silent = record(tmp_path / "a.csv", text, gaps="silent", max_gap_s=1000)
    assert [laid(silent, t_s)[1, 2] for t_s in (1999.0, 2000.0, 3500.0, 5000.0, 5001.0)] == [SILENT_DB, 8.0, 8.5, 9.0, SILENT_DB]
    with pytest.raises(DataError, match="link 1->2 has no row from 4000 s to 7200 s"):
        laid(record(tmp_path / "b.csv", text + "2500,0,1,1\n5000,0,1,1\n", max_gap_s=2500), 0.0)


def test_time_may_leap_and_go_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.choice(7200, 300, replace=False)).astype(float)
    values = rng.standard_normal(300)
    part = record(tmp_path / "a.csv", rows(*zip(times, [0] * 300, [1] * 300, values, strict=True)), gaps="interpolate", max_gap_s=300)
    links = part.init(SPAN, 2)
    for t_s in [*rng.uniform(0, 7200, 40), *np.sort(rng.uniform(0, 7200, 200))]:
        snr_db = np.zeros((2, 2))
        links.lay_over(snr_db, t_s)
        assert snr_db[0, 1] == pytest.approx(np.interp(t_s, times, values), abs=1e-12)


def test_rows_columns_dates_and_parquet_say_the_same(tmp_path: Path) -> None:
    wide = "time,0->1,1->2\n" + "".join(f"{t},{t / 100},{'' if t == 1800 else 4}\n" for t in range(0, 7201, 600))
    long = rows(*((t, 0, 1, t / 100) for t in range(0, 7201, 600)), *((t, 1, 2, 4) for t in range(0, 7201, 600) if t != 1800))
    frame = pd.read_csv(tmp_path / "l.csv") if record(tmp_path / "l.csv", long) else None
    dated = frame.assign(time=pd.to_datetime(SPAN.origin.timestamp() + frame.time, unit="s", utc=True))
    frame.sample(frac=1.0, random_state=1).to_parquet(tmp_path / "l.parquet")
    dated.to_parquet(tmp_path / "d.parquet")
    dated.to_csv(tmp_path / "d.csv", index=False)
    later = frame.assign(time=frame.time + 1e6)
    later.to_parquet(tmp_path / "z.parquet")
    expected = laid(record(tmp_path / "w.csv", wide), 2000.0)
    assert expected[0, 1] == 20.0
    for name, more in (("l.csv", {}), ("l.parquet", {}), ("d.parquet", {}), ("d.csv", {}), ("z.parquet", {"zero_s": 1e6})):
        found = laid(ChannelRecord.model_validate({"file": str(tmp_path / name), **more}), 2000.0)
        np.testing.assert_allclose(found, expected, err_msg=name)


@pytest.mark.parametrize(("text", "says"), [
    ("", "is empty"),
    ("time,sender,receiver,snr\n0,0,1,3\n", "needs the columns sender, receiver, snr_db, or one column per link, called like 3->7"),
    ("t,0->1\n0,3\n", "has no column 'time'"),
    (HEAD + "0,0,1,loud\n", "line 2: column 'snr_db' holds 'loud'"),
    (HEAD + "0,0,1,inf\n", "line 2: column 'snr_db' holds 'inf'"),
    (HEAD + "0,0,1.5,3\n", "line 2: column 'receiver' holds '1.5', and the number of a node is needed"),
    (HEAD + "0,0,-1,3\n", "line 2: column 'receiver' holds '-1', and the number of a node is needed"),
    (HEAD + "0,0,1,3\n1,2,2,3\n", "line 3: node 2 is sender and receiver"),
    (HEAD + "0,0,1,3\n5,1,0,3\n0,0,1,4\n", "line 4: link 0->1 has a row at this time already, in line 2"),
    (HEAD + "noon,0,1,3\n", "line 2: column 'time' holds 'noon'"),
    (HEAD + "0,0,1,\n", "holds no SNR"),
    ("time,0->1\n5,3\n4,3\n", "line 3: the time is not later than that of the row above"),
    (rows((0, 0, 1, 1), (7200, 0, 1, 1), (0, 0, 9, 1)), "names node 9, and the layout has nodes and sinks 0 to 2"),
    (rows((0, 0, 1, 1), (7200, 0, 1, 1)), "has no link of node 2"),
    (rows((0, 0, 1, 1), (2000, 1, 2, 1)), "covers 0 s to 2000 s, and the run needs 0 s to 7200 s, history included"),
])
def test_a_bad_log_gets_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    part = record(tmp_path / "bad.csv", text)
    with pytest.raises(DataError) as caught:
        part.check(SPAN, 3)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


TREE = {
    "name": "small", "seeds": 1, "duration_s": 3600.0, "program": {"type": "poisson", "interval_s": 120.0},
    "fabric": {
        "type": "acoustic", "layout": {"nodes": 6, "sinks": 1, "width_m": 900, "length_m": 900, "depth_m": 300},
        "sea": {"wind": {"type": "synthetic_wind"}}, "mobility": {"type": "random_waypoint"}, "fading": {"kind": "rician"},
        "history_s": 7200.0, "history_step_s": 600.0, "drain_s": 0.0, "routing": {"type": "dbcar", "prediction": "persistence"},
    },
}


def snr_over_time(scenario: Scenario, seed: int) -> np.ndarray:
    fabric = scenario.fabric
    channel, _ = fabric.open_channel(Streams(seed), scenario.limit_s)
    found = []
    for t_s in [*np.arange(-fabric.history_s, 0.0, fabric.history_step_s), *np.arange(0.0, 3601.0, fabric.epoch_s)]:
        channel.advance(t_s)
        np.testing.assert_allclose(channel.power, 10 ** (channel.snr_db / 10) * channel.noise, rtol=1e-9)
        found.append(channel.snr_db)
    return np.array(found)


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_a_run_replayed_from_its_own_links_is_the_same_run(tmp_path: Path, name: str) -> None:
    """The same SNR(t) of every link, history and all, and so the same packets: only the source of the numbers has changed."""
    scenario = Scenario.build(TREE)
    done, links = write(scenario, 1, tmp_path / name)
    assert (done, links) == (42 * (12 + 61), 42)
    replay = Scenario.build({**TREE, "fabric": {**TREE["fabric"], "channel_record": {"file": str(tmp_path / name), "gaps": "error"}}})
    np.testing.assert_array_equal(snr_over_time(replay, 1), snr_over_time(scenario, 1))
    told = []
    for place, one in enumerate((scenario, replay)):
        directory = RunDirectory(tmp_path / str(place))
        directory.open(one.dump(), resume=False)
        run_job(Job("small", 1, one.dump(), directory.path))
        told.append(json.loads(directory.record("small-s1").read_text(encoding="utf-8")))
    assert {name: value for name, _, value in told[0]["rows"]}["delivery_ratio"] > 0
    assert told[0] == told[1]


def test_the_command(tmp_path: Path, capsys) -> None:
    import yaml

    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**TREE, "compare": {"DBR": {"fabric.routing": {"type": "dbr"}}}}), encoding="utf-8")
    out = tmp_path / "deep" / "log.csv"
    common = [str(path), "--out", str(out)]
    assert main([*common, "--step", "30min", "--least-snr-db", "0", "--decimals", "1", "--arm", "DBR", "--set", "duration_s=7200"]) == 0
    table = pd.read_csv(out)
    assert capsys.readouterr().out == f"{out}: {len(table)} rows of {len(table.groupby(['sender', 'receiver']))} links\n"
    assert table.snr_db.min() >= 0
    assert sorted(table.time.unique()) == [-7200.0, -5400.0, -3600.0, -1800.0, 0.0, 1800.0, 3600.0, 5400.0, 7200.0]
    np.testing.assert_allclose(table.snr_db, table.snr_db.round(1))
    for wrong, says in (
        (["--arm", "DBX"], "--arm DBX: the scenario has no such arm; did you mean 'DBR'?"),
        (["--step", "soon"], "--step soon: must be a span"),
        (["--out", str(tmp_path / "log.txt")], "must end in .csv or .parquet"),
        (["--out", str(path / "log.csv")], "cannot be written"),
    ):
        assert main([*common, *wrong]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert err.count("\n") == 1


def test_the_shipped_scenario_runs_on_the_shipped_log(tmp_path: Path) -> None:
    scenario = Scenario.load(Path(__file__).parents[2] / "scenarios" / "channel_replay.yaml", quick=True)
    scenario.check()
    directory = RunDirectory(tmp_path / "out")
    directory.open(scenario.dump(), resume=False)
    run_job(Job("DBR", 1, scenario.arms()["DBR"].dump(), directory.path))
    rows = json.loads(directory.record("DBR-s1").read_text(encoding="utf-8"))["rows"]
    assert {name: value for name, _, value in rows}["delivery_ratio"] > 0.9
