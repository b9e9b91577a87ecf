"""Stand-ins: code runs without values, what is real stays real, and the memory is that of shapes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from toolkit.learning.standin import Shapes, StandIn


def test_what_meets_a_stand_in_becomes_one_and_what_is_real_stays_so() -> None:
    net, labels = nn.Linear(6, 3, device="meta"), torch.tensor([0, 2])
    real = torch.zeros(2, 3)
    with StandIn():
        scores = net(torch.ones(2, 6))
        loss = cross_entropy(scores, labels)
        loss.backward()
        real[:, :2] = scores[:, :2].detach()
        real.add_(scores.detach())
        moved = scores.detach().to("cpu")
    assert scores.is_meta
    assert scores.shape == (2, 3)
    assert loss.is_meta
    assert net.weight.grad is not None
    assert net.weight.grad.shape == (3, 6)
    assert moved.is_meta
    assert not real.any()
    assert labels.tolist() == [0, 2]


def test_values_that_are_not_there_are_taken_one_way() -> None:
    missing, whole = torch.empty(3, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    with StandIn():
        assert (missing > 5).all()
        assert float(missing.sum()) == 1.0
        assert int(whole.argmax()) == 0


def test_memory_is_counted_while_it_is_in_use() -> None:
    given = torch.empty(100, device="meta")
    with StandIn([given]) as standin:
        first = given * 2
        second = first + 1
        assert standin.live.now == 800
        view = second.view(10, 10)
        del first, second
        assert standin.live.now == 400
        del view
        given.add_(1)
        assert standin.live.now == 0
        assert standin.live.peak == 800
        kept = torch.zeros(50)
        assert standin.live.now == 0, "what is real is not counted"
        assert len(kept) == 50


def test_a_network_of_shapes_takes_the_memory_that_it_is_said_to_take() -> None:
    weights = [nn.Parameter(torch.empty(5, 4, device="meta")), nn.Parameter(torch.empty(4, device="meta"), requires_grad=False)]
    maps = torch.empty(8, 3, device="meta")
    with StandIn([*weights, maps]) as standin:
        features = Shapes.apply(1000, 500, 7, maps, *weights)
        assert features.shape == (8, 7)
        assert standin.live.now == 1000 + features.nbytes
        features.sum().backward()
        assert weights[0].grad is not None
        assert weights[1].grad is None
        assert standin.live.now == features.nbytes + weights[0].nbytes
        assert standin.live.peak >= 1000 + 500 + features.nbytes
        with torch.no_grad():
            Shapes.apply(1000, 500, 7, maps, *weights)
        assert standin.live.now == features.nbytes + weights[0].nbytes
