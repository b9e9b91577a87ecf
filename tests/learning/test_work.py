from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from toolkit.core.work import Work
from toolkit.learning.flat import adopt
from toolkit.learning.work import UncountedWork, count, peak_memory_bytes, step_work
from toolkit.models.lenet import lenet5
from toolkit.models.resnet import resnet
from toolkit.models.small_cnn import small_cnn


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 49, 10)
    )


FIRST, SECOND, LAST = 2 * 256 * 8 * 27, 2 * 49 * 16 * 72, 2 * 784 * 10  # FLOPs per image of 3x16x16


# products


def test_a_convolutional_net_costs_what_arithmetic_says() -> None:
    for batch in (1, 5):
        forward = count(convolutions(), (batch, 3, 16, 16), training=False)
        assert forward.matrix_flops == batch * (FIRST + SECOND + LAST)
        # biases and ReLU of both convolutions (2 x), the bias of the last layer
        assert forward.other_flops == batch * (2 * 8 * 256 + 2 * 16 * 49 + 10)


def test_a_step_is_three_forwards_but_for_the_input_gradient_of_the_first_layer() -> None:
    forward, step = (count(convolutions(), (4, 3, 16, 16), training=training) for training in (False, True))
    assert step.matrix_flops == 3 * forward.matrix_flops - 4 * FIRST
    assert 2.5 < step.matrix_flops / forward.matrix_flops < 3


def test_frozen_layers_cost_no_gradient() -> None:
    net = convolutions()
    net[0].requires_grad_(False)
    assert count(net, (4, 3, 16, 16)).matrix_flops == 4 * (FIRST + 2 * SECOND + 3 * LAST)  # nor does anything behind them
    net.requires_grad_(False)
    assert count(net, (4, 3, 16, 16)).matrix_flops == 4 * (FIRST + SECOND + LAST)


@pytest.mark.parametrize(("net", "shape"), [
    (convolutions, (4, 3, 16, 16)), (small_cnn, (3, 1, 28, 28)), (lenet5, (2, 1, 28, 28)), (resnet, (2, 3, 32, 32)),
    (lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(6, 2, 2)), (2, 4, 5, 5)),
    (lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (2, 5, 16)),
])
def test_products_are_those_of_torchs_counter(net: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model = net()
    with FlopCounterMode(display=False) as counter:
        output = model(torch.zeros(shape))
        output.backward(torch.zeros_like(output))
    assert count(model, shape).matrix_flops == counter.get_total_flops()


def test_a_grouped_convolution_is_counted_by_its_groups_in_both_directions() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False))
    point, depth = 2 * 100 * 8, 2 * 100 * 8 * 9
    assert count(net, (1, 1, 10, 10), training=False).matrix_flops == point + depth
    assert count(net, (1, 1, 10, 10)).matrix_flops == 2 * point + 3 * depth


@pytest.mark.parametrize("layers", [1, 2])
def test_an_lstm_costs_its_gates(layers: int) -> None:
    steps, batch, size = 35, 20, 200
    lstm = nn.LSTM(size, size, layers)
    expected = layers * 2 * steps * batch * 4 * size * (size + size)
    forward = count(lstm, (steps, batch, size), training=False)
    assert forward.flops == pytest.approx(expected, rel=0.01)
    # per unit and step: three sigmoids, two tanh, three products, one sum; eight biases and four sums of what input and state give
    assert forward.flops - expected == layers * steps * batch * size * (9 + 8 + 4)
    assert 2.5 * expected < count(lstm, (steps, batch, size)).flops < 3.05 * expected


# the rest


def test_norms_poolings_and_losses_are_not_free() -> None:
    def others(net: nn.Module, training: bool = False, loss: Callable[[Tensor], Tensor] | None = None) -> int:
        counted = count(net, (2, 4, 8, 8), training=training, loss=loss)
        assert counted.matrix_flops == 0
        return counted.other_flops

    elements = 2 * 4 * 8 * 8
    assert others(nn.BatchNorm2d(4)) == 2 * elements
    assert others(nn.BatchNorm2d(4), training=True) == (6 + 9) * elements + 1  # it counts its batches
    assert others(nn.GroupNorm(2, 4)) == 6 * elements
    assert others(nn.GroupNorm(2, 4), training=True) == (6 + 9) * elements
    assert others(nn.LayerNorm(8)) == 8 * elements
    assert others(nn.MaxPool2d(2)) == elements
    assert others(nn.AvgPool2d(4)) == elements
    assert others(nn.AdaptiveAvgPool2d(2)) == elements
    assert others(nn.ReLU(inplace=True)) == elements
    assert others(nn.Softmax(1)) == 5 * elements
    assert others(nn.Identity()) == 0
    assert others(nn.Sequential(nn.GroupNorm(2, 4), nn.Flatten()), True, lambda out: functional.cross_entropy(out, torch.zeros(
        2, dtype=torch.int64, device="meta"))) > (6 + 9 + 5 + 4) * elements


