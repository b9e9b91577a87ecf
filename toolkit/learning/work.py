"""The work of a training step: floating-point operations, bytes moved and memory, counted without doing the step.

A copy of the model without memory (torch's meta device) is run once, forward and backward, and every operation that reaches a kernel is
looked at: its shapes say what it costs. So functional code, residual sums and the backward pass are counted as they happen, not guessed
from a list of layers. A count depends on model, shapes and mode alone; it takes about a millisecond per kernel, so callers keep it.

Conventions:

- **1 multiply-add = 2 FLOPs.** Matrix products and convolutions by that rule, grouped ones too. An elementwise operation is 1 FLOP per
  output element (exp and tanh as well), a reduction 1 per input element, pooling k x k per output. BatchNorm is 6 per element in training
  (mean 1, variance 3, scale and shift 2), 2 with stored statistics, and 9 backward; the other norms and softmax stand in `PER_OUTPUT`.
- **Bytes are those of unfused kernels**: each operation reads each operand once and writes each result once, parameters and gradients
  among them; views and allocations move nothing. Caches and fusion make a real machine move less, algorithms like im2col more.
- **Convolutions are told apart**, each with what it takes when channels come in groups of eight (`Count.padding_flops`), since a 20-channel
  convolution is as slow as one of 24 on CPUs with vectors and on GPUs (measured, `docs/ruler.md`).
- The gradient of a layer's input is counted where it is computed, which the first layer does not: a step is a little less than 3 forwards.
- An operation that no rule knows warns (`UncountedWork`) and counts as bytes alone.

Source: the rules for products agree with `torch.utils.flop_counter` and with hand counts (tests). Departures from it: that counter gives 0
to everything but products, and counts the weight gradient of a grouped convolution as if it were dense (torch 2.13). Recurrent layers are
seen step by step: 8h(i + h) FLOPs per step, sequence and LSTM layer, plus gates; their weights are read once per step.
"""

from __future__ import annotations

import copy
import math
import warnings
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from toolkit.core.work import Work, padded
from toolkit.learning.known_shapes import result_on_meta, tensors_in


class UncountedWork(UserWarning):
    """An operation took part whose FLOPs are unknown and were counted as none."""


@dataclass
class Count:
    """All that was counted in one pass."""

    matrix_flops: int = 0
    """FLOPs of matrix products and convolutions, biases apart: two per multiply-add."""
    weight_flops: int = 0
    """Those of them in whose products a weight takes part, or what was worked out of weights alone; not products of activations."""
    other_flops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    kernels: int = 0
    """Operations that move data: what a launch overhead is paid for."""
    convolutions: int = 0
    """Those of them that are convolutions, a backward pass being one."""
    convolution_flops: int = 0
    """Their part of `matrix_flops`."""
    padding_flops: int = 0
    """What they take beyond it with channels rounded up to `CHANNELS`."""
    live_bytes: int = 0
    """Largest sum of results alive at one time, without parameters and input."""
    kept_bytes: int = 0
    """Those of them that wait for the backward pass when the forward pass is done, the output among them."""
    flops_of: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """FLOPs by name of the operation."""
    forward: Work = field(default_factory=Work)
    """Work of the forward pass alone, the loss among it."""
    finished: list[tuple[int, Work]] = field(default_factory=list)
    """Weights by place among the model's trained ones, in the order in which their gradients are there, and all work done by then."""

    @property
    def flops(self) -> int:
        return self.matrix_flops + self.other_flops

    @property
    def work(self) -> Work:
        """All of it as work, every kernel a launch."""
        return Work(*map(float, (
            self.flops, self.read_bytes, self.write_bytes, self.kernels, self.convolutions, self.convolution_flops, self.padding_flops,
            self.matrix_flops - self.convolution_flops,
        )))


