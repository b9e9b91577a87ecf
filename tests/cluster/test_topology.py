from __future__ import annotations

import itertools
from collections import Counter
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology
from toolkit.cluster.topology.fat_tree import FatTree
from toolkit.cluster.topology.hierarchy import Hierarchy
from toolkit.cluster.topology.ring import RingTopology
from toolkit.cluster.topology.star import Star
from toolkit.cluster.topology.tree import Tree
from toolkit.cluster.topology.wan_edge import Access, WanEdge
from toolkit.core.part import Spec, explain

FAST = Link(rate_bps=8e9, delay_s=1e-6, energy_j_per_bit=1e-9, idle_w=1.0)
SLOW = Link(rate_bps=1e6, delay_s=1e-2, energy_j_per_bit=3e-9, idle_w=2.0)
SIZES = [(1, 0), (2, 0), (3, 1), (5, 0), (8, 0), (8, 3), (17, 2), (33, 1)]


class Cluster(Spec):
    topology: Topology


def sized(member: type[Topology], nodes: int) -> Topology:
    """The member with its defaults, made to take that many nodes."""
    return member(rack_size=max(1, nodes // 3)) if member is Tree else member()


def names(built: BuiltTopology, src: int, dst: int) -> list[str]:
    return [built.links[link] for link in built.route(src, dst)]


def delay_s(built: BuiltTopology, src: int, dst: int) -> float:
    return float(built.delay_s[list(built.route(src, dst))].sum())


@pytest.mark.parametrize(("workers", "servers"), SIZES)
@pytest.mark.parametrize("name", Topology.member_names())
def test_routes_lead_from_one_node_to_the_other_and_take_no_link_twice(name: str, workers: int, servers: int) -> None:
    part = sized(Topology.members()[name], workers + servers)
    built, again = part.init(workers, servers), part.init(workers, servers)
    assert built.nodes == tuple([f"worker{i}" for i in range(workers)] + [f"server{i}" for i in range(servers)])
    assert built.links == again.links
    assert len(set(built.links)) == len(built.links)
    for array in (built.rate_bps, built.delay_s, built.energy_j_per_bit, built.idle_w):
        assert array.shape == (len(built.links),)
        assert (array >= 0).all()
    for src, dst in itertools.product(range(workers + servers), repeat=2):
        route = built.route(src, dst)
        assert route == built.route(src, dst) == again.route(src, dst)
        if src == dst:
            assert route == ()
            continue
        ends = [built.links[link].split(">") for link in route]
        assert ends[0][0] == built.nodes[src]
        assert ends[-1][1] == built.nodes[dst]
        assert all(before[1] == after[0] for before, after in itertools.pairwise(ends))
        assert len(set(route)) == len(route)
        assert len(route) == len(built.route(dst, src))
        assert built.nodes[dst] not in [start for start, _ in ends]


@pytest.mark.parametrize("name", Topology.member_names())
def test_every_member_is_found_by_name_and_survives_being_written_out(name: str) -> None:
    cluster = Cluster.model_validate({"topology": name})
    assert Cluster.model_validate(cluster.model_dump(mode="json")) == cluster


@pytest.mark.parametrize("name", Topology.member_names())
def test_no_workers_or_fewer_than_no_servers_are_refused(name: str) -> None:
    part = Topology.members()[name]()
    with pytest.raises(ValueError, match=r"^workers: 0 is below 1"):
        part.init(0, 2)
    with pytest.raises(ValueError, match=r"^servers: -1 is below 0"):
        part.init(4, -1)


@pytest.mark.parametrize("name", Topology.member_names())
def test_arrays_cannot_be_changed_from_outside(name: str) -> None:
    built = sized(Topology.members()[name], 4).init(4)
    with pytest.raises(ValueError, match="read-only"):
        built.rate_bps[0] = 1


def test_unknown_names_are_answered_with_the_nearest() -> None:
    built = Star().init(12, 1)
    assert [built.index_of_node(name) for name in ("worker0", "worker11", "server0")] == [0, 11, 12]
    assert built.links[built.index_of_link("switch>worker3")] == "switch>worker3"
    with pytest.raises(ValueError, match=r"'worker12' is not a.*; did you mean 'worker\d+'\? \(they go from 'worker0' to 'server0'\)"):
        built.index_of_node("worker12")
    with pytest.raises(ValueError, match="'worker3>swich' is not a link of this topology; did you mean 'worker3>switch'"):
        built.index_of_link("worker3>swich")
    with pytest.raises(ValueError, match=r"'zzz' is not a node of this topology \(they go from 'worker0'"):
        built.index_of_node("zzz")
    with pytest.raises(ValueError, match=r"'x' is not a link of this topology \(there is none\)"):
        RingTopology().init(1).index_of_link("x")
    with pytest.raises(ValueError, match="rank 13 is not one of the 13 nodes"):
        built.route(0, 13)
    with pytest.raises(ValueError, match="rank -1 is not"):
        built.route(-1, 0)


def test_star_routes_and_delays() -> None:
    built = Star(link=FAST, server_link=SLOW).init(3, 1)
    assert names(built, 0, 2) == ["worker0>switch", "switch>worker2"]
    assert names(built, 3, 1) == ["server0>switch", "switch>worker1"]
    assert delay_s(built, 0, 2) == pytest.approx(2e-6)
    assert delay_s(built, 0, 3) == pytest.approx(1e-6 + 1e-2)
    assert built.rate_bps[list(built.route(0, 3))].tolist() == [8e9, 1e6]
    assert built.idle_w.sum() == 3 * 2 * 1.0 + 2 * 2.0


def test_lossy_links_carry_less_and_pay_more() -> None:
    built = Star(link=Link(rate_bps=100, loss=0.5, energy_j_per_bit=1)).init(2)
    np.testing.assert_allclose(built.rate_bps, 50)
    np.testing.assert_allclose(built.energy_j_per_bit, 2)


def test_ring_goes_the_shorter_way_and_clockwise_when_both_are_equal() -> None:
    built = RingTopology(link=FAST).init(6)
    assert names(built, 0, 2) == ["worker0>worker1", "worker1>worker2"]
    assert names(built, 1, 5) == ["worker1>worker0", "worker0>worker5"]
    assert names(built, 4, 1) == ["worker4>worker5", "worker5>worker0", "worker0>worker1"]
    assert len(built.links) == 12


@pytest.mark.parametrize("count", [2, 3, 4, 7, 10])
def test_ring_hops_are_the_distance_round_the_circle(count: int) -> None:
    built = RingTopology(link=FAST).init(count)
    for src, dst in itertools.product(range(count), repeat=2):
        assert delay_s(built, src, dst) == pytest.approx(1e-6 * min((dst - src) % count, (src - dst) % count))


def test_tree_routes_by_hand() -> None:
    built = Tree(link=FAST, rack_size=2).init(4, 1)
    assert names(built, 0, 1) == ["worker0>rack0", "rack0>worker1"]
    assert names(built, 1, 2) == ["worker1>rack0", "rack0>core", "core>rack1", "rack1>worker2"]
    assert names(built, 4, 0) == ["server0>rack2", "rack2>core", "core>rack0", "rack0>worker0"]
    assert delay_s(built, 1, 2) == pytest.approx(4e-6)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 4.0, 2.5])
