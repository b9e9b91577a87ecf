"""The first message after a computation leaves later, where a machine has a time to wake."""

from __future__ import annotations

import pytest

from tests.cluster.helpers import FREE, cluster, simulate
from toolkit.collectives import AllReduce
from toolkit.core.context import Asking, Context
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.work import Work

WAKE_S, WIRE_S = 0.05, 0.002
SLEEPY = {**FREE, "message_wake_s": WAKE_S}
LONG, SHORT = Work(flops=1e12 * 2 * WAKE_S), Work(flops=1e12 * WAKE_S / 2)
"""Computations of twice the time to wake, and of half of it."""


def times_of(*works: Work, messages: int = 1) -> float:
    """When the last of so many messages is there that worker 0 sends to 1, one after the other, once it has done *works*."""
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            for work in works:
                yield ctx.compute(work)
            for _ in range(messages):
                yield ctx.send(1, 0)

    return float(simulate(cluster(2, device=SLEEPY), act)[0].now)


def test_only_the_first_after_a_long_computation_wakes() -> None:
    assert times_of(LONG) == pytest.approx(3 * WAKE_S + WIRE_S, rel=1e-12)
    assert times_of(LONG, messages=3) == pytest.approx(3 * WAKE_S + 3 * WIRE_S, rel=1e-12)


def test_after_none_or_a_short_one_nothing_sleeps_and_short_ones_add_up() -> None:
    assert times_of() == pytest.approx(WIRE_S, rel=1e-12)
    assert times_of(SHORT) == pytest.approx(WAKE_S / 2 + WIRE_S, rel=1e-12)
    assert times_of(SHORT, SHORT) == pytest.approx(2 * WAKE_S + WIRE_S, rel=1e-12)


def test_who_computes_again_sleeps_again_and_waking_draws_what_computing_does() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            for _ in range(3):
                yield ctx.compute(LONG)
                yield ctx.send(1, 0)

    world, _ = simulate(cluster(2, device=SLEEPY), act)
    assert world.now == pytest.approx(3 * (3 * WAKE_S + WIRE_S), rel=1e-12)
    rows = world.ledger.charges().query("kind == 'compute' and phase == 'wake'")
    assert rows["dur_s"].tolist() == pytest.approx([WAKE_S] * 3)
    assert rows["energy_j"].sum() == pytest.approx(3 * WAKE_S * 5.0)
    idle = world.ledger.charges().query("kind == 'idle'")["energy_j"].sum()
    assert idle == pytest.approx(2.0 * (2 * world.now - 9 * WAKE_S), rel=1e-9)


@pytest.mark.parametrize("pricing", ["messages", "ideal"])
def test_a_collective_wakes_once_by_either_pricing(pricing: str) -> None:
    def act(ctx: Context) -> Asking:
        yield ctx.compute(LONG)
        yield from ctx.all_reduce(SizeOnlyPayload(4_000))

    spec = cluster(4, device=SLEEPY, collectives={"all_reduce": "ring"}, pricing=pricing)
    world, network = simulate(spec, act)
    schedule = spec.collectives.all_reduce
    assert isinstance(schedule, AllReduce)
    assert world.now == pytest.approx(3 * WAKE_S + schedule.seconds(16_000, 4, network.ideal.link_cost()), rel=1e-9)


def test_a_message_in_a_backward_pass_does_not_wait_for_its_end() -> None:
    """Waking is not queued behind what the processor does."""
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            done = ctx.compute(LONG)
            yield ctx.send(1, 0)
            assert ctx.now == pytest.approx(WAKE_S + WIRE_S)
            yield done

    world, _ = simulate(cluster(2, device=SLEEPY), act)
    assert world.now == pytest.approx(2 * WAKE_S, rel=1e-12)


def test_what_was_computed_before_another_message_does_not_count() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            for _ in range(2):
                yield ctx.compute(SHORT)
                yield ctx.send(1, 0)

    assert simulate(cluster(2, device=SLEEPY), act)[0].now == pytest.approx(WAKE_S + 2 * WIRE_S, rel=1e-12)
