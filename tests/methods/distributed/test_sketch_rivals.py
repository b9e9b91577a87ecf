"""gTop-k, Sketched-SGD, FetchSGD and ARC-Top-k."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.methods.distributed.training import LAYOUT, SCHEDULES, Trained, conserved, dense, noise, train
from toolkit.core.part import explain
from toolkit.errors import ScenarioError
from toolkit.learning.flat import FlatLayout
from toolkit.learning.top_k import top_k
from toolkit.methods.distributed import ExchangeMethod
from toolkit.methods.distributed.arc_top_k import ArcTopK, Ef21State
from toolkit.methods.distributed.fetch_sgd import FetchSgd
from toolkit.methods.distributed.gtop_k import GTopK
from toolkit.methods.distributed.sketched_sgd import SketchedSgd

D = LAYOUT.size
WIDE = 16 * 45 * 20
ALL: list[tuple[ExchangeMethod, int]] = [
    (GTopK(k=20), 0), (GTopK(k=20, form="local", dense_below=100), 0), (SketchedSgd(k=20), 1), (SketchedSgd(k=20, dense_below=100), 1),
    (FetchSgd(k=20), 1), (FetchSgd(k=20, dense_below=100), 1), (ArcTopK(), 0), (ArcTopK(form="ef14", dense_below=300), 0),
]


def replicas_agree(trained: Trained) -> bool:
    return all(torch.equal(weights, trained.weights[0]) for weights in trained.weights)


@pytest.mark.parametrize(("workers", "schedule"), list(zip(range(1, 9), 2 * SCHEDULES, strict=True)))
def test_replicas_are_equal_to_the_bit(workers: int, schedule: str) -> None:
    for method, servers in ALL:
        trained = train(method, workers, 2, schedule=schedule, servers=servers)
        assert replicas_agree(trained)
        assert not torch.equal(trained.weights[0], trained.start)


@pytest.mark.parametrize("steps", [50, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("method", "servers"), ALL)
def test_replicas_are_equal_after_many_steps(method: ExchangeMethod, servers: int, steps: int) -> None:
    trained = train(method, 4, steps, servers=servers)
    assert replicas_agree(trained)
    assert torch.isfinite(trained.weights[0]).all()


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(
    ("method", "servers"),
    [(GTopK(k=20, momentum=0), 0), (SketchedSgd(k=20, momentum=0), 1), (ArcTopK(form="ef14", momentum=0), 0)],
)
def test_nothing_is_lost(method: ExchangeMethod, servers: int, workers: int) -> None:
    if isinstance(method, ArcTopK):  # its vectors travel whole, and its error is that of the matrices
        trained = train(method, workers, 40, servers=servers, layout=FlatLayout(((24, 18), (10, 24))))
    else:
        trained = train(method, workers, 40, servers=servers)
    assert conserved(trained, lr=0.1) < 1e-5


@pytest.mark.parametrize(
    ("method", "servers"),
    [(GTopK(k=40), 0), (GTopK(k=40, form="local"), 0), (SketchedSgd(k=40), 1), (FetchSgd(k=40, cols=WIDE), 1), (ArcTopK(form="ef14"), 0)],
)
def test_where_the_learning_rate_is_makes_no_difference_if_it_is_constant(method: ExchangeMethod, servers: int) -> None:
    outside = train(method, 3, 15, lr=0.125, servers=servers)
    inside = train(method.model_copy(update={"lr_inside": True}), 3, 15, lr=0.125, servers=servers)
    torch.testing.assert_close(outside.weights[0], inside.weights[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    ("method", "servers"),
    [
        (GTopK(k=D), 0), (GTopK(k=D, form="local", masking=False), 0), (SketchedSgd(k=D, cols=720, masking=False), 1),
        (FetchSgd(k=D, cols=WIDE, masking=False), 1), (ArcTopK(density=1), 0),
    ],
)
def test_all_coordinates_are_dense_sgd(method: ExchangeMethod, servers: int, momentum: float) -> None:
    trained = train(method.model_copy(update={"momentum": momentum}), 3, 30, servers=servers)
    torch.testing.assert_close(trained.weights[0], dense(3, 30, momentum=momentum), rtol=1e-5, atol=5e-6)


def spikes(places: dict[int, dict[int, float]]) -> Any:
    """Gradients that are zero but for *places*: by rank, then coordinate, in the first step alone."""

    def gradient(rank: int, step: int, weights: Tensor) -> Tensor:
        g = torch.zeros(D)
        for place, value in places.get(rank, {}).items() if step == 0 else ():
            g[place] = value
        return g

    return gradient


class TestGTopK:
    def test_a_tree_by_hand(self) -> None:
        """k = 1. Ranks 0 and 1 keep 6 at 20 and drop 5 at 10; ranks 2 and 3 keep 10 at 10; 10 wins: the 5 was part of it."""
        gradient = spikes({0: {10: 5.0}, 1: {20: 6.0}, 2: {10: 10.0}, 3: {30: 1.0}})
        trained = train(GTopK(k=1, momentum=0), 4, 1, lr=1.0, gradient=gradient)
        moved = trained.start - trained.weights[0]
        assert moved.nonzero().view(-1).tolist() == [10]
        assert moved[10] == pytest.approx(10 / 4, rel=1e-6)
        errors = [state.error for state in trained.states]
        assert [float(error.sum()) for error in errors] == [5, 6, 0, 1]
        assert (errors[0][10], errors[1][20], errors[3][30]) == (5, 6, 1)

    def test_the_published_form_loses_what_comes_home_by_another_branch(self) -> None:
        gradient = spikes({0: {10: 5.0}, 1: {20: 6.0}, 2: {10: 10.0}, 3: {30: 1.0}})
        published = train(GTopK(k=1, momentum=0, dropped="lose"), 4, 1, lr=1.0, gradient=gradient)
        assert [float(state.error.sum()) for state in published.states] == [0, 6, 0, 1]
        assert conserved(published) > 0.3
        assert conserved(train(GTopK(k=1, momentum=0), 4, 1, lr=1.0, gradient=gradient)) < 1e-6

    def test_equal_gradients_give_the_true_top_k(self) -> None:
        own = noise(D, 3)
        trained = train(GTopK(k=15, momentum=0), 5, 1, lr=1.0, gradient=lambda rank, step, weights: own)
        assert torch.equal((trained.start - trained.weights[0]).nonzero().view(-1), top_k(own, 15))

    def test_momentum_correction_masks_what_was_sent(self) -> None:
        gradient = spikes({0: {10: 5.0, 11: 1.0}, 1: {20: 6.0}})
        local = train(GTopK(k=1, form="local"), 2, 1, gradient=gradient)
        assert (local.states[0].momentum[10], local.states[1].momentum[20]) == (5, 0)  # 20 won; the 5 at 10 goes on
        assert train(GTopK(k=1, form="local", masking=False), 2, 1, gradient=gradient).states[1].momentum[20] == 6
        shared = train(GTopK(k=1), 2, 3, lr=1.0, gradient=gradient)
        assert torch.equal(shared.states[0].momentum, shared.states[1].momentum)

    @pytest.mark.parametrize("workers", [2, 3, 4, 7])
    def test_bytes(self, workers: int) -> None:
        method = GTopK(k=20, dense_below=100)
        assert method.wire_bytes(LAYOUT) == 8 * 20 + 4 * 34
        assert train(method, workers, 3).sent_bytes == 2 * (workers - 1) * 3 * method.wire_bytes(LAYOUT)


class TestServers:
    @pytest.mark.parametrize(
        "method", [SketchedSgd(k=20), FetchSgd(k=20), SketchedSgd(k=300, dense_below=30), FetchSgd(k=20, dense_below=30)]
    )
    def test_bytes(self, method: Any) -> None:
        trained = train(method, 3, 4, servers=1)
        *workers, server = (context.sent_bytes for context in trained.contexts)
        assert workers == [4 * method.wire_bytes(LAYOUT)] * 3
        assert server == 3 * 4 * method.down_bytes(LAYOUT)

    def test_bytes_by_hand(self) -> None:
        sketched, fetch = SketchedSgd(k=20, cols=160), FetchSgd(k=20, cols=160)
        assert (sketched.wire_bytes(LAYOUT), sketched.down_bytes(LAYOUT)) == (4 * (5 * 160 + 80), 4 * 80 + 8 * 20)
        assert (fetch.wire_bytes(LAYOUT), fetch.down_bytes(LAYOUT)) == (4 * 5 * 160, 8 * 20)

    def test_fetch_sgd_by_hand(self) -> None:
        """One spike: it is sent, leaves the error table, and with masking the momentum table."""
        gradient = spikes({0: {100: 4.0}, 1: {100: 2.0}})
        trained = train(FetchSgd(k=1, cols=WIDE), 2, 1, lr=0.5, gradient=gradient, servers=1)
        assert float((trained.start - trained.weights[0])[100]) == pytest.approx(0.5 * 3, rel=1e-6)
        server = trained.states[2]
        assert not server.error_table.any()
        assert not server.momentum_table.any()
        unmasked = train(FetchSgd(k=1, cols=WIDE, masking=False, sketch_error="subtract"), 2, 1, gradient=gradient, servers=1).states[2]
        assert not unmasked.error_table.any()
        assert unmasked.momentum_table.abs().sum() == pytest.approx(5 * 3)

    def test_fetch_sgd_subtracting_conserves_the_tables(self) -> None:
        trained = train(FetchSgd(k=20, momentum=0, sketch_error="subtract"), 3, 20, servers=1)
        server = trained.states[3]
        pulled = server.sketch.encode(sum(trained.pulled).float() / 0.1 / 3)
        moved = server.sketch.encode((trained.start - trained.weights[0]) / 0.1)
        torch.testing.assert_close(moved + server.error_table, pulled, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("method", [SketchedSgd(k=20), FetchSgd(k=20)])
    @pytest.mark.parametrize("servers", [0, 2])
    def test_one_server_exactly(self, method: ExchangeMethod, servers: int) -> None:
        with pytest.raises(ScenarioError, match=rf"works with exactly 1 server, which decodes the sketch \(got {servers}\)"):
            train(method, 2, 1, servers=servers)


class TestArcTopK:
    def test_the_largest_rows_of_the_sum_are_sent(self) -> None:
        layout = FlatLayout(((20, 30),))

        def gradient(rank: int, step: int, weights: Tensor) -> Tensor:
            g = 0.01 * noise(600, rank).view(20, 30)
            g[4] += 1.0 * (rank + 1)
            g[17] -= 2.0
            g[9] += 5.0 * (-1) ** rank  # large for each, nothing in the sum
            return g.view(-1)

        trained = train(ArcTopK(density=0.1, form="ef14", momentum=0), 2, 1, lr=1.0, layout=layout, gradient=gradient)
        moved = (trained.start - trained.weights[0]).view(20, 30)
        assert moved.abs().sum(1).nonzero().view(-1).tolist() == [4, 17]
        expected = ((gradient(0, 0, moved) + gradient(1, 0, moved)) / 2).view(20, 30)
        torch.testing.assert_close(moved[[4, 17]], expected[[4, 17]], rtol=1e-4, atol=1e-6)
        assert all(not state.error.view(20, 30)[[4, 17]].any() for state in trained.states)

    def test_rows_are_compared_by_their_norms(self) -> None:
        """A projection of many columns keeps the order of norms that differ by a third each."""
        layout = FlatLayout(((20, 400),))
        order = torch.randperm(20, generator=torch.Generator().manual_seed(3))

        def gradient(rank: int, step: int, weights: Tensor) -> Tensor:
            return (noise(8000, 4).view(20, 400) * 1.33 ** order[:, None]).view(-1)

        trained = train(ArcTopK(density=0.25, rank=200, form="ef14", momentum=0), 2, 1, layout=layout, gradient=gradient)
        moved = (trained.start - trained.weights[0]).view(20, 400).abs().sum(1).nonzero().view(-1)
        assert torch.equal(moved, (order >= 15).nonzero().view(-1))

    def test_the_mean_estimate_is_the_mean_of_the_estimates(self) -> None:
        states = train(ArcTopK(), 4, 25).states
        assert all(isinstance(state, Ef21State) for state in states)
        mean = sum(state.estimate for state in states) / 4
        torch.testing.assert_close(states[0].mean_estimate, mean, rtol=1e-5, atol=1e-6)
        assert all(torch.equal(state.mean_estimate, states[0].mean_estimate) for state in states)

    def test_estimates_come_to_a_constant_gradient(self) -> None:
        """The error of EF21 dies out where the gradient does not change."""
        layout = FlatLayout(((20, 30),))
        trained = train(ArcTopK(density=0.25), 3, 60, layout=layout, gradient=lambda rank, step, weights: noise(600, rank))
        mean = sum(noise(600, rank) for rank in range(3)) / 3
        torch.testing.assert_close(trained.states[0].mean_estimate, mean, rtol=1e-4, atol=1e-5)

    def test_vectors_and_matrices_that_would_not_shrink_travel_whole(self) -> None:
        layout = FlatLayout(((40, 5), (40,), (30, 2, 3, 3), (16, 4)))
        method = ArcTopK(density=0.1, rank=4)
        # 40x5: 160 + 4 rows x 5 < 200; 30x18: 120 + 3 x 18 < 540; 16x4: 64 + 2 x 4 is no less than 64
        assert method.wire_bytes(layout) == 4 * (160 + 20 + 40 + 120 + 54 + 64)
        assert train(method, 2, 3, layout=layout, schedule="ring").sent_bytes == 2 * 3 * method.wire_bytes(layout)
        assert ArcTopK(density=0.1, dense_below=250).wire_bytes(layout) == 4 * (200 + 40 + 120 + 54 + 64)

    @pytest.mark.parametrize("form", ["ef14", "ef21m"])
    def test_it_gets_where_dense_sgd_gets(self, form: str) -> None:
        target = sum(noise(D, rank) for rank in range(3)) / 3

        def decoupled(rank: int, step: int, weights: Tensor) -> Tensor:
            return weights - noise(D, rank)

        method = ArcTopK.model_validate({"form": form, "momentum": 0 if form == "ef14" else 0.5})
        trained = train(method, 3, 150, gradient=decoupled, lr=0.05)
        assert float((trained.weights[0] - target).norm() / (trained.start - target).norm()) < 0.05


@pytest.mark.parametrize("method", [GTopK(k=707), SketchedSgd(k=707), FetchSgd(k=707)])
def test_more_coordinates_than_there_are(method: ExchangeMethod) -> None:
    with pytest.raises(ScenarioError, match=r"program\.method\.k: 707 coordinates per step, and the model has 706"):
        train(method, 2, 1, servers=1 if method.needs_servers else 0)


@pytest.mark.parametrize("method", [SketchedSgd, FetchSgd])
@pytest.mark.parametrize(("settings", "sentence"), [({"rows": 2}, "rows must be odd (got 2)"), ({"cols": 24}, "multiple of 16")])
def test_bad_tables_are_refused_in_one_sentence(method: type[ExchangeMethod], settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        method.model_validate(settings)
    problems = explain(caught.value)
    assert len(problems) == 1
    assert sentence in problems[0]