def test_bytes_of_a_linear_layer_by_hand() -> None:
    batch, inputs, outputs = 7, 30, 20
    forward = step_work(nn.Linear(inputs, outputs), (batch, inputs), training=False)
    assert forward == Work(
        2 * batch * inputs * outputs + batch * outputs,
        4 * (batch * inputs + inputs * outputs + outputs),  # input, weight, bias
        4 * batch * outputs, matrix_flops=2 * batch * inputs * outputs,
    )
    step = step_work(nn.Linear(inputs, outputs), (batch, inputs))
    assert step.write_bytes - forward.write_bytes == 4 * (inputs * outputs + outputs)  # each gradient once
    assert step.read_bytes - forward.read_bytes == 4 * (batch * outputs + batch * inputs + batch * outputs)  # for the weight, then the bias
    assert step.flops - forward.flops == 2 * batch * inputs * outputs + batch * outputs


def test_views_move_nothing_and_copies_move_twice() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(1, 2).unsqueeze(1)[:, :, 1:].expand(2, 3, 4, 5)

    class Copies(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(1, 2).contiguous()

    assert step_work(Views(), (2, 5, 5)) == Work(0, 0, 0)
    assert step_work(Copies(), (2, 5, 5)) == Work(0, 200, 200)


def test_half_precision_moves_half_the_bytes() -> None:
    whole, half = step_work(convolutions(), (2, 3, 16, 16)), step_work(convolutions().half(), (2, 3, 16, 16), dtype=torch.float16)
    assert half.flops == whole.flops
    assert half.read_bytes * 2 == whole.read_bytes
    assert half.write_bytes * 2 == whole.write_bytes


def test_an_embedding_reads_the_rows_asked_for() -> None:
    work = step_work(nn.Embedding(10_000, 8), (3, 4), training=False, dtype=torch.int64)
    assert work == Work(0, 12 * 8 + 12 * 32, 12 * 32)


def test_work_is_proportional_to_the_batch_but_for_the_weights() -> None:
    small, double, triple = (step_work(small_cnn(), (batch, 1, 8, 8)) for batch in (8, 16, 24))
    for one, two, three in zip(small[:3], double[:3], triple[:3], strict=True):
        assert three - two == two - one > 0
    assert 2 * small.flops - double.flops < 0.001 * small.flops
    assert 2 * small.write_bytes - double.write_bytes == 4 * sum(p.numel() for p in small_cnn().parameters())


def test_what_nobody_counts_warns_by_name() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.qr(x)[1]

    with pytest.warns(UncountedWork, match=r"Odd: the FLOPs of aten\.linalg_qr\.default are not known"):
        work = step_work(Odd(), (4, 4), training=False)
    assert work.flops == 0
    assert work.read_bytes == 64


# the model stays as it is


def test_counting_leaves_model_and_random_state_alone() -> None:
    model = nn.Sequential(resnet(in_channels=1), nn.Dropout(0.5)).eval()
    adopt(model)
    before, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert step_work(model, (2, 1, 8, 8)) == step_work(model, (2, 1, 8, 8))
    peak_memory_bytes(model, (2, 1, 8, 8))
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.device.type == "cpu" for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), rng)


def test_a_weight_used_twice_is_there_once() -> None:
    tied, apart = (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)) for _ in range(2))
    tied[1].weight = tied[0].weight
    tied_bytes, apart_bytes = (peak_memory_bytes(model, (1, 6), training=False) for model in (tied, apart))
    assert apart_bytes - tied_bytes == 4 * 36
    assert step_work(tied, (1, 6), training=False) == step_work(apart, (1, 6), training=False)


def test_a_batch_must_have_a_size() -> None:
    with pytest.raises(ValueError, match=r"positive sizes, got \(0, 3\)"):
        step_work(nn.Linear(3, 3), (0, 3))


# memory