def test_oversubscription_is_what_a_rack_could_send_over_what_its_uplink_carries(ratio: float) -> None:
    built = Tree(link=FAST, rack_size=4, oversubscription=ratio).init(16)
    for rack in range(4):
        below = sum(built.rate_bps[built.index_of_link(f"worker{4 * rack + i}>rack{rack}")] for i in range(4))
        assert below / built.rate_bps[built.index_of_link(f"rack{rack}>core")] == pytest.approx(ratio)


def test_an_uplink_of_its_own_is_taken_as_it_is() -> None:
    built = Tree(link=FAST, rack_size=2, uplink=SLOW).init(4)
    assert built.rate_bps[built.index_of_link("core>rack1")] == 1e6
    assert delay_s(built, 0, 3) == pytest.approx(2 * 1e-6 + 2 * 1e-2)
    with pytest.raises(ValidationError, match="either uplink or oversubscription"):
        Tree(uplink=SLOW, oversubscription=4)


def test_a_rack_that_holds_everybody_is_refused_since_its_uplinks_would_change_nothing() -> None:
    with pytest.raises(ValueError, match=r"rack_size: 8 puts all 8 nodes into one rack.*below 8"):
        Tree(rack_size=8).init(8)
    assert len(Tree(rack_size=8).init(8, 1).links) == 2 * (9 + 2)


