from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.cluster.helpers import FREE, LINK, Written, cluster, simulate
from toolkit.cluster.failures import Degradation, factors_in_force
from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.ledger import rows_of
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.work import Work
from toolkit.core.world import World
from toolkit.errors import ScenarioError

SECOND = Work(1e12)
"""One second on the machines of the tests."""


def test_a_message_takes_alpha_and_beta() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            delivery = yield ctx.send(1, 1_000_000)
            assert (delivery.outcome, delivery.t0_s, delivery.hops) == ("delivered", 0.0, 2)
            assert delivery.t1_s == ctx.now == pytest.approx(1.002, rel=1e-12)

    world, _ = simulate(cluster(2), act)
    assert world.now == pytest.approx(1.002, rel=1e-12)


def test_messages_are_read_in_the_order_in_which_they_were_sent() -> None:
    """The second is much shorter and arrives first."""
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            first, second = torch.ones(100_000), torch.zeros(1)
            ctx.send(1, first.nbytes, "data", first)
            yield ctx.send(1, second.nbytes, "data", second)
        else:
            assert (yield ctx.recv(0, torch.zeros(100_000))).numel() == 100_000
            assert (yield ctx.recv(0, torch.zeros(1))).numel() == 1

    simulate(cluster(2), act)


def test_what_many_send_to_one_shares_its_link() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank:
            yield ctx.send(0, 1_000_000)

    world, _ = simulate(cluster(5), act)
    assert world.now == pytest.approx(4.002, rel=1e-12)


def test_a_link_profile_with_corrections() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            yield ctx.send(1, 1_000_000)

    world, _ = simulate(cluster(2, network={"bandwidth_factor": 0.5, "latency_factor": 10.0}), act)
    assert world.now == pytest.approx(2.0 + 0.02, rel=1e-12)


def test_acknowledgements_slow_two_that_send_to_each_other() -> None:
    def act(ctx: Context) -> Asking:
        yield ctx.send(1 - ctx.rank, 1_000_000)

    world, _ = simulate(cluster(2, network={"ack_share": 0.25}), act)
    assert world.now == pytest.approx(1.25 + 0.002, rel=1e-12)


def test_energy_is_conserved_between_busy_idle_and_links() -> None:
    def act(ctx: Context) -> Asking:
        yield ctx.compute(SECOND.times(ctx.rank + 1), "gradient")
        if ctx.rank == 1:
            yield ctx.send(0, 1_000_000)

    topology = {"type": "star", "link": {**LINK, "idle_w": 0.25}}
    world, _ = simulate(cluster(2, topology=topology), act)
    rows = world.ledger.charges()
    by_kind = rows.groupby("kind")["energy_j"].sum()
    end_s = 2.0 + 1.002
    assert world.now == pytest.approx(end_s, rel=1e-12)
    assert by_kind["compute"] == pytest.approx(5.0 * 3.0)
    idle = rows[rows["kind"] == "idle"]
    assert idle[idle["phase"] == "host"]["energy_j"].sum() == pytest.approx(2.0 * (2 * end_s - 3.0))
    assert idle[idle["phase"] != "host"]["energy_j"].sum() == pytest.approx(4 * 0.25 * end_s)
    assert by_kind["tx"] == pytest.approx(2 * 8e6 * 1e-9)


def test_every_row_lies_within_the_run_and_belongs_to_a_machine_or_to_a_link() -> None:
    """Busy and idle time of each machine come to the run's length; what links draw is nobody's."""
    def act(ctx: Context) -> Asking:
        yield ctx.compute(SECOND.times(ctx.rank + 1), "gradient")
        if not ctx.is_server:
            yield from ctx.all_reduce(SizeOnlyPayload(100_000))
            yield ctx.store(read_bytes=1000)

    world, network = simulate(cluster(3, topology={"type": "star", "link": {**LINK, "idle_w": 0.25}}, servers=1), act)
    rows, end_s = world.ledger.charges(), world.now
    assert (rows["t0_s"] >= 0).all()
    assert (rows["t0_s"] + rows["dur_s"] <= end_s * (1 + 1e-12)).all()
    links = rows["phase"].str.startswith("link ")
    assert links.sum() == len(network.built.links)
    assert (rows.loc[links, ["node", "peer"]] == -1).all().all()
    assert (rows.loc[links, "kind"] == "idle").all()
    assert (rows.loc[~links, ["node", "peer"]] >= 0).all().all()
    assert (rows.loc[rows["kind"].isin(["idle", "compute", "store"]) & ~links, "node"] == rows.loc[
        rows["kind"].isin(["idle", "compute", "store"]) & ~links, "peer"]).all()
    for ctx in network.workers:
        own = rows[(rows["node"] == ctx.node) & ~links]
        assert own.loc[own["kind"] == "idle", "t0_s"].tolist() == [0.0]
        assert ctx.busy_s + own.loc[own["kind"] == "idle", "dur_s"].sum() == pytest.approx(end_s)
    metrics = world.ledger.metrics()
    used = metrics[metrics["name"] == "link_utilisation"].set_index("who")["value"]
    sent = rows[rows["kind"] == "tx"]
    for place, name in enumerate(network.built.links):
        carried = sum(row.nbytes for row in sent.itertuples() if place in dict(network.mail.path(row.node, row.peer).uses))
        assert used.get(name, 0.0) == pytest.approx(carried / (1e6 * end_s))


