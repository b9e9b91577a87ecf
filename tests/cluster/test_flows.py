from __future__ import annotations

import itertools

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cluster.flows import Links
from toolkit.cluster.maxmin import max_min_rates


def uses(*routes: tuple[int, ...]) -> list[list[tuple[int, float]]]:
    return [[(link, 1.0) for link in route] for route in routes]


def test_three_flows_over_two_links_by_hand() -> None:
    """A over both links, B over the first (10), C over the second (4): A and C get 2 each, B the other 8."""
    assert max_min_rates(uses((0, 1), (0,), (1,)), [10.0, 4.0]) == pytest.approx([2.0, 8.0, 2.0], rel=1e-12)
    assert max_min_rates(uses((0,), (1,), (2,)), [1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    assert max_min_rates(uses((0,), (0,), (0,)), [9.0]) == pytest.approx([3.0] * 3, rel=1e-12)


def test_acknowledgements_take_their_share() -> None:
    """One flow forward (weight 1) and another whose acknowledgements come back over the same link (0.25): x + 0.25 x = 10."""
    assert max_min_rates([[(0, 1.0)], [(1, 1.0), (0, 0.25)]], [10.0, 10.0]) == pytest.approx([8.0, 8.0], rel=1e-12)


@given(st.lists(st.sets(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=12), st.integers(0, 2**31))
def test_no_flow_can_gain_but_at_the_cost_of_a_poorer_one(routes: list[set[int]], seed: int) -> None:
    """The definition: no link is over full, and every flow has a full link on which nobody is faster."""
    capacity = np.random.default_rng(seed).uniform(1.0, 10.0, 6)
    rates = max_min_rates(uses(*(tuple(sorted(route)) for route in routes)), capacity.tolist())
    load = [sum(rate for rate, route in zip(rates, routes, strict=True) if link in route) for link in range(6)]
    assert all(load[link] <= capacity[link] * (1 + 1e-9) for link in range(6))
    for rate, route in zip(rates, routes, strict=True):
        bottlenecks = [link for link in route if load[link] >= capacity[link] * (1 - 1e-9)]
        assert any(
            rate >= max(r for r, other in zip(rates, routes, strict=True) if link in other) * (1 - 1e-9) for link in bottlenecks
        )


class Noted:
    """A cargo that notes when its last byte left and when it arrived."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.left_s = self.arrived_s = float("nan")

    def arrive(self, left_s: float) -> None:
        self.left_s, self.arrived_s = left_s, self.env.now


def finishing_times(rates_bps: list[float], flows: list[tuple[float, tuple[int, ...], float]], latency_s: float = 0.0) -> list[float]:
    """Run flows given as (start, route, bytes); return when the last byte of each left."""
    env = simpy.Environment()
    links = Links(env, rates_bps)
    cargo = [Noted(env) for _ in flows]

    def start(index: int) -> simpy.events.ProcessGenerator:
        begin_s, route, nbytes = flows[index]
        yield env.timeout(begin_s)
        links.start(tuple((link, 1.0) for link in route), nbytes, latency_s, cargo[index])

    for index in range(len(flows)):
        env.process(start(index))
    env.run()
    assert [item.arrived_s for item in cargo] == pytest.approx([item.left_s + latency_s for item in cargo], rel=1e-12)
    return [item.left_s for item in cargo]


def test_a_flow_that_joins_halves_the_rate_and_gives_it_back() -> None:
    """1 B/s: A (10 B) from 0 s, B (2 B) from 4 s. Both have half until B ends at 8 s; A has 4 B left and ends at 12 s."""
    assert finishing_times([8.0], [(0.0, (0,), 10.0), (4.0, (0,), 2.0)]) == pytest.approx([12.0, 8.0], rel=1e-12)


def test_three_flows_on_shared_and_unshared_links_end_when_a_hand_says() -> None:
    """Links of 10 and 4 B/s; A over both, B over the first, C over the second, 16 B each.

    A and C at 2 B/s, B at 8: B ends at 2 s, and A cannot gain from it; A and C end at 8 s.
    """
    ends = finishing_times([80.0, 32.0], [(0.0, (0, 1), 16.0), (0.0, (0,), 16.0), (0.0, (1,), 16.0)])
    assert ends == pytest.approx([8.0, 2.0, 8.0], rel=1e-12)


@given(st.lists(st.tuples(st.floats(0, 5), st.sets(st.integers(0, 3), min_size=1), st.floats(0.5, 20)), min_size=1, max_size=8))
def test_flows_end_as_in_a_naive_account(flows: list[tuple[float, set[int], float]]) -> None:
    """Against a simulation that works out all rates anew at every start and end."""
    listed = [(begin, tuple(sorted(route)), nbytes) for begin, route, nbytes in flows]
    capacity = [1.0, 2.0, 3.0, 0.5]
    left = [nbytes for _, _, nbytes in listed]
    expected = [float("nan")] * len(listed)
    now = 0.0
    for _ in itertools.count():
        on = [i for i, (begin, _, _) in enumerate(listed) if begin <= now and np.isnan(expected[i])]
        coming = [begin for begin, _, _ in listed if begin > now]
        if not on and not coming:
            break
        rates = dict(zip(on, max_min_rates(uses(*(listed[i][1] for i in on)), capacity), strict=True))
        following = min([now + left[i] / rates[i] for i in on] + coming)
        for i in on:
            left[i] -= rates[i] * (following - now)
            if left[i] <= 1e-9:
                expected[i] = following
        now = following
    for latency_s in (0.0, 1.7):
        assert finishing_times([8 * rate for rate in capacity], listed, latency_s) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_cancelled_flow_makes_room_and_is_only_counted_as_far_as_it_came() -> None:
    env = simpy.Environment()
    links = Links(env, [8.0])
    other, doomed_cargo = Noted(env), Noted(env)
    doomed = links.start(((0, 1.0),), 100.0, 0.5, doomed_cargo)
    links.start(((0, 1.0),), 5.0, 0.5, other)

    def cancel() -> simpy.events.ProcessGenerator:
        yield env.timeout(4.0)
        links.cancel(doomed)

    env.process(cancel())
    env.run()
    assert other.left_s == pytest.approx(7.0)  # 2 B in 4 s, the other 3 B alone
    assert np.isnan(doomed_cargo.arrived_s)
    assert links.carried_bytes[0] == pytest.approx(5.0 + 2.0)


def test_a_link_that_slows_down_slows_what_is_on_it() -> None:
    env = simpy.Environment()
    links = Links(env, [8.0])
    cargo = Noted(env)
    links.start(((0, 1.0),), 10.0, 0.0, cargo)

    def slow() -> simpy.events.ProcessGenerator:
        yield env.timeout(5.0)
        links.change_rate(0, 4.0)

    env.process(slow())
    env.run()
    assert cargo.left_s == pytest.approx(15.0, rel=1e-12)


def test_a_flow_that_was_alone_shares_from_the_moment_another_joins() -> None:
    """1 B/s: A (10 B) from 0 s with 3 s of latency; B (4 B) from 10.5 s finds the link free, C (4 B) from 12 s does not."""
    ends = finishing_times([8.0], [(0.0, (0,), 10.0), (10.5, (0,), 4.0), (12.0, (0,), 4.0)], latency_s=3.0)
    assert ends == pytest.approx([10.0, 17.0, 18.5], rel=1e-12)