@pytest.mark.parametrize("k", [2, 4, 6, 8])
def test_a_full_fat_tree_has_full_bisection_and_as_much_above_as_below(k: int) -> None:
    nodes = k**3 // 4
    built = FatTree(link=FAST, k=k).init(nodes)
    rates: Counter[str] = Counter()
    for name, rate_bps in zip(built.links, built.rate_bps, strict=True):
        start, end = (part.rstrip("0123456789") for part in name.split(">"))
        rates[f"{start}>{end}"] += rate_bps
    assert set(rates.values()) == {nodes * 8e9}
    assert rates.keys() == {"worker>edge", "edge>worker", "edge>agg", "agg>edge", "agg>core", "core>agg"}
    first_half = {f"agg{i}" for i in range(k * k // 4)}  # the pods with the lower half of the nodes
    cut_bps = sum(
        rate_bps for name, rate_bps in zip(built.links, built.rate_bps, strict=True)
        if name.split(">")[0] in first_half and name.split(">")[1].startswith("core")
    )
    assert cut_bps == nodes / 2 * 8e9
    ports = Counter(name.split(">")[0] for name in built.links if not name.startswith("worker"))
    assert set(ports.values()) == {k}


def test_fat_tree_routes_are_two_four_or_six_links_long() -> None:
    built = FatTree(link=FAST, k=4).init(16)
    assert names(built, 0, 1) == ["worker0>edge0", "edge0>worker1"]
    middle = names(built, 0, 2)
    assert middle in [["worker0>edge0", f"edge0>agg{a}", f"agg{a}>edge1", "edge1>worker2"] for a in (0, 1)]
    far = names(built, 0, 15)
    assert far in [
        ["worker0>edge0", f"edge0>agg{a}", f"agg{a}>core{2 * a + j}", f"core{2 * a + j}>agg{6 + a}", f"agg{6 + a}>edge7", "edge7>worker15"]
        for a in (0, 1) for j in (0, 1)
    ]
    assert delay_s(built, 0, 15) == pytest.approx(6e-6)


def test_fat_tree_spreads_flows_over_all_cores_evenly_enough_and_by_its_seed() -> None:
    def cores(seed: int) -> list[str]:
        built = FatTree(link=FAST, k=4, ecmp_seed=seed).init(16)
        return [names(built, src, dst)[3].split(">")[0] for src in range(8) for dst in range(8, 16)]

    load = Counter(cores(0))
    assert len(load) == 4
    assert max(load.values()) <= 2 * 64 / 4  # binomial: 16 expected, standard deviation 3.5
    assert cores(0) != cores(1)


def test_a_fat_tree_takes_the_fewest_ports_that_hold_everybody() -> None:
    assert len([name for name in FatTree(link=FAST).init(16).links if name.startswith("core")]) == 4 * 4
    assert len([name for name in FatTree(link=FAST).init(17).links if name.startswith("core")]) == 2 * 9  # two of six pods in use
    with pytest.raises(ValueError, match="k: 4 has room for 16 nodes, and there are 20; it must be at least 6"):
        FatTree(k=4).init(20)
    with pytest.raises(ValidationError, match="multiple of 2"):
        FatTree(k=3)


def test_hierarchy_uses_the_network_only_between_hosts() -> None:
    built = Hierarchy(gpus_per_host=2, inner_link=FAST, link=SLOW).init(4, 2)
    assert names(built, 0, 1) == ["worker0>host0", "host0>worker1"]
    assert names(built, 1, 2) == ["worker1>host0", "host0>switch", "switch>host1", "host1>worker2"]
    assert names(built, 0, 4) == ["worker0>host0", "host0>switch", "switch>server0"]
    assert names(built, 5, 3) == ["server1>switch", "switch>host1", "host1>worker3"]
    assert names(built, 4, 5) == ["server0>switch", "switch>server1"]
    assert delay_s(built, 1, 2) == pytest.approx(2 * 1e-6 + 2 * 1e-2)
    shared = set(built.route(0, 2)) & set(built.route(1, 3))
    assert {built.links[link] for link in shared} == {"host0>switch", "switch>host1"}


def test_wan_clients_differ_in_turn_and_share_the_site() -> None:
    edge = WanEdge(
        clients=[Access(up=SLOW, down=FAST), Access(up=FAST, down=FAST)], internet_delay_s=0.5, site_link=FAST, server_link=FAST,
    )
    built = edge.init(3, 2)
    assert names(built, 0, 3) == ["worker0>internet", "internet>site", "site>server0"]
    assert names(built, 4, 1) == ["server1>site", "site>internet", "internet>worker1"]
    assert names(built, 0, 1) == ["worker0>internet", "internet>worker1"]
    assert names(built, 3, 4) == ["server0>site", "site>server1"]
    assert [built.rate_bps[built.index_of_link(f"worker{i}>internet")] for i in range(3)] == [1e6, 8e9, 1e6]
    assert built.rate_bps[built.index_of_link("internet>worker0")] == 8e9
    assert delay_s(built, 0, 3) == pytest.approx(0.5 + 1e-2 + 2e-6)
    assert delay_s(built, 1, 2) == pytest.approx(0.5 + 2e-6)
    assert delay_s(built, 3, 4) == pytest.approx(2e-6)
    assert not any("site" in name for name in edge.init(3).links)


def test_a_kind_of_client_is_named_by_its_pair_of_links_or_by_one_for_both() -> None:
    edge = WanEdge.model_validate({"clients": ["home_adsl", "wifi5", {"up": "lte_up", "down": "home_fibre_down"}]})
    assert [(access.up.profile, access.down.profile) for access in edge.clients] == [
        ("home_adsl_up", "home_adsl_down"), ("wifi5", "wifi5"), ("lte_up", "home_fibre_down"),
    ]


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        ("sta", "'sta' is not a topology; did you mean 'star'?"),
        ({"type": "star", "link": "gigabit"}, "topology.link: 'gigabit' is not a link profile"),
        ({"type": "star", "rack_size": 4}, "unknown key 'rack_size'"),
        ({"type": "tree", "rack_size": 0}, "topology.rack_size"),
        ({"type": "wan_edge", "clients": []}, "topology.clients"),
        ({"type": "hierarchy", "gpus_per_host": 0}, "topology.gpus_per_host"),
    ],
)
def test_wrong_settings_are_named_by_their_place(topology: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Cluster.model_validate({"topology": topology})
    (line,) = explain(caught.value)
    assert words in line


@pytest.mark.parametrize("name", ["star", "fat_tree", "hierarchy", "tree", "wan_edge"])
def test_ten_thousand_nodes_are_laid_out_without_a_table_of_pairs(name: str) -> None:
    start_s = perf_counter()
    built = sized(Topology.members()[name], 10_000).init(10_000)
    hops = sum(len(built.route(rank, (rank * 7919 + 1) % 10_000)) for rank in range(10_000))
    assert perf_counter() - start_s < 5
    assert hops >= 2 * 9_990
    assert len(built.links) < 150_000