@pytest.mark.parametrize(("settings", "may"), [
    ({"workers": 1}, True), ({"workers": 2}, False), ({"workers": 1, "servers": 1}, False),
    ({"workers": 1, "failures": {"outages": [{"node": "worker0", "from_s": 1, "to_s": 2}]}}, False),
])
def test_only_a_machine_alone_to_which_nothing_happens_may_keep_its_state(settings: dict[str, Any], may: bool) -> None:
    """Anything else may have messages under way between two of its steps."""
    network = cluster(**settings).build(World(1, float("inf")))
    assert {getattr(ctx, "may_save") for ctx in network.contexts} == {may}  # noqa: B009 - of machines in simulated time


def test_after_a_crash_workers_come_first_and_servers_are_counted_apart() -> None:
    """Three workers and two servers; the second worker is lost, and those after it move up."""
    seen: dict[int, tuple[int, int, int, bool]] = {}

    def act(ctx: Context) -> Asking:
        try:
            yield ctx.sleep(10.0)
        except PeerLost as lost:
            seen[ctx.node] = (lost.node, ctx.rank, ctx.size, ctx.is_server)

    failures = {"crashes": [{"node": "worker1", "at_s": 0.5}], "detect_s": 0.1}
    simulate(cluster(3, servers=2, failures=failures), act)
    assert seen == {0: (1, 0, 2, False), 2: (1, 1, 2, False), 3: (1, 2, 2, True), 4: (1, 3, 2, True)}


def test_a_script_holds_what_a_program_asked_itself() -> None:
    """Each request with what it asked for, and of a collective only itself: its messages, sums and traffic follow from it."""
    def act(ctx: Context) -> Asking:
        asked = Work(1e9, 10, 20, 3, 1, 5e8, 1e8, 2e8)
        yield ctx.compute(asked, "gradient", 0.5)
        yield ctx.store(read_bytes=30, write_bytes=40, phase="replay")
        yield from ctx.all_reduce(SizeOnlyPayload(1000), "sum")
        if ctx.rank == 0:
            yield ctx.send(1, 4000, "data", SizeOnlyPayload(1000))
        else:
            yield ctx.recv(0, SizeOnlyPayload(1000))
        yield ctx.sleep(0.25)
        ctx.metric("loss", 2.5, "me", 7)

    world, network = simulate(cluster(2), act)
    kept = list(rows_of(world.ledger.state()["requests"]))
    assert kept == [tuple(row) for ctx in network.workers for row in ctx.call_trace.rows]
    for ctx in network.workers:
        rows = [row for row in ctx.call_trace.rows if row.op != "wait"]
        assert [row.op for row in rows] == ["compute", "store", "all_reduce", "recv" if ctx.rank else "send", "sleep", "metric"]
        assert {row.node for row in rows} == {ctx.node}
        compute, store, reduce, message, sleep, metric = rows
        asked = (compute.flops, compute.read_bytes, compute.write_bytes, compute.launches, compute.convolutions)
        assert asked == (1e9, 10, 20, 3, 1)
        assert (compute.convolution_flops, compute.padding_flops, compute.matrix_flops) == (5e8, 1e8, 2e8)
        assert (compute.phase, compute.value) == ("gradient", 0.5)
        assert (store.read_bytes, store.write_bytes, store.phase) == (30, 40, "replay")
        assert (reduce.elements, reduce.itemsize, reduce.phase) == (1000, 4, "sum")
        assert (message.elements, message.itemsize, message.peer) == (1000, 4, 1 - ctx.rank)
        assert sleep.value == 0.25
        assert (metric.name, metric.value, metric.who, metric.step) == ("loss", 2.5, "me", 7)
        waits = [row.elements for row in ctx.call_trace.rows if row.op == "wait"]
        assert [ctx.call_trace.rows[place].op for place in waits] == ["compute", "store", "recv" if ctx.rank else "send", "sleep"]


