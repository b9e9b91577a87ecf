"""A channel of links in reach against one of all pairs: the same network hears the same, as long as nothing is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.acoustic import settings
from toolkit.acoustic.phy import kernel
from toolkit.acoustic.phy import wide as wide_channel
from toolkit.acoustic.phy.kernel.way import link_of
from toolkit.core.world import World
from toolkit.errors import ScenarioError, ToolkitError
from toolkit.scenario import Scenario

DURATION_S = 300.0


def scenario(seed: int, *, source_level_db: float = 136.0, fading: str = "none", nodes: int = 60, side_m: float = 6000.0,
             routing: str = "flooding", duration_s: float = DURATION_S) -> Scenario:
    return Scenario.build({
        "name": "reach", "seeds": 1, "duration_s": duration_s,
        "fabric": {
            "type": "acoustic", "layout": {"nodes": nodes, "sinks": 4, "width_m": side_m, "length_m": side_m, "depth_m": 400},
            "modem": {"source_level_db": source_level_db, "modulation": ["bpsk", "threshold"][seed % 2]},
            "sea": {"wind": {"type": "steady_wind"}}, "shadowing": {"sigma_db": 0}, "fading": {"kind": fading},
            "epoch_s": [15, 2][seed % 2],
            "mobility": {"type": "random_walk", "speed_m_s": [1, 4], "leg_s": 30}, "mac": ["csma", "aloha"][seed % 2],
            "routing": {"type": routing}, "history_s": 0, "probe": {"links": 0}, "drain_s": 10,
        },
        "program": {"type": "poisson", "interval_s": 200.0, "nbytes": 60},
    })


def simulate(spec: Scenario, *, wide: bool, monkeypatch, compiled: bool = True, far_db: float = 30.0) -> pd.DataFrame:
    monkeypatch.setattr(settings, "WIDE_NODES", 0 if wide else 500)
    monkeypatch.setattr(wide_channel, "FAR_DB", far_db)
    world = World(5, spec.duration_s)
    network = spec.fabric.build(world)
    network.medium.use(kernel.compiled() if compiled else kernel.PLAIN)
    assert isinstance(network.channel, wide_channel.WideChannel) == wide
    network.launch(spec.program)
    world.env.run(until=spec.duration_s)
    network.finish()
    return world.ledger.charges()


@pytest.mark.parametrize("seed", range(4))
def test_with_all_pairs_in_reach_it_is_the_channel_of_matrices(seed: int, monkeypatch) -> None:
    """Moving nodes, epochs of 15 and 2 s: a frame may outlive the epoch it was sent in."""
    spec = scenario(seed, duration_s=120.0)
    dense, wide = (simulate(spec, wide=wide, monkeypatch=monkeypatch, far_db=300.0) for wide in (False, True))
    exact = ["node", "peer", "kind", "phase", "nbytes", "outcome", "packet"]
    assert (dense.outcome == "collision").sum() > 20
    pd.testing.assert_frame_equal(dense[exact], wide[exact])
    assert wide.t0_s.to_numpy() == pytest.approx(dense.t0_s.to_numpy(), abs=1e-9)
    assert wide.dur_s.to_numpy() == pytest.approx(dense.dur_s.to_numpy(), abs=1e-9)


@pytest.mark.parametrize("fading", ["none", "rician"])
def test_plain_and_compiled_agree(fading: str, monkeypatch) -> None:
    """For a minute: Python alone takes a hundred times as long as what is compiled."""
    spec = scenario(1, fading=fading, duration_s=60.0)
    plain, compiled = (simulate(spec, wide=True, monkeypatch=monkeypatch, compiled=compiled) for compiled in (False, True))
    times = ["t0_s", "dur_s", "energy_j"]
    assert plain.drop(columns=times).equals(compiled.drop(columns=times))
    assert (plain.outcome == "collision").sum() > 500
    assert (plain.outcome == "delivered").sum() > 500
    assert plain[times].to_numpy() == pytest.approx(compiled[times].to_numpy(), rel=1e-15, abs=0.0)  # one way in 36,921 ends in another bit


def test_leaving_out_what_is_far_below_the_noise_changes_next_to_nothing(monkeypatch) -> None:
    spec = scenario(3, source_level_db=130.0, side_m=20_000.0, nodes=300)
    dense, wide = (simulate(spec, wide=wide, monkeypatch=monkeypatch) for wide in (False, True))
    heard = [(rows.outcome == "delivered").sum() for rows in (dense, wide)]
    assert heard[0] > 200
    assert heard[1] == pytest.approx(heard[0], rel=0.01)


def test_links_are_those_that_the_matrix_has_above_the_noise(monkeypatch) -> None:
    spec = scenario(0, side_m=30_000.0, nodes=200)
    monkeypatch.setattr(settings, "WIDE_NODES", 0)
    wide = spec.fabric.build(World(5, DURATION_S)).channel
    monkeypatch.setattr(settings, "WIDE_NODES", 500)
    dense = spec.fabric.build(World(5, DURATION_S)).channel
    sender, receiver = (dense.power >= dense.noise * 10 ** (-wide_channel.FAR_DB / 10)).nonzero()
    assert 0 < len(sender) < 200 * 199 / 2
    assert np.repeat(np.arange(204), np.diff(wide.links.begin)).tolist() == sender.tolist()
    assert wide.links.target.tolist() == receiver.tolist()
    assert wide.links.power == pytest.approx(dense.power[sender, receiver], rel=1e-12)
    assert wide.mean_snr_db(int(sender[0]), int(receiver[0])) == pytest.approx(dense.snr_db[sender[0], receiver[0]])
    assert wide.mean_snr_db(0, 0) == -np.inf
    with pytest.raises(ToolkitError, match="no matrix 'snr_db'"):
        _ = wide.snr_db


def test_shadowing_of_pairs_has_its_law_and_is_forgotten_out_of_reach() -> None:
    rng = np.random.default_rng(1)
    state = wide_channel.PairShadowing(2.0, 300.0, rng)
    pairs = np.arange(20_000)
    first, second = state.step(0.0, pairs).copy(), state.step(150.0, pairs).copy()
    assert np.std(second) == pytest.approx(2.0, rel=0.02)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(np.exp(-0.5), abs=0.02)
    state.step(0.0, pairs[::2])
    third = state.step(0.0, pairs)
    assert third[::2] == pytest.approx(second[::2])
    assert abs(np.corrcoef(second[1::2], third[1::2])[0, 1]) < 0.03


def test_a_protocol_that_learns_from_all_links_is_refused() -> None:
    scenario(0, nodes=2000).fabric.check(DURATION_S)
    learns = scenario(0, nodes=2000, routing="shortest_path")
    with pytest.raises(ScenarioError, match="'shortest_path' learns from all of them"):
        learns.fabric.check(DURATION_S)


def test_a_link_is_found_by_its_ends_and_no_other_is_taken_for_it(monkeypatch) -> None:
    monkeypatch.setattr(settings, "WIDE_NODES", 0)
    network = scenario(0, side_m=30_000.0, nodes=60).fabric.build(World(5, DURATION_S))
    where = network.medium._keeper.where()
    links = network.channel.links
    there = {(sender, int(target)): place for sender in range(64) for place, target in
             enumerate(links.target[links.begin[sender] : links.begin[sender + 1]], start=int(links.begin[sender]))}
    assert 0 < len(there) < 64 * 63 / 2
    found = {(a, b): link_of(0, a, b, where) for a in range(64) for b in range(64)}
    assert found == {pair: there.get(pair, -1) for pair in found}
