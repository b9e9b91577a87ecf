"""Overlap of the backward pass and the exchange: buckets as DDP gathers them, times by hand, the same learning."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import toolkit
from toolkit.cluster.network import ClusterNetwork
from toolkit.collectives import Collectives, LinkCost
from toolkit.core.local import run_local
from toolkit.core.work import Work
from toolkit.core.world import World
from toolkit.learning import runs
from toolkit.learning.flat import FlatLayout
from toolkit.learning.work import Count
from toolkit.methods.distributed.buckets import buckets_of, pieces
from toolkit.methods.distributed.program import DistributedSgd
from toolkit.repricing import recost
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")

WORKERS = 4
MODEL = {"name": "mlp", "options": {"hidden": [512, 512, 512], "image_size": 8}}
DEVICE = {
    "profile": "raspberry_pi_5", "overhead_s": 0.0, "convolution_overhead_s": 0.0, "memory_bytes_per_s": 4e9, "memory_bytes": 8e9,
    "message_overhead_s": 1e-5,
}


def scenario(method: str = "dense", **program: Any) -> Scenario:
    return Scenario.build({
        "name": "overlap", "seeds": 1,
        "fabric": {
            "type": "cluster", "workers": WORKERS, "servers": int(method == "parameter_server"), "device": DEVICE,
            "topology": {"type": "star", "link": {"rate_bps": 2e9, "delay_s": 1e-5}}, "collectives": {"all_reduce": "ring"},
        },
        "program": {
            "type": "distributed", "task": {"dataset": "digits", "model": MODEL}, "method": method, "steps": 3, "batch": 16,
            "bucket_bytes": 1_000_000, "first_bucket_bytes": 4, "evaluate_every": 3, **program,
        },
    })


def took(arm: Scenario) -> float:
    world = World(1, float("inf"))
    network = arm.fabric.build(world)
    assert isinstance(network, ClusterNetwork)
    world.env.run(until=network.launch(arm.program))
    network.finish()
    return world.now


def test_buckets_are_gathered_in_the_order_of_the_backward_pass() -> None:
    """Sizes 100, 10, 50, 5 (floats), there from the last to the first; 200 bytes fill a bucket, 20 the first."""
    layout = FlatLayout(((100,), (10,), (50,), (5,)))
    counted = Count()
    counted.finished = [(place, Work(float(flops))) for flops, place in enumerate((3, 2, 1, 0), start=1)]
    found = buckets_of(layout, counted, bucket_bytes=200, first_bytes=20)
    assert [bucket.runs for bucket in found] == [(slice(160, 165),), (slice(110, 160),), (slice(0, 110),)]
    assert [bucket.finished.flops for bucket in found] == [1, 2, 4]
    (whole,) = buckets_of(layout, counted, bucket_bytes=1e9, first_bytes=1e9)
    assert whole.runs == (slice(0, 165),)


def test_the_buckets_of_a_network_are_those_of_ddp() -> None:
    """As `torch.distributed` assigns the tensors of one network, in the order in which their gradients are there."""
    import torch.distributed as dist

    program = scenario().program
    assert isinstance(program, DistributedSgd)
    counted, layout = program.task.load().gradient_count(16), program.task.load().layout
    order = [place for place, _ in counted.finished]
    tensors = [torch.empty(layout.shapes[place]) for place in order]
    theirs, _ = dist._compute_bucket_assignment_by_size(tensors, [4, 1_000_000], [False] * len(tensors), list(range(len(tensors))))
    ours = [bucket.runs for bucket in program.buckets()]
    assert ours == [tuple(runs.joined([layout.slices[order[index]] for index in bucket])) for bucket in theirs]
    assert len(ours) > 2


def test_pieces_are_the_whole_gradient() -> None:
    program = scenario().program
    assert isinstance(program, DistributedSgd)
    task = program.task.load()
    whole, counted = task.gradient_work(16), task.gradient_count(16)
    parts = list(pieces(whole, counted, program.buckets()))
    assert sum((work for work, _ in parts), Work()) == pytest.approx(whole)
    assert sum(share for _, share in parts) == pytest.approx(1)


def closed_form_s(arm: Scenario) -> float:
    """A bucket is added up when it is there and the one before it is; the step of SGD follows the last."""
    program: Any = arm.program
    device, task = arm.fabric.device, program.task.load()
    ring = Collectives.model_validate({"all_reduce": "ring"}).all_reduce
    cost = LinkCost(2e-5 + 2 * device.message_overhead_s, 8 / 2e9, 12 / 4 / 4e9)  # adding reads two numbers and writes one
    done = wire = 0.0
    buckets = program.buckets()
    for bucket, (work, _) in zip(buckets, pieces(task.gradient_work(16), task.gradient_count(16), buckets), strict=True):
        done += device.duration_s(work.beyond_first())
        wire = max(done, wire) + ring.seconds(4 * bucket.size, WORKERS, cost)
    size = task.layout.size
    update = device.duration_s(Work(5.0 * size, 4.0 * 6 * size, 4.0 * 4 * size, 3))  # a mean, two passes of momentum, w - lr v
    return program.steps * (wire + update)


def test_a_step_takes_what_the_closed_form_says() -> None:
    arm = scenario(learn=False)
    assert took(arm) == pytest.approx(closed_form_s(arm), rel=2e-3)  # chunks of a ring differ by a number


@pytest.mark.parametrize("method", ["dense", "parameter_server"])
def test_it_is_never_slower_and_gains_where_both_take_time(method: str) -> None:
    together, apart = (took(scenario(method, learn=False, batch=256, overlap=overlap)) for overlap in (True, False))
    assert together < 0.95 * apart


BY_PART: list[Any] = ["qsgd", "terngrad", "signsgd", "ef_signsgd", "one_bit", {"type": "dgc", "density": 0.05}, "powersgd"]


@pytest.mark.parametrize("method", BY_PART, ids=str)
def test_a_part_by_itself_gains_where_both_take_time(method: Any) -> None:
    """Over links that take about as long as the backward pass."""
    times = []
    for overlap in (True, False):
        arm = scenario(method, learn=False, batch=256, overlap=overlap).dump()
        arm["fabric"]["topology"]["link"]["rate_bps"] = 1e8
        times.append(took(Scenario.build(arm)))
    assert len(scenario(method).program.buckets()) > 2  # type: ignore[attr-defined]
    assert times[0] < 0.95 * times[1]


def test_a_step_by_parts_takes_what_the_closed_form_says() -> None:
    """Pieces and packing in turn; the wire takes one bucket after the other; what comes of them is worked out after all that was asked."""
    arm = scenario("qsgd", learn=False)
    program: Any = arm.program
    device, task, method = arm.fabric.device, program.task.load(), program.method  # type: ignore[attr-defined]
    ring = Collectives.model_validate({"all_gather": "ring"}).all_gather
    compressor, cost = method._compressor(), LinkCost(2e-5 + 2 * device.message_overhead_s, 8 / 2e9, 0.0)
    buckets = program.buckets()
    there, free = [], 0.0
    for bucket, (work, _) in zip(buckets, pieces(task.gradient_work(16), task.gradient_count(16), buckets), strict=True):
        free += device.duration_s(work.beyond_first())
        free += device.duration_s(Work(*compressor.work(bucket.size)).beyond_first())
        there.append(free)
    wire = 0.0
    for bucket, ready in zip(buckets, there, strict=True):
        wire = max(ready, wire) + ring.seconds(compressor.wire_bytes(bucket.size), WORKERS, cost)
        size = bucket.size
        mean = Work(*compressor.add_work(size)).times(WORKERS) + Work(size, 4.0 * size, 8.0 * size, 9)
        moved = Work(4.0 * size, 4.0 * 5 * size, 4.0 * 3 * size, 2 + len(bucket.runs))
        free = max(free, wire) + device.duration_s(mean.beyond_first()) + device.duration_s(moved.beyond_first())
    arm = Scenario.build({**arm.dump(), "fabric": {**arm.fabric.dump(), "collectives": {"all_gather": "ring"}}})
    assert took(arm) == pytest.approx(program.steps * free, rel=2e-3)


def learned(method: Any, **program: Any) -> list[float]:
    """All metrics of two workers."""
    found: list[Any] = []

    def run(ctx: Any) -> Any:
        yield from scenario(method, **program).program.run(ctx)
        found.append(ctx.metrics)

    run_local(run, 2, 1, collectives=Collectives.model_validate({"all_reduce": "ring"}))
    return [metric.value for metrics in found for metric in metrics]


@pytest.mark.parametrize("method", ["one_bit", {"type": "one_bit", "dense_below": 600}], ids=str)
def test_what_is_compressed_by_layer_is_learnt_alike_by_parts(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer's two values are its own, wherever a vector is cut: the same to the bit where nothing is drawn for zeros."""
    monkeypatch.setattr("toolkit.methods.distributed.compressed.torch_generator", lambda *_: None)
    assert learned(method) == learned(method, overlap=False)