def step_work(
    model: nn.Module, batch_shape: Sequence[int], *, training: bool = True, dtype: torch.dtype = torch.float32,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> Work:
    """Return the work of one gradient (or, without *training*, of one inference) on a batch, as a single launch.

    The update of the weights is not part of it, nor is the loss unless *loss* is given.

    Args:
        model: stays as it is; nothing is computed with its weights.
        batch_shape: shape of the input, the batch first.
        dtype: type of the input; whole numbers for a model that begins with an embedding.
        loss: makes one number of the model's output, counted with its own backward pass.
    """
    counted = count(model, batch_shape, training=training, dtype=dtype, loss=loss)
    return counted.work._replace(launches=0.0)


def peak_memory_bytes(
    model: nn.Module, batch_shape: Sequence[int], training: bool = True, *, dtype: torch.dtype = torch.float32, optimiser_state: float = 1.0
) -> int:
    """Return the bytes that a step needs at its worst moment: weights, buffers, input, results alive, and in training gradients and state.

    *optimiser_state* is what the optimiser keeps per trainable weight: 0 for plain SGD, 1 with momentum, 2 for Adam. Gradients are taken to
    stay allocated between steps. Not included: the framework itself, fragmentation, and workspaces of convolutions, which can be as large
    as the weights where a library repacks them.
    """
    counted = count(model, batch_shape, training=training, dtype=dtype, gradients_apart=True)
    fixed = _nbytes(model.parameters()) + _nbytes(model.buffers()) + math.prod(batch_shape) * dtype.itemsize
    if training:
        fixed += round((1 + optimiser_state) * _nbytes(weight for weight in model.parameters() if weight.requires_grad))
    return fixed + counted.live_bytes


def count(
    model: nn.Module, batch_shape: Sequence[int], *, training: bool = True, dtype: torch.dtype = torch.float32,
    loss: Callable[[Tensor], Tensor] | None = None, gradients_apart: bool = False, gradients_held: bool = False,
) -> Count:
    """Count one pass of *model* over an input of *batch_shape*; see `step_work`.

    With *gradients_apart* finished gradients do not count as alive: a training loop that zeroes them in place has memory for them anyway.
    With *gradients_held* they are added to gradients that are there already, a kernel for each weight.
    """
    if not batch_shape or min(batch_shape) < 1:
        raise ValueError(f"the shape of a batch needs positive sizes, got {tuple(batch_shape)}")
    shadow = without_memory(model).train(training)
    batch = torch.empty(tuple(batch_shape), dtype=dtype, device="meta")
    meter = _Meter([batch, *shadow.parameters(), *shadow.buffers()])
    for place, weight in enumerate(weight for weight in shadow.parameters() if weight.requires_grad and training):
        if gradients_held:
            weight.grad = torch.empty_like(weight)
        if gradients_apart:
            weight.register_post_accumulate_grad_hook(_drop_gradient)  # type: ignore[no-untyped-call]
        else:
            weight.register_post_accumulate_grad_hook(meter.finished(place))  # type: ignore[no-untyped-call]
    with meter, torch.set_grad_enabled(training):
        output = shadow(batch)
        meter.count.kept_bytes = meter.live.now
        ends = [loss(output)] if loss is not None else list(tensors_in(output))
        ends = [end for end in ends if end.requires_grad]
        meter.count.forward = meter.count.work
        del output
        if ends:
            torch.autograd.backward(ends, [torch.empty_like(end) for end in ends])
    if meter.unknown:
        names = ", ".join(sorted(meter.unknown))
        warnings.warn(f"{type(model).__name__}: the FLOPs of {names} are not known and count as 0", UncountedWork, stacklevel=2)
    return meter.count


def _drop_gradient(weight: Tensor) -> None:
    weight.grad = None


def without_memory(model: nn.Module) -> nn.Module:
    """A deep copy whose parameters and buffers have shapes but no memory; the copied one's are never touched."""
    memo: dict[int, Any] = {}
    for weight in model.parameters():
        memo[id(weight)] = nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


def _nbytes(tensors: Iterator[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class LiveBytes:
    """Keeps account of the memory behind tensors, which is freed with the last tensor that uses it; that of those *given* is left out."""

    def __init__(self, given: Iterable[Tensor] = (), forget: Callable[[int], None] = lambda _: None) -> None:
        self.now = 0
        self.peak = 0
        self._given = [tensor.untyped_storage() for tensor in given]
        self._seen = {id(storage) for storage in self._given}
        self._forget = forget
        self._until: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Count what is new among *tensors*."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if id(storage) not in self._seen:
                self._seen.add(id(storage))
                self.now += storage.nbytes()
                self._until[id(storage)] = weakref.ref(storage, partial(self._free, id(storage), storage.nbytes()))
        self.peak = max(self.peak, self.now)

    def _free(self, identity: int, nbytes: int, _: object) -> None:
        del self._until[identity]
        self._seen.discard(identity)
        self._forget(identity)
        self.now -= nbytes


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees operations that nobody compiles, so torch need not load its compiler only to tell it to keep away, nor do so at each of them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Meter(Watching):
    """Sees every operation on its way to a kernel."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        self.count = Count()
        self.unknown: set[str] = set()
        self._weights = {id(tensor.untyped_storage()) for tensor in given[1:]}
        self.live = LiveBytes(given, self._weights.discard)

    def finished(self, place: int) -> Callable[[Tensor], None]:
        """Return what notes that the gradient of a weight is there."""
        return lambda _: self.count.finished.append((place, self.count.work))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = result_on_meta(func, args, kwargs or {})
        outputs = list(tensors_in(result))
        self.live.watch(outputs)
        self.count.live_bytes = self.live.peak
        self._descend(args, kwargs or {}, outputs)
        name = func.overloadpacket.__name__
        if outputs and not moves_nothing(func, name):
            self._charge(func, name, args, kwargs or {}, result, outputs)
        return result

    def _descend(self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]) -> None:
        """What comes of weights alone counts as a weight."""
        inputs = [*tensors_in(args), *tensors_in(kwargs)]
        if inputs and all(map(self._is_weight, inputs)):
            self._weights.update(id(tensor.untyped_storage()) for tensor in outputs)

    def _is_weight(self, tensor: Tensor) -> bool:
        return id(tensor.untyped_storage()) in self._weights

    def _charge(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, outputs: list[Tensor]) -> None:
        counted = self.count
        inputs = list(tensors_in(args)) + list(tensors_in(kwargs))
        counted.kernels += 1
        counted.write_bytes += sum(_moved(tensor) for tensor in outputs)
        if name in GATHERS:  # only the rows asked for are read
            counted.read_bytes += sum(_moved(tensor) for tensor in outputs) + sum(_moved(tensor) for tensor in inputs[1:])
        else:
            counted.read_bytes += sum(_moved(tensor) for tensor in (inputs[1:] if name in OVERWRITES else inputs))
        matrix, other = _flops(func, name, args, kwargs, result, outputs)
        if matrix is None:
            self.unknown.add(str(func))
            return
        counted.matrix_flops += matrix
        if name in CONVOLUTIONS:
            weight, groups = (args[place] for place in CONVOLUTIONS[name])
            counted.convolutions += 1
            counted.convolution_flops += matrix
            counted.padding_flops += round(matrix * (_padding(weight, groups) - 1))
        if matrix and any(map(self._is_weight, inputs)):
            counted.weight_flops += matrix
        counted.other_flops += other
        counted.flops_of[name] += matrix + other


def moves_nothing(func: Any, name: str) -> bool:
    """Whether the results are views of arguments, or memory that is not written."""
    aliases = [result.alias_info for result in func._schema.returns]
    return name in NOTHING or all(alias is not None and not alias.is_write for alias in aliases)


def _moved(tensor: Tensor) -> int:
    """Bytes behind *tensor*; what was expanded (stride 0) is there once."""
    elements = math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return elements * tensor.element_size() if tensor.numel() else 0


def _flops(
    func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, outputs: list[Tensor]
) -> tuple[int | None, int]:
    """Return the FLOPs in products and the others; None if no rule knows the operation."""
    if name in MOVES:
        return 0, 0
    if name == "convolution":
        return _convolution(args, outputs[0]), outputs[0].numel() if args[2] is not None else 0
    if name == "convolution_backward":
        # args: gradient of the output, input, weight, ..., transposed (7), ..., which of (input, weight, bias) is wanted (10)
        wanted = args[10]
        once = _convolution((args[1], args[2], None, None, None, None, args[7]), args[0])
        return once * (int(wanted[0]) + int(wanted[1])), args[0].numel() if wanted[2] else 0
    if func.overloadpacket in flop_registry:
        bias = outputs[0].numel() if name in ("addmm", "baddbmm") else 0
        return int(flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)), bias
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        return 0, math.prod(args[1]) * outputs[0].numel()
    if name == "avg_pool2d_backward":
        return 0, math.prod(args[2]) * args[0].numel()
    if name == "native_batch_norm":
        return 0, (6 if args[5] else 2) * outputs[0].numel()
    plain = name.rstrip("_")  # in place or not
    if plain in PER_OUTPUT:
        return 0, PER_OUTPUT[plain] * outputs[0].numel()
    if plain in PER_INPUT:
        return 0, PER_INPUT[plain] * next(tensors_in(args)).numel()
    if torch.Tag.pointwise in func.tags:
        return 0, outputs[0].numel()
    return None, 0


def _convolution(args: tuple[Any, ...], output: Tensor) -> int:
    """Two FLOPs for every weight that meets a pixel: of the output, or of the input where the convolution is transposed."""
    image, weight, transposed = args[0], args[1], args[6]
    meets: int = image.numel() if transposed else output.numel()
    per_meeting: int = 2 * math.prod(weight.shape[1:])
    return meets * per_meeting


def _padding(weight: Tensor, groups: int) -> float:
    """Return by what factor a convolution's operations grow when the channels of each of its groups are rounded up to `CHANNELS`.

    A depthwise convolution (single channels) has `DEPTHWISE` times its operations: its groups lie side by side, but what is loaded is
    used once.
    """
    outer, inner = weight.shape[0] // groups, weight.shape[1]
    if groups > 1 and outer == inner == 1:
        return DEPTHWISE
    return math.prod(padded(channels) / channels for channels in (outer, inner))


DEPTHWISE = 16.0
"""Measured: a depthwise convolution of 3 x 3 takes 11 to 25 times as long per operation as a dense one (torch 2.13, one CPU thread)."""

CONVOLUTIONS = {"convolution": (1, 8), "convolution_backward": (2, 9)}
"""Where the weight and the number of groups stand among the arguments."""

NOTHING = frozenset({
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "unsafe_split", "unsafe_split_with_sizes",
    "lift_fresh", "is_same_size", "resize_",
})
"""Operations that move no byte although their results are not views by declaration."""

OVERWRITES = frozenset({"copy_", "fill_", "zero_", "bernoulli_", "uniform_", "normal_", "random_"})
"""In-place operations that do not read what they write."""

GATHERS = frozenset({"embedding", "index_select", "gather", "index"})

MOVES = GATHERS | frozenset({
    "copy_", "fill_", "zero_", "clone", "_to_copy", "cat", "stack", "constant_pad_nd", "zeros", "ones", "full", "zeros_like", "ones_like",
    "full_like", "new_zeros", "new_ones", "new_full", "arange", "scalar_tensor", "slice_backward", "select_backward", "repeat", "roll",
    "flip", "scatter", "index_put", "index_put_", "pixel_shuffle", "pixel_unshuffle", "reflection_pad2d", "replication_pad2d",
    "upsample_nearest1d", "upsample_nearest2d", "im2col", "unfold_backward", "tril", "triu", "masked_fill", "masked_fill_", "where",
})
"""Operations that move bytes and calculate nothing."""

PER_OUTPUT = {
    "native_group_norm": 6, "native_layer_norm": 8, "_softmax": 5, "_safe_softmax": 5, "_log_softmax": 5, "_softmax_backward_data": 4,
    "_log_softmax_backward_data": 4, "tanh_backward": 3, "sigmoid_backward": 3, "elu_backward": 1, "hardtanh_backward": 1,
    "leaky_relu_backward": 1, "softplus_backward": 1, "hardswish_backward": 1, "hardsigmoid_backward": 1, "mish_backward": 1,
    "_prelu_kernel": 1, "_prelu_kernel_backward": 2, "bernoulli": 1, "uniform": 1, "normal": 1, "native_dropout": 2,
    "_adaptive_avg_pool2d_backward": 1, "addcmul": 3, "addcdiv": 3, "lerp": 3, "nll_loss_forward": 1, "nll_loss_backward": 1,
    "glu": 2, "glu_backward": 2, "mse_loss": 3, "mse_loss_backward": 3, "cumsum": 1, "cumprod": 1, "hardswish": 1, "log_sigmoid_forward": 1,
    "log_sigmoid_backward": 1, "smooth_l1_loss": 4, "smooth_l1_loss_backward": 3, "binary_cross_entropy_with_logits": 5,
    "upsample_bilinear2d": 7,
}
"""FLOPs per element of the first result."""

PER_INPUT = {
    "sum": 1, "mean": 1, "amax": 1, "amin": 1, "max": 1, "min": 1, "argmax": 1, "argmin": 1, "any": 1, "all": 1, "prod": 1,
    "native_batch_norm_backward": 9, "native_group_norm_backward": 9, "native_layer_norm_backward": 11,
    "var": 4, "std": 4, "var_mean": 4, "std_mean": 4, "linalg_vector_norm": 2, "logsumexp": 3, "_adaptive_avg_pool2d": 1,
    "adaptive_max_pool2d": 1, "adaptive_max_pool2d_backward": 1, "max_pool2d_with_indices_backward": 1, "embedding_dense_backward": 1,
    "upsample_nearest2d_backward": 1, "upsample_bilinear2d_backward": 7, "col2im": 1, "index_add": 1, "scatter_add": 1,
    "topk": 2, "kthvalue": 2, "sort": 10,  # of a sort the binary logarithm of a thousand
}
"""FLOPs per element of the first argument."""