def test_storage_takes_turns_with_itself_and_not_with_the_processor() -> None:
    """1 s of reading and 2 s of writing beside 1 s of computing; the machine is idle while it only waits for its disk."""
    disk = {**FREE, "storage_read_bytes_per_s": 100.0, "storage_write_bytes_per_s": 10.0, "storage_w": 3.0}

    def act(ctx: Context) -> Asking:
        read = ctx.store(read_bytes=100, phase="replay")
        written = ctx.store(write_bytes=20, phase="insert")
        yield ctx.compute(SECOND)
        assert ctx.now == pytest.approx(1.0)
        yield read
        yield written
        assert ctx.now == pytest.approx(3.0)

    world, _ = simulate(cluster(1, device=disk), act)
    rows = world.ledger.charges()
    stored = rows[rows["kind"] == "store"]
    assert list(stored["outcome"]) == ["read", "written"]
    assert list(stored["nbytes"]) == [100, 20]
    assert stored["energy_j"].sum() == pytest.approx(9.0)
    assert rows["energy_j"].sum() == pytest.approx(9.0 + 1.0 * 5.0 + 2.0 * 2.0)


def test_topology_changes_what_a_dense_exchange_takes() -> None:
    """Acceptance check 11: eight workers on a star against racks with an oversubscribed uplink."""
    times = {}
    for name, topology in (
        ("star", {"type": "star", "link": LINK}),
        ("tree", {"type": "tree", "link": LINK, "rack_size": 4, "oversubscription": 4.0}),
    ):
        for schedule in ("recursive_doubling", "rabenseifner"):
            spec = cluster(8, topology=topology, collectives={"all_reduce": schedule})
            times[name, schedule] = simulate(spec, lambda ctx: ctx.all_reduce(SizeOnlyPayload(1_000_000)))[0].now
    assert times["tree", "recursive_doubling"] / times["star", "recursive_doubling"] >= 1.5
    assert times["tree", "rabenseifner"] / times["star", "rabenseifner"] >= 1.5


def test_a_slow_machine_keeps_the_others_waiting() -> None:
    def act(ctx: Context) -> Asking:
        yield ctx.compute(SECOND, "gradient")
        yield from ctx.all_reduce(SizeOnlyPayload(1))

    plain = simulate(cluster(4), act)[0].now
    slow = simulate(cluster(4, stragglers={"type": "fixed", "factors": {"worker2": 3.0}}), act)[0].now
    assert slow - plain == pytest.approx(2.0, abs=1e-4)


def test_lognormal_slow_downs_have_mean_one_and_do_not_depend_on_who_asks() -> None:
    def act(ctx: Context) -> Asking:
        for _ in range(300):
            yield ctx.compute(SECOND, "gradient")

    spec = cluster(8, stragglers={"type": "lognormal", "sigma": 0.5, "hold_s": 0.01})
    world, _ = simulate(spec, act)
    rows = world.ledger.charges()
    busy = rows[rows["kind"] == "compute"]["dur_s"]
    assert busy.mean() == pytest.approx(1.0, abs=4 * 0.533 / (8 * 300) ** 0.5)
    again, _ = simulate(spec, act)
    assert again.now == world.now


def test_a_trace_says_when_who_is_slow(tmp_path: Any) -> None:
    file = tmp_path / "slow.csv"
    file.write_text("node,t_s,factor\nworker1,0.5,3.0\nworker1,10,1.0\n")

    def act(ctx: Context) -> Asking:
        yield ctx.compute(SECOND, "gradient")
        assert ctx.now == 1.0
        yield ctx.compute(SECOND, "gradient")
        assert ctx.now == (4.0 if ctx.rank == 1 else 2.0)

    simulate(cluster(2, stragglers={"type": "trace", "file": str(file)}), act)


def test_an_absent_machine_goes_on_where_it_was() -> None:
    def act(ctx: Context) -> Asking:
        yield ctx.compute(SECOND, "gradient")
        assert ctx.now == pytest.approx(1.0 if ctx.rank else 1.0 + 2.0)

    outages = [{"node": "worker0", "from_s": 0.5, "to_s": 2.0}, {"node": "worker0", "from_s": 1.5, "to_s": 2.5}]
    simulate(cluster(2, failures={"outages": outages}), act)


def test_a_degraded_link_is_slow_in_its_window() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            yield ctx.send(1, 2_000_000)

    spec = cluster(2, failures={"degradations": [{"link": "worker0>switch", "from_s": 1.0, "to_s": 2.0, "factor": 0.5}]})
    assert simulate(spec, act)[0].now == pytest.approx(1.0 + 1.0 + 0.5 + 0.002, rel=1e-9)


