from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.methods.distributed.training import LAYOUT, SCHEDULES, conserved, dense, noise, train
from toolkit.core.local import LocalContext
from toolkit.core.part import explain
from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed.fetch_sgd import FetchSgd
from toolkit.methods.distributed.gs_sgd import GsSgd, LocalState, TableState
from toolkit.methods.distributed.sketched_sgd import SketchedSgd

D = LAYOUT.size
WIDE = 16 * 45 * 20
"""Columns at which nearly no two lines of the 706 coordinates meet in three of five rows."""


@pytest.mark.parametrize(("workers", "momentum"), [(1, 0.9), (2, 0.0), (3, 0.9), (5, 0.0), (6, 0.9), (7, 0.9)])
def test_all_coordinates_are_dense_sgd(workers: int, momentum: float) -> None:
    method = GsSgd(k=D, cols=720, p2=1, momentum=momentum, masking=False)
    trained = train(method, workers, 50)
    torch.testing.assert_close(trained.weights[0], dense(workers, 50, momentum=momentum), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["local", "virtual"])
def test_estimates_alone_are_dense_sgd_where_no_coordinates_collide(form: str) -> None:
    method = GsSgd(k=D, cols=WIDE, exact=False, form=form, masking=False)
    torch.testing.assert_close(train(method, 3, 50).weights[0], dense(3, 50, momentum=0.9), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("steps", [50, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("schedule", "settings"), [*((schedule, {}) for schedule in SCHEDULES), ("ring", {"exact": False, "form": "virtual"})]
)
def test_replicas_are_equal_to_the_bit_after_many_steps(schedule: str, settings: dict[str, Any], steps: int) -> None:
    trained = train(GsSgd(k=20, **settings), 4, steps, schedule=schedule)
    assert all(torch.equal(weights, trained.weights[0]) for weights in trained.weights)
    assert torch.isfinite(trained.weights[0]).all()
    assert not torch.equal(trained.weights[0], trained.start)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("workers", [1, 2, 3, 5, 6, 7, 8])
def test_replicas_are_equal_for_any_number_of_workers(schedule: str, workers: int) -> None:
    for method in (GsSgd(k=20), GsSgd(k=20, deterministic=True), GsSgd(k=20, exact=False), GsSgd(k=20, dense_below=100)):
        trained = train(method, workers, 2, schedule=schedule)
        assert all(torch.equal(weights, trained.weights[0]) for weights in trained.weights)


def test_fixed_point_tables_do_not_depend_on_the_schedule() -> None:
    method = GsSgd(k=20, exact=False, form="local", momentum=0, deterministic=True)
    first, *others = (train(method, 5, 10, schedule=schedule).weights[0] for schedule in SCHEDULES)
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("workers", [1, 3, 4])
@pytest.mark.parametrize("settings", [{}, {"p1": 2}, {"dense_below": 0, "p2": 1}, {"deterministic": True}])
def test_nothing_is_lost(workers: int, settings: dict[str, Any]) -> None:
    outside = GsSgd(k=20, momentum=0, **settings)
    assert conserved(train(outside, workers, 40), lr=0.1) < 1e-5
    assert conserved(train(outside.model_copy(update={"lr_inside": True}), workers, 40)) < 1e-5


def test_subtracting_conserves_the_tables() -> None:
    """Sketch of all gradients = sketch of all updates + table of errors."""
    trained = train(GsSgd(k=20, exact=False, momentum=0, sketch_error="subtract"), 3, 20)
    state = trained.states[0]
    assert isinstance(state, TableState)
    pulled = state.sketch.encode(sum(trained.pulled).float() / 0.1)
    moved = state.sketch.encode((trained.start - trained.weights[0]) * 3 / 0.1)
    torch.testing.assert_close(moved + state.error_table, pulled, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"exact": False}, {"exact": False, "form": "virtual"}, {"form": "none"}])
def test_where_the_learning_rate_is_makes_no_difference_if_it_is_constant(settings: dict[str, Any]) -> None:
    method = GsSgd(k=40, **settings)
    outside = train(method, 3, 20, lr=0.125)  # a power of two: scaling then rounds nothing
    inside = train(method.model_copy(update={"lr_inside": True}), 3, 20, lr=0.125)
    torch.testing.assert_close(outside.weights[0], inside.weights[0], rtol=1e-5, atol=1e-5)


