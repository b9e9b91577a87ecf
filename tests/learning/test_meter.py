"""The meter: sums of what was counted, and nothing counted twice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.core.work import Work
from toolkit.learning import meter as module
from toolkit.learning.meter import Meter, update_work
from toolkit.learning.work import count, step_work

SHAPE = (5, 30)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))


def test_calls_add_up_and_are_counted_once_for_each_shape_mode_and_set_of_trained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def watched(model: nn.Module, shape: tuple[int, ...], **settings: object) -> object:
        counted.append((shape, settings["training"]))
        return count(model, shape, **settings)

    monkeypatch.setattr(module, "count", watched)
    network, meter = net(), Meter()
    for _ in range(3):
        meter.call(network, SHAPE, training=True)
        meter.call(network, SHAPE, training=False)
    expected = step_work(network, SHAPE).times(3) + step_work(network, SHAPE, training=False).times(3)
    found = meter.take()
    assert found[:3] == expected[:3]
    assert found.launches > 6
    assert meter.take() == Work()
    assert counted == [(SHAPE, True), (SHAPE, False)]
    network[0].requires_grad_(False)
    meter.call(network, SHAPE, training=True)
    assert meter.take()[:3] == step_work(network, SHAPE)[:3]
    assert len(counted) == 3


def test_a_method_is_called_with_its_arguments() -> None:
    class Scaled(nn.Linear):
        def twice(self, vectors: torch.Tensor, factor: float) -> torch.Tensor:
            return factor * self(vectors)

    network, meter = Scaled(30, 20), Meter()
    meter.call(network, SHAPE, training=False)
    once = meter.take()
    meter.call(network, SHAPE, "twice", 2.0, training=False)
    assert meter.take() == once + Work(100, 400, 400, 1)


def test_a_step_of_sgd_is_its_passes() -> None:
    assert update_work(10) == Work(20, 80, 40, 1)
    assert update_work(10, momentum=True) == Work(40, 200, 120, 3)
    assert update_work(10, momentum=True, nesterov=True, weight_decay=True) == Work(80, 360, 200, 5)
    assert update_work(10, nesterov=True) == update_work(10), "there is no Nesterov without momentum"


def test_repeated_work_counts_as_often_as_it_is_done() -> None:
    meter = Meter()
    meter.update(10)
    with meter.times(3), meter.times(0.5):
        meter.update(10)
        meter.traffic(read_bytes=8)
    meter.elementwise(10, flops=1, reads=2, writes=1)
    meter.traffic(read_bytes=1, written_bytes=2)
    assert meter.take() == update_work(10).times(2.5) + Work(10, 80, 40)
    assert meter.take_traffic() == (13, 2)
    assert meter.take_traffic() == (0, 0)


def test_the_first_launch_can_be_left_to_the_device() -> None:
    meter = Meter()
    meter.update(10, momentum=True)
    assert meter.take(beyond_first=True).launches == 2
    assert meter.take(beyond_first=True) == Work()