@pytest.mark.parametrize("order", [1, -1])
def test_where_degradations_overlap_the_lowest_factor_counts(order: int) -> None:
    """10 Gbit at 1 Gbit/s: 0.5 in the first second, 0.1 in the second, then 9.4 Gbit at 0.5."""
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            yield ctx.send(1, 1_250_000_000)

    windows = [
        {"link": "worker0>switch", "from_s": 0, "to_s": 100, "factor": 0.5},
        {"link": "worker0>switch", "from_s": 1, "to_s": 2, "factor": 0.1},
    ]
    spec = cluster(2, topology={"type": "star", "link": {**LINK, "rate_bps": 1e9}}, failures={"degradations": windows[::order]})
    assert simulate(spec, act)[0].now == pytest.approx(20.8 + 0.002, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from([0.25, 0.5, 1.0])), max_size=6))
def test_the_factor_in_force_is_the_lowest_of_the_windows_one_is_in(drawn: list[tuple[int, int, float]]) -> None:
    windows = [Degradation(link="x", from_s=begin, to_s=begin + long, factor=factor) for begin, long, factor in drawn]
    changes = factors_in_force(windows)
    for at_s in (0.5 + i for i in range(13)):
        expected = min((window.factor for window in windows if window.from_s < at_s < window.to_s), default=1.0)
        assert next((factor for since_s, factor in reversed(changes) if since_s < at_s), 1.0) == expected


def test_those_that_are_left_form_a_group_after_the_time_out() -> None:
    seen: dict[int, list[Any]] = {}

    def act(ctx: Context) -> Asking:
        seen[ctx.node] = []
        while True:
            try:
                yield from ctx.all_reduce(SizeOnlyPayload(100_000))
                yield ctx.compute(SECOND)
                if ctx.now > 5:
                    return
            except PeerLost as lost:
                seen[ctx.node].append((ctx.now, lost.node, ctx.rank, ctx.size, lost.restart_s))
                yield ctx.sleep(lost.restart_s)

    failures = {"crashes": [{"node": "worker1", "at_s": 2.25}], "detect_s": 0.5, "restart_s": 0.25}
    world, network = simulate(cluster(3, failures=failures), act)
    assert network.lost == [1]
    assert seen[0] == [(2.75, 1, 0, 2, 0.25)]
    assert seen[2] == [(2.75, 1, 1, 2, 0.25)]
    assert world.now > 5


def test_two_runs_write_the_same_ledger() -> None:
    def act(ctx: Context) -> Asking:
        for _ in range(5):
            yield ctx.compute(SECOND.times(float(ctx.rng("work").random())), "gradient")
            yield from ctx.all_reduce(SizeOnlyPayload(1000))

    first, _ = simulate(cluster(5), act)
    second, _ = simulate(cluster(5), act)
    assert first.ledger.charges().equals(second.ledger.charges())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": 0}, "greater than or equal to 1"),
        ({"failures": {"crashes": [{"node": "worker9", "at_s": 1}]}}, "'worker9' is not a node"),
        ({"failures": {"degradations": [{"link": "w0>switch", "from_s": 0, "to_s": 1, "factor": 0.5}]}}, "'w0>switch' is not a link"),
        ({"failures": {"degradations": [{"link": "worker0>switch", "from_s": 1, "to_s": 1, "factor": 0.5}]}}, "must be after"),
        ({"failures": {"degradations": [{"link": "worker0>switch", "from_s": float("nan"), "to_s": 1, "factor": 0.5}]}}, "finite"),
        ({"node_devices": {"woker1": FREE}}, "did you mean 'worker1'"),
        ({"failures": {"crashes": [{"node": f"worker{i}", "at_s": 1} for i in range(4)]}}, "at least one must be left"),
        ({"failures": {"outages": [{"node": "worker0", "from_s": 2, "to_s": 1}]}}, "must be after"),
        ({"topology": "torus"}, "'torus' is not a topology"),
    ],
)
def test_a_mistake_gets_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValidationError, ScenarioError)) as error:
        cluster(**{"workers": 4, **settings}).check(float("inf"))
    told = str(error.value.errors()) if isinstance(error.value, ValidationError) else str(error.value)
    assert sentence in told


def test_a_program_that_waits_for_ever_is_told_who_waits() -> None:
    world = World(1, float("inf"))
    network = cluster(2).build(world)

    def act(ctx: Context) -> Asking:
        if ctx.rank == 1:
            yield ctx.recv(0, SizeOnlyPayload(1))

    network.launch(Written(act=act))
    world.env.run()
    assert "worker1 waits for worker0" in str(network.deadlock())
