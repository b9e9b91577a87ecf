"""Laws of the trace: it agrees with the ledger, sound takes its time in it, every packet ends, and tracing changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import toolkit
from toolkit.acoustic import trace
from toolkit.core.rundir import RunDirectory
from toolkit.core.world import World
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")

SEED = 3
ARMS: dict[str, dict[str, Any]] = {
    "DBR": {"fabric.mobility": {"type": "anchored_drift"}},
    "DBCAR": {"fabric.routing": {"type": "dbcar", "beacon_s": 120, "lifetime_s": 45, "prediction": {"type": "persistence"}}},
    "one-hop": {"fabric.routing.ttl": 1},
    "short-queue": {"fabric.routing": {"type": "flooding"}, "fabric.mac": {"type": "csma", "queue_limit": 1}, "program.interval_s": 15},
    "S-FAMA": {"fabric.routing": {"type": "flooding"}, "fabric.mac": {"type": "sfama", "range_m": 3000.0}},
}


def scenario(*, traced: bool = True, arms: tuple[str, ...] = tuple(ARMS)) -> Scenario:
    return Scenario.build({
        "name": "traced", "seed": SEED, "seeds": 1, "duration_s": 600,
        "fabric": {
            "type": "acoustic", "trace": traced, "epoch_s": 60, "history_s": 21_600, "drain_s": 60,
            "layout": {"nodes": 9, "sinks": 2, "width_m": 2000, "length_m": 2000, "depth_m": 400},
            "modem": {"profile": "evologics_like"}, "sea": {}, "routing": {"type": "dbr"},
            "probe": {"every_s": 600, "horizons_s": [600]},
        },
        "program": {"type": "poisson", "interval_s": 60, "nbytes": 64},
        "compare": {arm: ARMS[arm] for arm in arms},
    })


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trace") / "run"
    toolkit.run(scenario(), out=out)
    return out


def events(run: Path, arm: str) -> pd.DataFrame:
    return pd.read_parquet(run / "trace" / f"{arm}-s{SEED}.parquet")


def nodes(run: Path, arm: str) -> pd.DataFrame:
    return pd.read_parquet(run / "trace" / f"{arm}-s{SEED}-nodes.parquet")


def ledger(run: Path, arm: str, kind: str) -> pd.DataFrame:
    rows = pd.concat([pd.read_parquet(path) for path in sorted((run / "ledger").glob(f"{arm}-s{SEED}-*.parquet"))])
    return rows[rows.kind == kind]


def sorted_rows(frame: pd.DataFrame, columns: list[str]) -> list[tuple[object, ...]]:
    return sorted(frame[columns].itertuples(index=False, name=None))


@pytest.mark.parametrize("arm", ARMS)
def test_transmissions_and_receptions_are_those_of_the_ledger(traced: Path, arm: str) -> None:
    rows = events(traced, arm)
    mine = ["t_s", "dur_s", "node", "peer", "kind", "nbytes", "packet"]
    theirs = ["t0_s", "dur_s", "node", "peer", "phase", "nbytes", "packet"]
    sent = rows[rows.event == "tx"]
    assert len(sent) > 20
    assert sorted_rows(sent, mine) == sorted_rows(ledger(traced, arm, "tx"), theirs)
    heard = rows[rows.event == "rx"].replace({"outcome": {"decoded": "delivered"}})
    assert sorted_rows(heard, [*mine, "outcome"]) == sorted_rows(ledger(traced, arm, "rx"), [*theirs, "outcome"])


@pytest.mark.parametrize("arm", ARMS)
def test_every_arrival_comes_a_distance_over_c_after_its_transmission(traced: Path, arm: str) -> None:
    rows, places = events(traced, arm), nodes(traced, arm)
    speed_m_s = float(pq.read_schema(traced / "trace" / f"{arm}-s{SEED}.parquet").metadata[b"sound_speed_m_s"])
    epochs_s = np.sort(places.t_s.unique())
    position_m = places[["x_m", "y_m", "depth_m"]].to_numpy().reshape(len(epochs_s), -1, 3)
    sent = rows[rows.event == "tx"].set_index("frame")
    assert sent.index.is_unique
    heard = rows[rows.event == "rx"]
    heard = heard[(sent.loc[heard.frame].t_s < epochs_s[-1]).to_numpy()]  # where the last epoch leads to is not in the trace
    cause = sent.loc[heard.frame]
    for column, other in (("peer", "node"), ("packet", "packet"), ("kind", "kind"), ("nbytes", "nbytes")):
        assert (heard[column].to_numpy() == cause[other].to_numpy()).all()
    epoch = np.searchsorted(epochs_s, cause.t_s.to_numpy(), side="right") - 1
    begin_m, end_m = (np.linalg.norm(position_m[at, heard.node] - position_m[at, heard.peer], axis=1) for at in (epoch, epoch + 1))
    share = (cause.t_s.to_numpy() - epochs_s[epoch]) / (epochs_s[epoch + 1] - epochs_s[epoch])
    distance_m = begin_m + share * (end_m - begin_m)  # delays change evenly within an epoch
    assert len(heard) > 20
    np.testing.assert_allclose(heard.t_s.to_numpy() - cause.t_s.to_numpy(), distance_m / speed_m_s, atol=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_a_transmission_is_heard_or_said_to_be_unheard(traced: Path, arm: str) -> None:
    rows = events(traced, arm)
    sent = rows[(rows.event == "tx") & (rows.t_s < 590)]
    heard = set(rows[rows.event == "rx"].frame)
    assert set(sent.outcome) <= {"sent", "unheard"}
    assert all((number in heard) == (outcome == "sent") for number, outcome in zip(sent.frame, sent.outcome, strict=True))


@pytest.mark.parametrize("arm", ARMS)
def test_every_packet_begins_and_ends_once(traced: Path, arm: str) -> None:
    rows = events(traced, arm)
    new, end = rows[rows.event == "new"], rows[rows.event == "end"]
    assert len(new) > 20
    assert sorted_rows(new, ["packet", "node", "nbytes"]) == sorted_rows(end, ["packet", "node", "nbytes"])
    assert new.packet.is_unique
    charged = ledger(traced, arm, "send")
    outcome = charged.phase.where(charged.outcome == "lost", charged.outcome).replace("", "lost")
    mine = [(packet, peer, what) for packet, peer, what in zip(end.packet, end.peer, end.outcome, strict=True)]
    assert sorted(mine) == sorted(zip(charged.packet, charged.peer, outcome, strict=True))
    created_s = new.set_index("packet").t_s
    np.testing.assert_allclose((end.t_s - end.dur_s).to_numpy(), created_s[end.packet].to_numpy(), atol=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_what_reached_a_sink_was_decoded_there_at_that_moment(traced: Path, arm: str) -> None:
    rows = events(traced, arm)
    decoded = rows[(rows.event == "rx") & (rows.outcome == "decoded")]
    end_s = decoded.t_s + decoded.dur_s
    ends = {(packet, node, round(t_s, 6)) for packet, node, t_s in zip(decoded.packet, decoded.node, end_s, strict=True)}
    delivered = rows[(rows.event == "end") & (rows.outcome == "delivered")]
    assert len(delivered) > 0
    for packet, sink, t_s in zip(delivered.packet, delivered.peer, delivered.t_s, strict=True):
        assert (packet, sink, round(t_s, 6)) in ends


@pytest.mark.parametrize("arm", ARMS)
def test_only_who_has_a_packet_drops_it(traced: Path, arm: str) -> None:
    rows = events(traced, arm)
    has = {(row.packet, row.node): row.t_s for row in rows[rows.event == "new"].itertuples()}
    for row in rows[(rows.event == "rx") & (rows.outcome == "decoded") & (rows.packet >= 0)].itertuples():
        has[row.packet, row.node] = min(row.t_s + row.dur_s, has.get((row.packet, row.node), np.inf))
    drops = rows[(rows.event == "drop") & (rows.packet >= 0)]
    assert all(has[row.packet, row.node] <= row.t_s + 1e-9 for row in drops.itertuples())
    assert (drops.outcome != "").all()


def test_half_duplex_losses_are_those_of_nodes_that_send(traced: Path) -> None:
    rows = events(traced, "short-queue")
    sent = rows[rows.event == "tx"]
    length_s = sent.set_index("frame").dur_s
    lost = rows[(rows.event == "rx") & (rows.outcome == "half_duplex")]
    assert len(lost) > 0
    for row in lost.itertuples():
        own = sent[sent.node == row.node]
        assert ((own.t_s < row.t_s + length_s[row.frame] + 1e-9) & (own.t_s + own.dur_s > row.t_s - 1e-9)).any()


def test_interference_only_ever_lowers_the_ratio(traced: Path) -> None:
    heard = pd.concat([events(traced, arm) for arm in ARMS]).query("event == 'rx'")
    decoded = heard[heard.outcome == "decoded"]
    assert decoded.sinr_db.notna().all()
    assert (heard.sinr_db.dropna() <= heard.snr_db[heard.sinr_db.notna()] + 1e-9).all()
    assert heard.snr_db.notna().all()
    assert set(heard.outcome) <= {"decoded", "noise", "collision", "half_duplex", "in_flight"}


def test_what_the_end_of_the_run_cuts_off_is_in_flight(pool) -> None:
    """A frame of 40 ms that begins to arrive 20 ms before the end, and one that would arrive after it, which is no reception."""
    sea = pool([(0, 0, 0), (150, 0, 0), (1500, 0, 0)])
    observer = trace.Trace(sea.world, np.zeros(3, dtype=bool), 1500.0)
    sea.medium.observe(observer)
    sea.send_at(9.88, 0)
    sea.run()
    rows = observer.events()
    heard = rows[rows.event == "rx"]
    assert heard.node.tolist() == [1]
    assert heard.outcome.tolist() == ["in_flight"]
    assert (heard.t_s.item(), heard.dur_s.item()) == (pytest.approx(9.98), pytest.approx(0.02))
    assert rows[rows.event == "tx"].outcome.tolist() == ["sent"]


def test_a_packet_that_may_make_one_hop_is_refused_by_everybody_above(traced: Path) -> None:
    """With ttl = 1 every sensor that decodes a frame from below refuses the packet for that reason, and nobody else does."""
    rows, places = events(traced, "one-hop"), nodes(traced, "one-hop")
    first = places[places.t_s == 0.0].set_index("node")
    decoded = rows[(rows.event == "rx") & (rows.outcome == "decoded")]
    above = first.depth_m[decoded.peer].to_numpy() >= first.depth_m[decoded.node].to_numpy()
    expected = decoded[above & ~first.sink[decoded.node].to_numpy()]
    refused = rows[(rows.event == "drop") & (rows.outcome == "ttl")]
    assert len(refused) > 0
    assert sorted_rows(refused, ["packet", "node"]) == sorted_rows(expected, ["packet", "node"])


def test_a_full_queue_is_a_drop_of_its_frame(traced: Path) -> None:
    drops = events(traced, "short-queue").query("event == 'drop' and outcome == 'queue_full'")
    assert len(drops) > 0
    assert (drops.nbytes > 64).all()  # a frame: the payload and its header


def test_a_second_copy_at_a_sink_is_a_duplicate(traced: Path) -> None:
    rows, sink = events(traced, "DBR"), nodes(traced, "DBR").query("t_s == 0 and sink").node
    metrics = pd.read_parquet(traced / "metrics" / f"DBR-s{SEED}.parquet")
    twice = rows[(rows.event == "drop") & (rows.outcome == "duplicate")]
    assert len(twice) == metrics[metrics.name == "duplicates"].value.item()
    assert set(twice.node) <= set(sink)


def test_positions_of_every_epoch_and_sinks_at_the_surface(traced: Path) -> None:
    places = nodes(traced, "DBR")
    assert list(places.columns) == ["t_s", "node", "x_m", "y_m", "depth_m", "sink"]
    assert sorted(places.t_s.unique()) == [60.0 * epoch for epoch in range(10)]
    assert (places.groupby("t_s").size() == 11).all()
    assert places[places.sink].node.unique().tolist() == [9, 10]
    assert places[~places.sink].groupby("node").x_m.nunique().max() > 1, "anchored nodes drift"


def test_tracing_changes_nothing_else_and_repeats_to_the_byte(traced: Path, tmp_path: Path) -> None:
    arms = ("one-hop", "DBCAR")  # many packets are lost: as refused or badly received copies, and as copies that are given up
    reasons = [set(events(traced, arm).query("event == 'end'").outcome) for arm in arms]
    assert reasons[0] & {"ttl", "noise", "collision"}
    assert reasons[1] & {"void", "retries"}
    toolkit.run(scenario(traced=False, arms=arms), out=tmp_path / "plain")
    toolkit.run(scenario(arms=arms), out=tmp_path / "again")
    assert not (tmp_path / "plain" / "trace").exists()
    assert (tmp_path / "plain" / "report.csv").read_bytes() == (tmp_path / "again" / "report.csv").read_bytes()
    for path in sorted((tmp_path / "plain" / "ledger").iterdir()):
        assert path.read_bytes() == (traced / "ledger" / path.name).read_bytes()
    written = sorted((tmp_path / "again" / "trace").iterdir())
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (traced / "trace" / path.name).read_bytes()


def test_rows_are_the_same_whether_written_in_parts_or_kept(traced: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trace, "SHARD_ROWS", 50)
    arm = scenario(arms=("DBR",)).arms()["DBR"]
    network = {}
    for name, path in (("kept", None), ("parts", RunDirectory(tmp_path).trace_stem("x"))):
        world = World(SEED, 600.0, trace=path)
        sea = network[name] = arm.fabric.build(world)
        sea.launch(arm.program)
        world.env.run(until=600.0)
        sea.finish()
    whole = events(traced, "DBR")
    assert pq.ParquetFile(tmp_path / "trace" / "x.parquet").num_row_groups > 3
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "trace" / "x.parquet"), whole)
    pd.testing.assert_frame_equal(network["kept"].trace.events(), whole)
    pd.testing.assert_frame_equal(network["kept"].trace.nodes(), nodes(traced, "DBR"))
