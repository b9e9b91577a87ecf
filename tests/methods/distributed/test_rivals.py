"""The rivals of gs-SGD: limits in which they are dense SGD, steps by hand, bytes by hand, and what their settings change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.methods.distributed.driver import LAYOUT, MATRICES, NAMES, SCHEDULES, Run, make, train
from toolkit.errors import ScenarioError
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed.dense import Dense
from toolkit.methods.distributed.dgc import Dgc
from toolkit.methods.distributed.ef_signsgd import EfSignSgd
from toolkit.methods.distributed.local_sgd import LocalSgd
from toolkit.methods.distributed.one_bit import OneBit
from toolkit.methods.distributed.parameter_server import ParameterServer
from toolkit.methods.distributed.powersgd import PowerSgd
from toolkit.methods.distributed.qsgd import Qsgd
from toolkit.methods.distributed.random_k import RandomK
from toolkit.methods.distributed.signsgd import SignSgd
from toolkit.methods.distributed.terngrad import TernGrad
from toolkit.methods.distributed.top_k import TopK

RIVALS = (
    "dense", "parameter_server", "top_k", "random_k", "qsgd", "terngrad", "signsgd", "ef_signsgd", "one_bit", "powersgd", "dgc",
    "local_sgd",
)
COMPRESSED = tuple(name for name in RIVALS if "dense_below" in type(make(name)).model_fields)
FOUR = FlatLayout(((4,),))


def given(*rows: list[list[float]]) -> Any:
    """Gradients by step, then rank."""
    return lambda rank, index, weights: torch.tensor(rows[index][rank])


def path_of(run: Run) -> list[list[float]]:
    """How far each coordinate has moved down after each step."""
    return [(run.begin - weights).tolist() for weights in run.path]


def by_hand(method: Any, *rows: list[list[float]], lr: float = 1.0, layout: FlatLayout = FOUR) -> list[list[float]]:
    return path_of(train(method, len(rows[0]), len(rows), lr=lr, layout=layout, gradient=given(*rows), begin=torch.zeros(layout.size)))


def same(run: Run, other: Run, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(run.weights[0], other.weights[0], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_dense_is_torch_sgd_on_the_mean_gradient(nesterov: bool, size: int) -> None:
    run = train(Dense(momentum=0.9, nesterov=nesterov), size, 50)
    weights = run.begin.clone().requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9, nesterov=nesterov)
    for index in range(50):
        weights.grad = torch.stack([
            torch.randn(LAYOUT.size, generator=torch.Generator().manual_seed(1000 * index + rank)) for rank in range(size)
        ]).mean(0)
        optimizer.step()
    torch.testing.assert_close(run.weights[0], weights.detach(), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_parameter_server_learns_what_dense_learns(size: int) -> None:
    server = train(ParameterServer(nesterov=True), size, 20)
    same(server, train(Dense(nesterov=True), size, 20))
    assert all(torch.equal(weights, server.weights[0]) for weights in server.weights)
    down = server.contexts[size].sent_bytes
    assert down == sum(context.sent_bytes for context in server.contexts[:size]) == 20 * 4 * LAYOUT.size * size


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize(
    "method",
    [TopK(density=1), RandomK(density=1), RandomK(density=1, error_feedback=False), Dgc(density=1, warmup_steps=0, masking=False),
     LocalSgd(period=1)],
    ids=["top_k", "random_k", "random_k unbiased", "dgc", "local_sgd"],
)
def test_with_everything_sent_it_is_dense(method: Any, size: int) -> None:
    same(train(method, size, 50), train(Dense(), size, 50), 5e-6)


@pytest.mark.parametrize("name", [name for name in COMPRESSED if "density" not in type(make(name)).model_fields])
@pytest.mark.parametrize("size", [1, 3])
def test_with_all_tensors_small_it_is_dense(name: str, size: int) -> None:
    method = make(name, dense_below=10_000, form="torch")
    same(train(method, size, 20), train(Dense(), size, 20))
    assert method.wire_bytes(LAYOUT) == 4 * LAYOUT.size


@pytest.mark.parametrize("name", COMPRESSED)
def test_small_tensors_travel_whole_and_are_counted(name: str) -> None:
    """Of 600 + 30 + 400 + 8, the tensors of 30 and 8 go whole; the rest is compressed as if it were all there is."""
    mixed = make(name, dense_below=100, momentum=0.0)
    whole = 38 if name != "powersgd" else 0  # it never compresses vectors
    assert mixed.wire_bytes(LAYOUT) == make(name).wire_bytes(FlatLayout((LAYOUT.shapes[0], LAYOUT.shapes[2]))) + 4 * 38
    run, dense = train(mixed, 2, 4, schedule="recursive_doubling"), train(Dense(momentum=0.0), 2, 4)
    assert run.contexts[0].sent_bytes == 4 * mixed.wire_bytes(LAYOUT)
    small = LAYOUT.small(100)
    assert int(small.sum()) == 38
    torch.testing.assert_close(run.weights[0][small], dense.weights[0][small])
    assert not torch.allclose(run.weights[0][~small], dense.weights[0][~small]) or whole


@pytest.mark.parametrize("name", [name for name in NAMES if "lr_inside" in type(make(name)).model_fields and name in RIVALS])
@pytest.mark.parametrize("below", [0, 100])
def test_where_the_learning_rate_is_makes_no_difference_while_it_is_constant(name: str, below: int) -> None:
    """A power of two scales without rounding, so choices and signs are the same."""
    inside, outside = (make(name, lr_inside=where, dense_below=below) for where in (True, False))
    same(train(inside, 3, 15, lr=0.125), train(outside, 3, 15, lr=0.125))
    falling = [train(method, 3, 15, lr=lambda index: 0.5 if index < 5 else 0.01) for method in (inside, outside)]
    assert not torch.allclose(falling[0].weights[0], falling[1].weights[0], atol=1e-4)


def test_top_k_by_hand() -> None:
    """Two workers, k = 1: each sends its largest; what it did not send comes later."""
    method = TopK(k=1, momentum=0.0)
    first = [[4.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, -2.0]]
    nothing = [[0.0] * 4, [0.0] * 4]
    assert by_hand(method, first, nothing) == [[2, 0, 0, -1], [2, 1.5, 0, -1]]
    assert by_hand(TopK(k=1, momentum=0.5), first, nothing) == [[2, 0, 0, -1], [3, 1.5, 0, -1.5]]  # momentum goes on without news


def test_random_k_sends_the_same_coordinates_everywhere() -> None:
    run = train(RandomK(k=3, momentum=0.0), 4, 1)
    assert int((run.weights[0] != run.begin).sum()) == 3
    for state in run.states[:4]:
        assert int((state.error == 0).sum()) == 3
    every = train(RandomK(density=0.05, momentum=0.0), 2, 100)
    assert (every.weights[0] != every.begin).float().mean() > 0.97  # 0.6 % have never been drawn


def test_a_majority_decides_and_a_tie_changes_nothing() -> None:
    method = SignSgd(momentum=0.0)
    three = [[0.1, -5.0, 2.0, -1.0], [0.2, -0.1, -9.0, -1.0], [-7.0, 3.0, -0.1, -1.0]]
    assert by_hand(method, three, lr=0.5) == [[0.5, -0.5, -0.5, -0.5]]
    assert by_hand(method, three[:2], lr=0.5) == [[0.5, -0.5, 0, -0.5]]
    signum = by_hand(SignSgd(momentum=0.75), [[1.0, 1.0, -1.0, 1.0]], [[-2.0, -4.0, 2.0, 1.0]])
    assert signum == [[1, 1, -1, 1], [0, 0, 0, 2]]  # averages of 1/4 then -5/16, -13/16, 5/16, 7/16


def test_scaled_signs_by_hand() -> None:
    first = [[4.0, -2.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]]
    assert by_hand(EfSignSgd(momentum=0.0), first) == [[2, 0, 2, 2]]
    layers = FlatLayout(((2,), (2,)))
    assert by_hand(EfSignSgd(momentum=0.0), first, layout=layers) == [[2.5, -0.5, 1.5, 1.5]]


def test_one_bit_by_hand() -> None:
    assert by_hand(OneBit(momentum=0.0), [[4.0, 2.0, -1.0, -5.0]], [[0.0, 0.0, 0.0, 0.0]]) == [[3, 3, -3, -3], [4.5, 1.5, -1.5, -4.5]]


def test_dgc_by_hand_corrects_momentum_and_masks_it() -> None:
    method = Dgc(density=0.25, momentum=0.5, warmup_steps=0)
    # u = (4, 3), v = (4, 3): sends 4. u = (1, 2.5), v = (1, 5.5): sends 5.5. u = (0.5, 0), v = (1.5, 0): sends 1.5
    assert by_hand(method, [[4.0, 3.0, 0, 0]], [[1.0, 1.0, 0, 0]], [[0.0] * 4]) == [[4, 0, 0, 0], [4, 5.5, 0, 0], [5.5, 5.5, 0, 0]]


def test_dgc_clips_each_worker_by_its_share() -> None:
    """Norm 2 over four workers is 1 for each."""
    rows = [[[3.0, 4.0, 0.0, 0.0]] + [[0.0, 0.0, 0.5, 0.0]] * 3]
    assert by_hand(Dgc(density=1, clip_norm=2.0, warmup_steps=0), *rows)[0] == pytest.approx([0.6 / 4, 0.8 / 4, 0.375, 0])


def test_dgc_warms_up_from_dense_to_sparse() -> None:
    method = Dgc(density=0.01, warmup_steps=5, momentum=0.0)
    assert [method.density_at(index) for index in (0, 4, 5, 10, 15, 19, 20, 10_000)] == [
        0.25, 0.25, 0.0625, 0.015625, 0.01, 0.01, 0.01, 0.01,
    ]
    run = train(method, 2, 25, layout=MATRICES, schedule="recursive_doubling")
    kept = [250] * 5 + [62] * 5 + [16] * 5 + [10] * 10
    assert run.contexts[0].sent_bytes == 8 * sum(kept)
    assert method.wire_bytes(MATRICES) == 80


def test_powersgd_is_dense_for_gradients_of_its_rank() -> None:
    """In one subspace of rows: where it changes, rounding errors in the memory grow from step to step by the condition of M Q."""

    def low(rank: int, index: int, weights: torch.Tensor) -> torch.Tensor:
        own, shared = torch.Generator().manual_seed(10 * index + rank), torch.Generator().manual_seed(1)
        shapes = [torch.randn(n, 2, generator=own) @ torch.randn(2, m, generator=shared) for n, m in MATRICES.shapes]
        return torch.cat([matrix.view(-1) for matrix in shapes])

    for warm in (True, False):
        method = PowerSgd(rank=2, min_rate=1.0, form="torch", warm_start=warm)
        same(train(method, 3, 10, layout=MATRICES, gradient=low), train(Dense(), 3, 10, layout=MATRICES, gradient=low), 1e-4)


def test_powersgd_moves_by_gradient_and_momentum() -> None:
    """Alg. 2: m = 1, then 1.5; the weights move by g + m."""
    vector = [[[1.0] * 4]] * 2
    assert by_hand(PowerSgd(momentum=0.5), *vector) == [[2.0] * 4, [4.5] * 4]
    assert by_hand(PowerSgd(momentum=0.5, form="torch"), *vector) == [[1.0] * 4, [2.5] * 4]
    assert by_hand(PowerSgd(momentum=0.0), *vector) == [[1.0] * 4, [2.0] * 4]


def test_powersgd_compresses_only_what_gets_smaller() -> None:
    layout = FlatLayout(((100, 50), (100,), (4, 4), (64, 3, 3, 3)))
    assert PowerSgd(rank=2).wire_bytes(layout) == 4 * (2 * 150 + 100 + 16 + 2 * (64 + 27))
    assert PowerSgd(rank=2, min_rate=9.5).wire_bytes(layout) == 4 * (2 * 150 + 100 + 16 + 64 * 27)  # 182 * 9.5 is 1729
    assert PowerSgd(rank=2, dense_below=2000).wire_bytes(layout) == 4 * (2 * 150 + 100 + 16 + 64 * 27)
    assert PowerSgd(rank=60).wire_bytes(layout) == 4 * layout.size


def test_local_sgd_differs_between_averages_and_agrees_at_them() -> None:
    method = LocalSgd(period=4)
    between, at = train(method, 3, 6), train(method, 3, 8)
    assert not torch.equal(between.weights[0], between.weights[1])
    assert torch.equal(at.weights[0], at.weights[1])
    assert between.contexts[0].sent_bytes > 0
    assert train(method, 3, 3).contexts[0].sent_bytes == 0


def test_local_sgd_without_momentum_takes_the_mean_of_all_gradients_that_do_not_depend_on_the_weights() -> None:
    same(train(LocalSgd(period=5, momentum=0.0), 4, 20), train(Dense(momentum=0.0), 4, 20), 5e-6)


@pytest.mark.parametrize("at_average", ["keep", "reset", "average"])
def test_what_becomes_of_momentum_at_an_average(at_average: str) -> None:
    method = LocalSgd(period=2, at_average=at_average)
    assert method.wire_bytes(LAYOUT) == (2 if at_average == "average" else 1) * 4 * LAYOUT.size / 2
    states = train(method, 2, 4).states
    equal = torch.equal(states[0].velocity, states[1].velocity)
    assert equal == (at_average != "keep")
    assert bool(states[0].velocity.any()) == (at_average != "reset")


def test_bytes_by_hand() -> None:
    """d = 1,038 in 4 tensors."""
    d = LAYOUT.size
    assert d == 600 + 30 + 400 + 8
    assert {name: make(name).wire_bytes(LAYOUT) for name in ("dense", "parameter_server")} == {"dense": 4 * d, "parameter_server": 4 * d}
    assert TopK(density=0.01).wire_bytes(LAYOUT) == 10 * 8
    assert RandomK(k=10).wire_bytes(LAYOUT) == 10 * 4
    assert Qsgd(levels=7, bucket=512).wire_bytes(LAYOUT) == d // 2 + 4 * 3
    assert Qsgd(levels=1, bucket=100).wire_bytes(LAYOUT) == 260 + 4 * 11
    assert TernGrad().wire_bytes(LAYOUT) == 260 + 4 * 4
    assert SignSgd().wire_bytes(LAYOUT) == 130
    assert EfSignSgd().wire_bytes(LAYOUT) == 130 + 4 * 4
    assert OneBit().wire_bytes(LAYOUT) == 130 + 4 * 4 * 2
    assert Dgc().wire_bytes(LAYOUT) == 8


@pytest.mark.parametrize("name", ["top_k", "qsgd", "terngrad", "signsgd", "ef_signsgd", "one_bit", "dgc"])
@pytest.mark.parametrize("gather", ["ring", "doubling"])
def test_what_is_gathered_goes_to_all_others(name: str, gather: str) -> None:
    method = make(name)
    run = train(method, 5, 3, gather=gather)
    assert sum(context.sent_bytes for context in run.contexts) == 3 * 5 * 4 * method.wire_bytes(LAYOUT)


@pytest.mark.parametrize("name", ["dense", "random_k", "powersgd"])
def test_what_is_added_goes_round_the_ring(name: str) -> None:
    method = make(name)
    run = train(method, 5, 3, schedule="ring")
    assert sum(context.sent_bytes for context in run.contexts) == 3 * 2 * 4 * method.wire_bytes(LAYOUT)


@pytest.mark.parametrize("steps", [15, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", [name for name in RIVALS if name not in ("parameter_server", "local_sgd")])
def test_replicas_are_equal_after_many_steps(name: str, schedule: str, steps: int) -> None:
    run = train(make(name, dense_below=20), 4, steps, schedule=schedule, lr=0.01, task="quadratic")
    assert all(torch.equal(weights, run.weights[0]) for weights in run.weights)


@pytest.fixture(scope="module")
def logistic() -> Any:
    """Four workers with points of their own, a true loss, and what dense SGD makes of it."""
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(4, 64, 100, generator=generator)
    labels = (points @ torch.randn(100, generator=generator) + torch.randn(4, 64, generator=generator) > 0).float()

    def loss(weights: torch.Tensor) -> float:
        errors = torch.nn.functional.binary_cross_entropy_with_logits(points @ weights, labels)
        return float(errors + 0.01 * weights.square().sum())

    def gradient(rank: int, index: int, weights: torch.Tensor) -> torch.Tensor:
        batch = slice(32 * (index % 2), 32 * (index % 2) + 32)
        wrong = torch.sigmoid(points[rank, batch] @ weights) - labels[rank, batch]
        return points[rank, batch].T @ wrong / 32 + 0.02 * weights

    def reached(method: Any, lr: float) -> float:
        return loss(train(method, 4, 150, lr=lr, layout=FlatLayout(((20, 5),)), gradient=gradient, begin=torch.zeros(100)).weights[0])

    return reached, loss(torch.zeros(100)), reached(Dense(momentum=0.5), 0.1)


@pytest.mark.parametrize("name", RIVALS)
def test_logistic_regression_gets_near_where_dense_gets(logistic: Any, name: str) -> None:
    """All come within 15 % of the way that dense SGD makes in as many steps."""
    reached, start, best = logistic
    method = make(name, density=0.1, momentum=0.5, bucket=50, form="torch")
    assert best < 0.5 * start
    assert reached(method, 0.005 if name == "signsgd" else 0.1) - best < 0.15 * (start - best)


@pytest.mark.parametrize("method", [TopK(k=2000), RandomK(k=2000)])
def test_a_k_beyond_the_model_is_refused(method: Any) -> None:
    with pytest.raises(ScenarioError, match=r"program\.method\.k: 2000 .* 1038"):
        train(method, 2, 1)


@pytest.mark.parametrize("name", ["top_k", "random_k", "dgc"])
def test_a_choice_among_nothing_is_refused(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"program\.method\.dense_below: .* nothing is compressed"):
        train(make(name, dense_below=10_000), 2, 1)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: TopK(density=0), "density"), (lambda: TopK(k=0), "k"), (lambda: Dense(momentum=1.0), "momentum"),
        (lambda: Qsgd(levels=0), "levels"), (lambda: LocalSgd(period=0), "period"), (lambda: PowerSgd(rank=0), "rank"),
        (lambda: Dgc(warmup=(0.5, 2.0)), "warmup"), (lambda: TernGrad(clip=-1), "clip"),
    ],
)
def test_settings_out_of_range_are_refused(build: Any, field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        build()