@pytest.mark.parametrize("method", BY_PART, ids=str)
def test_parts_learn_and_repeat(method: Any) -> None:
    first = learned(method, steps=6)
    assert first == learned(method, steps=6)


def test_parts_have_draws_of_their_own() -> None:
    """Two parts with the same gradient are not rounded alike."""
    drawn: list[Any] = []

    class Watched(type(scenario("terngrad").program.method)):  # type: ignore[misc]
        def step(self, ctx: Any, state: Any, weights: Any, gradient: Any, step: Any) -> Any:
            drawn.append(ctx.shared_rng("compress", ctx.node, *step.key).random())
            yield from super().step(ctx, state, weights, gradient, step)

    program = scenario("terngrad", steps=1).program.model_copy(update={"method": Watched.model_construct(type="terngrad")})
    run_local(program.run, 1, 1, collectives=Collectives())
    assert len(set(drawn)) == len(drawn) == len(program.buckets())


def test_a_method_that_sends_before_it_computes_is_told() -> None:
    class Hasty(type(scenario("qsgd").program.method)):  # type: ignore[misc]
        def step(self, ctx: Any, state: Any, weights: Any, gradient: Any, step: Any) -> Any:
            yield from ctx.all_reduce(gradient, "values")
            yield ctx.compute(Work(1.0), "compress")

    program = scenario("qsgd").program.model_copy(update={"method": Hasty.model_construct(type="qsgd")})
    with pytest.raises(RuntimeError, match=r"does not begin with ctx\.compute"):
        run_local(program.run, 2, 1, collectives=Collectives())