def test_one_step_by_hand() -> None:
    """Three large coordinates: two are sent; error and momentum forget these and keep the rest."""

    def gradient(rank: int, step: int, weights: Tensor) -> Tensor:
        g = 0.001 * noise(D, rank)
        g[[5, 300, 700]] = torch.tensor([3.0, -4.0, 1.0]) * (rank + 1)
        return g

    trained = train(GsSgd(k=2, cols=WIDE), 2, 1, lr=0.5, gradient=gradient)
    expected = trained.start.clone()
    expected[[5, 300]] -= 0.5 * torch.tensor([9.0, -12.0]) / 2
    torch.testing.assert_close(trained.weights[0], expected)
    for rank, state in enumerate(trained.states):
        left = gradient(rank, 0, expected)
        left[[5, 300]] = 0
        assert isinstance(state, LocalState)
        assert torch.equal(state.error, left)
        assert torch.equal(state.momentum, left)
    unmasked = train(GsSgd(k=2, cols=WIDE, masking=False), 2, 1, lr=0.5, gradient=gradient).states[0]
    assert unmasked.momentum[5] == 3
    assert unmasked.error[5] == 0


def test_local_truncation_hides_what_is_large_only_in_the_sum() -> None:
    """Coordinate 20 is nobody's largest and the largest of the sum; what is exchanged in the second round is exact either way."""

    def gradient(rank: int, step: int, weights: Tensor) -> Tensor:
        g = torch.zeros(D)
        g[20] = 4.0
        g[100 if rank else 500] = 5.0 + rank
        return g

    settings = {"k": 1, "p2": 1, "cols": WIDE, "momentum": 0}
    for p1, place, moved in ((0, 20, 4.0), (1, 100, 3.0)):
        trained = train(GsSgd.model_validate({**settings, "p1": p1}), 2, 1, lr=1.0, gradient=gradient)
        update = trained.start - trained.weights[0]
        assert update.nonzero().view(-1).tolist() == [place]
        assert float(update[place]) == pytest.approx(moved, rel=1e-5)