def allocated(model: nn.Module, images: Tensor) -> int:
    """What torch's allocator holds at most during a step that adds to gradients which are there, by its own profiler."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with profile(profile_memory=True) as profiler:
        output = model(images)
        output.backward(torch.zeros_like(output))
    events = sorted((event for event in profiler.kineto_results.events() if event.name() == "[memory]"), key=lambda event: event.start_ns())
    held = peak = 0
    for event in events:
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize(("net", "shape", "workspace"), [
    (small_cnn, (64, 1, 28, 28), 0.001), (lenet5, (64, 1, 28, 28), 0.001),
    (resnet, (16, 3, 32, 32), 0.06),  # its worst moment is inside a convolution, whose unfolded image we do not count
])
def test_peak_memory_is_what_the_allocator_gives_out(
    net: Callable[[], nn.Module], shape: tuple[int, ...], workspace: float, monkeypatch
) -> None:
    model = net()
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    images = torch.zeros(shape)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)  # oneDNN repacks weights into workspaces of its own
    expected = 2 * weights + buffers + 4 * images.numel() + allocated(model, images)
    assert peak_memory_bytes(model, shape, optimiser_state=0) == pytest.approx(expected, rel=workspace)


def test_peak_memory_of_a_chain_by_hand() -> None:
    """A chain of linear layers with ReLU keeps what each ReLU gave; the worst moment is the backward pass of the last linear layer."""
    batch, size = 100, 10
    layers = [module for _ in range(6) for module in (nn.Linear(size, size), nn.ReLU())]
    weights, one = 6 * 4 * (size * size + size), 4 * batch * size
    # six results; the gradients of the output, before the last ReLU, and before the last linear layer; and that layer's own
    live = 6 * one + 3 * one + 4 * (size * size + size)
    assert peak_memory_bytes(nn.Sequential(*layers), (batch, size), optimiser_state=2) == 4 * weights + one + live
    # without gradients: what goes into an operation and what comes out
    assert peak_memory_bytes(nn.Sequential(*layers), (batch, size), training=False) == weights + one + 2 * one


def test_training_needs_more_and_the_optimiser_more_still() -> None:
    model, shape = resnet(), (8, 3, 32, 32)
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert peak_memory_bytes(model, shape, training=False) < peak_memory_bytes(model, shape, optimiser_state=0)
    assert peak_memory_bytes(model, shape, optimiser_state=2) - peak_memory_bytes(model, shape, optimiser_state=0) == 2 * weights


# kinds of kernels


@pytest.mark.parametrize(("layer", "factor"), [
    (nn.Conv2d(3, 20, 3, bias=False), 8 * 24 / (3 * 20)), (nn.Conv2d(16, 32, 3, bias=False), 1.0),
    (nn.Conv2d(16, 16, 3, groups=4, bias=False), 8 * 8 / (4 * 4)), (nn.Conv2d(24, 24, 3, groups=24, bias=False), 16.0),
    (nn.ConvTranspose2d(12, 8, 2, bias=False), 16 / 12),
])
def test_convolutions_are_told_apart_with_their_channels_in_eights(layer: nn.Module, factor: float) -> None:
    found = count(layer, (2, layer.weight.shape[1] * getattr(layer, "groups", 1) if factor != 16 / 12 else 12, 9, 9))
    assert (found.convolutions, found.kernels) == (2, 2)
    assert found.convolution_flops == found.matrix_flops > 0
    assert found.padding_flops == pytest.approx((factor - 1) * found.convolution_flops, abs=2)
    assert found.work.matrix_flops == 0


def test_gradients_that_are_held_are_added_to_one_by_one() -> None:
    model = small_cnn()
    apart, held = count(model, (4, 1, 8, 8)), count(model, (4, 1, 8, 8), gradients_held=True)
    weights = list(model.parameters())
    assert held.kernels - apart.kernels == len(weights)
    assert held.write_bytes - apart.write_bytes == 4 * sum(weight.numel() for weight in weights)


def test_it_is_noted_when_each_gradient_is_there() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    found = count(model, (2, 5), gradients_held=True)
    assert [place for place, _ in found.finished][-1] in (0, 1)
    assert {place for place, _ in found.finished[:2]} == {2, 3}, "the last layer's come first"
    works = [found.forward, *(work for _, work in found.finished)]
    assert all(sum(before) < sum(after) for before, after in pairwise(works))
    assert works[-1] == found.work