def test_what_was_measured_is_shared_out_among_the_pieces() -> None:
    arm = scenario(learn=False)
    slow = Scenario.build({**arm.dump(), "fabric": {**arm.fabric.dump(), "device": {**DEVICE, "measured_s": {"gradient": 5.0}}}})
    assert took(slow) == pytest.approx(15.0, rel=0.01)


def test_two_workers_learn_the_same_to_the_bit() -> None:
    """Sums of two do not depend on where a vector is cut."""
    ends = []
    for overlap in (True, False):
        program: Any = scenario(overlap=overlap).program
        found: list[Any] = []

        def run(ctx: Any, program: Any = program, found: list[Any] = found) -> Any:
            yield from program.run(ctx)
            found.append(ctx.metrics)

        run_local(run, 2, 1, collectives=Collectives.model_validate({"all_reduce": "ring"}))
        ends.append([metric.value for metric in found[0]] + [metric.value for metric in found[1]])
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("method", ["dense", "qsgd", "powersgd"])
def test_a_run_is_priced_again_as_it_was(tmp_path: Path, method: str) -> None:
    toolkit.run(scenario(method), out=tmp_path / "run")
    recost(tmp_path / "run", {}, out=tmp_path / "again")
    recost(tmp_path / "run", {"fabric.device.memory_bytes_per_s": 1e9}, out=tmp_path / "slow")
    toolkit.run(Scenario.build({**scenario(method).dump(), "fabric": {**scenario().fabric.dump(), "device": {
        **DEVICE, "memory_bytes_per_s": 1e9}}}), out=tmp_path / "trained")
    for one, other in (("run", "again"), ("slow", "trained")):
        before, after = (pd.read_csv(tmp_path / name / "report.csv") for name in (one, other))
        pd.testing.assert_frame_equal(before, after, rtol=1e-9)


@pytest.mark.parametrize("method", ["dense", "signsgd"])
def test_an_estimate_is_what_a_run_takes(method: str) -> None:
    arm = scenario(method, learn=False, steps=20)
    found = arm.program.estimate(arm.fabric)
    assert found is not None
    assert found.time_s == pytest.approx(took(arm), rel=1e-9)


def test_energy_of_adding_meanwhile_is_not_paid_twice(tmp_path: Path) -> None:
    """A machine that computes all the time draws `busy_w`, whatever it adds up meanwhile."""
    result = toolkit.run(scenario(learn=False), out=tmp_path / "run")
    ledger = result.ledger
    host = ledger[(ledger["kind"] == "compute") | ((ledger["kind"] == "idle") & (ledger["phase"] == "host"))]
    end_s = float((ledger["t0_s"] + ledger["dur_s"]).max())
    for _, rows in host.groupby("node"):
        busy_j = float(rows[rows["kind"] == "compute"]["energy_j"].sum())
        idle_s = float(rows[rows["kind"] == "idle"]["dur_s"].sum())
        assert busy_j / 11.0 + idle_s == pytest.approx(end_s, rel=1e-9)


def test_steps_come_one_after_the_other() -> None:
    assert all(after > before for before, after in pairwise(took(scenario(learn=False, steps=steps)) for steps in (1, 2, 3)))