def test_small_tensors_are_dense_momentum_sgd() -> None:
    def decoupled(rank: int, step: int, weights: Tensor) -> Tensor:
        return weights - noise(D, rank)

    trained = train(GsSgd(k=20, dense_below=100), 3, 30, gradient=decoupled)
    expected = dense(3, 30, momentum=0.9, gradient=decoupled)
    small = LAYOUT.small(100)
    assert small.sum() == 34
    torch.testing.assert_close(trained.weights[0][small], expected[small], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(trained.weights[0][~small], expected[~small], atol=1e-2)



@pytest.mark.parametrize(
    "settings",
    [{"k": 20}, {"density": 0.05, "cols": 64, "rows": 3}, {"k": 20, "dense_below": 100}, {"k": 20, "exact": False}, {"k": 600}],
)
def test_what_is_sent_is_what_the_formula_says(settings: dict[str, Any]) -> None:
    method = GsSgd(**settings)
    wire = method.wire_bytes(LAYOUT)
    assert train(method, 2, 3, schedule="ring").sent_bytes == 2 * 3 * wire
    assert train(method, 5, 3, schedule="binomial").sent_bytes == 2 * (5 - 1) * 3 * wire


def test_wire_bytes_by_hand() -> None:
    assert GsSgd(k=20, cols=160).wire_bytes(LAYOUT) == 4 * (5 * 160 + 4 * 20)
    assert GsSgd(k=20).wire_bytes(LAYOUT) == 4 * (5 * 208 + 80)
    assert GsSgd(k=20, cols=160, dense_below=30).wire_bytes(LAYOUT) == 4 * (5 * 160 + 4 * 20 + 34)
    assert GsSgd(k=20, cols=160, exact=False).wire_bytes(LAYOUT) == 4 * 5 * 160


def test_with_a_server_it_would_be_sketched_sgd() -> None:
    settings = {"k": 20, "cols": 208, "momentum": 0.9, "dense_below": 100}
    alone = train(GsSgd.model_validate(settings), 4, 25)
    served = train(SketchedSgd.model_validate(settings), 4, 25, servers=1)
    torch.testing.assert_close(alone.weights[0], served.weights[0], rtol=1e-5, atol=1e-5)


def test_sketch_only_with_a_server_it_would_be_fetch_sgd() -> None:
    settings = {"k": 20, "cols": 400, "momentum": 0.5}
    alone = train(GsSgd(exact=False, form="virtual", **settings), 4, 10)
    served = train(FetchSgd(**settings), 4, 10, servers=1)
    torch.testing.assert_close(alone.weights[0], served.weights[0], rtol=1e-4, atol=1e-4)


def test_it_gets_where_dense_sgd_gets() -> None:
    """The workers' places average to where the loss is lowest; a tenth of the coordinates per step comes close to it."""
    target = sum(noise(D, rank) for rank in range(4)) / 4

    def away(weights: Tensor) -> float:
        return float((weights - target).norm() / (noise(D, 99) - target).norm())

    def decoupled(rank: int, step: int, weights: Tensor) -> Tensor:
        return weights - noise(D, rank)

    assert away(dense(4, 150, gradient=decoupled)) < 0.01
    assert away(train(GsSgd(density=0.1, momentum=0), 4, 150, gradient=decoupled).weights[0]) < 0.05


def test_looking_on_costs_nothing_and_tells_the_truth() -> None:
    silent = train(GsSgd(k=20), 3, 6)
    watched = train(GsSgd(k=20, watch_every=2), 3, 6)
    assert watched.sent_bytes == silent.sent_bytes
    assert torch.equal(watched.weights[0], silent.weights[0])
    assert not silent.contexts[0].metrics
    metrics = watched.contexts[0].metrics
    assert [metric.step for metric in metrics if metric.name == "sketch_recall"] == [0, 2, 4]
    assert all(0 <= metric.value <= 1 for metric in metrics if metric.name == "sketch_recall")
    assert not any(context.metrics for context in watched.contexts[1:])

    summed = sum(watched_gradient(rank) for rank in range(3))
    picked = (watched.start - train(GsSgd(k=20), 3, 1).weights[0]).nonzero().view(-1)
    true = float(summed[picked].square().sum() / summed.square().sum())
    first = next(metric.value for metric in metrics if metric.name == "sketch_energy")
    assert first == pytest.approx(true, rel=0.25)


def watched_gradient(rank: int) -> Tensor:
    from tests.methods.distributed.training import pull

    return pull(rank, 0, noise(D, 99))


def test_local_computation_is_charged_for_every_coordinate(monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[tuple[Work, str]] = []
    honest = LocalContext.compute

    def compute(self: LocalContext, work: Work, phase: str = "", share: float = 1.0) -> Any:
        charged.append((work, phase))
        return honest(self, work, phase)

    monkeypatch.setattr(LocalContext, "compute", compute)
    for method in (GsSgd(k=20), GsSgd(k=20, exact=False), GsSgd(k=20, p1=2)):
        charged.clear()
        train(method, 1, 1)
        total = sum((work for work, phase in charged if phase == "compress"), Work())
        assert total.read_bytes >= 3 * 4 * D  # encoding, decoding and choosing each look at every coordinate
        assert total.flops >= 2 * 5 * D
        assert total.write_bytes > 4 * 5 * 208


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rows": 4}, "rows must be odd (got 4)"),
        ({"cols": 100}, "cols must be a multiple of 16"),
        ({"form": "virtual"}, "set exact: false"),
        ({"p1": 1, "exact": False}, "set p1: 0"),
        ({"k": 0}, "k: "),
        ({"density": 0}, "density: "),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        GsSgd.model_validate(settings)
    problems = explain(caught.value)
    assert len(problems) == 1
    assert sentence in problems[0]


def test_more_coordinates_than_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"program\.method\.k: 707 coordinates per step, and the model has 706"):
        train(GsSgd(k=707), 2, 1)
    with pytest.raises(ScenarioError, match=r"has 672 that are compressed"):
        train(GsSgd(k=700, dense_below=100), 2, 1)
    with pytest.raises(ScenarioError, match="nothing is compressed"):
        train(GsSgd(dense_below=10_000), 2, 1)


def test_gaps_between_compressed_tensors() -> None:
    """Places among the compressed coordinates are found again in the whole vector."""
    layout = FlatLayout(((2,), (40,), (3,), (0,), (50,), (60,), (4,)))

    def gradient(rank: int, step: int, weights: Tensor) -> Tensor:
        return torch.arange(1.0, layout.size + 1)

    trained = train(GsSgd(k=150, p2=1, dense_below=10, momentum=0), 2, 1, lr=1.0, layout=layout, gradient=gradient)
    torch.testing.assert_close(trained.start - trained.weights[0], torch.arange(1.0, layout.size + 1), rtol=1e-5, atol=1e-4)
