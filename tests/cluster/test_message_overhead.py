"""What machines spend on messages: LogGP's o at each end, one message at a time, and its joules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.helpers import FREE, cluster, simulate
from toolkit.collectives import AllGather, AllReduce, Collectives
from toolkit.core.context import Asking, Context
from toolkit.core.size_only import SizeOnlyPayload

O_S = 0.01
SPENDING = {**FREE, "message_overhead_s": O_S}
WIRE_S = 0.002
"""Of an empty message between two nodes of a star."""


def test_each_end_spends_it_once() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            delivery = yield ctx.send(1, 1_000_000)
            assert (delivery.t0_s, delivery.t1_s) == (0.0, ctx.now)

    world, _ = simulate(cluster(2, device=SPENDING), act)
    assert world.now == pytest.approx(1.0 + WIRE_S + 2 * O_S, rel=1e-12)
    charges = world.ledger.charges()
    sent, idle = (charges[charges["kind"] == kind] for kind in ("tx", "idle"))
    assert sent["energy_j"].sum() == pytest.approx(8e6 * 2e-9 + 2 * O_S * (5.0 - 2.0), rel=1e-12)
    assert idle["energy_j"].sum() == pytest.approx(2 * 2.0 * world.now, rel=1e-12)


def test_a_machine_handles_one_message_at_a_time() -> None:
    """Three to one: these leave together, and the last is there after three handlings; one to three the other way round."""
    def gather(ctx: Context) -> Asking:
        if ctx.rank:
            yield ctx.send(0, 0)

    def spread(ctx: Context) -> Asking:
        if not ctx.rank:
            for rank in (1, 2, 3):
                sent = ctx.send(rank, 0)
            yield sent

    for act in (gather, spread):
        world, _ = simulate(cluster(4, device=SPENDING), act)
        assert world.now == pytest.approx(WIRE_S + 4 * O_S, rel=1e-12)


def test_only_machines_that_spend_it_do() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank == 0:
            yield ctx.send(1, 0)

    world, _ = simulate(cluster(2, node_devices={"worker1": SPENDING}), act)
    assert world.now == pytest.approx(WIRE_S + O_S, rel=1e-12)


def test_a_message_to_oneself_is_none() -> None:
    def act(ctx: Context) -> Asking:
        yield ctx.send(ctx.rank, 0)

    world, _ = simulate(cluster(2, device=SPENDING), act)
    assert world.now == 0.0


@pytest.mark.parametrize("pricing", ["messages", "ideal"])
@pytest.mark.parametrize("kind", ["ring", "all_gather"])
def test_closed_forms_have_it_in_alpha(kind: str, pricing: str) -> None:
    schedules: dict[str, Any] = {"all_reduce": "ring"}

    def act(ctx: Context) -> Asking:
        vector = SizeOnlyPayload(4_000)
        yield from (ctx.all_reduce(vector) if kind == "ring" else ctx.all_gather(vector))

    spec = cluster(4, device=SPENDING, collectives=schedules, pricing=pricing)
    world, network = simulate(spec, act)
    cost = network.ideal.link_cost()
    assert cost.alpha_s == pytest.approx(WIRE_S + 2 * O_S)
    chosen: AllReduce | AllGather = spec.collectives.all_reduce if kind == "ring" else spec.collectives.all_gather
    assert isinstance(spec.collectives, Collectives)
    assert world.now == pytest.approx(chosen.seconds(16_000, 4, cost), rel=1e-9)


@pytest.mark.parametrize("schedule", ["ring", "rabenseifner", "recursive_doubling"])
def test_both_pricings_spend_the_same_joules(schedule: str) -> None:
    """A round of these schedules is a message from everybody to somebody."""
    def act(ctx: Context) -> Asking:
        yield from ctx.all_reduce(SizeOnlyPayload(4_000))

    spent_j = [
        simulate(cluster(4, device=SPENDING, collectives={"all_reduce": schedule}, pricing=pricing), act)[0].ledger.charges()
        .query("kind == 'tx'")["energy_j"].sum() for pricing in ("messages", "ideal")
    ]
    assert spent_j[1] == pytest.approx(spent_j[0], rel=1e-9)


def test_without_it_nothing_changes() -> None:
    def act(ctx: Context) -> Asking:
        yield from ctx.all_reduce(SizeOnlyPayload(4_000))

    plain, none = (simulate(cluster(4, device={**FREE, **more}), act)[0] for more in ({}, {"message_overhead_s": 0.0}))
    assert plain.ledger.charges().equals(none.ledger.charges())
