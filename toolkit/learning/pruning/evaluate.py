"""The error of many masks on one fixed set of images, as cheaply as possible; all ways count the same mistakes.

- `Looped`: the full network with its gates, one mask after another: the plain way, kept as the reference.
- `Suffix`: what no mask can change is computed once and kept (of LeNet-5, everything up to the pooled maps of conv1); per mask the rest
  runs with cut weights. Any traced network. If nothing but the last linear layer is left, a whole population is one product.
- `Population`: for a chain convolution, pooling, linear layers (LeNet-5). What conv2 makes of each of its inputs apart, P[i, j], is the
  same for all masks, so a mask's map of filter j is a sum of the kept P[i, j]: one product of (masks x inputs) and (inputs x filters x
  pixels) per block of images, with a 25th of the convolution's multiply-adds. Images lie last in memory, so pooling and linear layers
  of all masks run without a copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.learning.pruning.gates import gated_answer
from toolkit.learning.pruning.groups import Groups, Mask, PruningError
from toolkit.learning.pruning.numbers import Origin
from toolkit.learning.pruning.rebuild import keep_indices, kept_weights
from toolkit.learning.pruning.trace import TracedCall, assign, leaves

Counts = NDArray[np.int64]
CHUNK = 250
"""Images at a time on the way of one mask."""
ROWS = 8
"""Masks are put together in products of a multiple of so many."""
FEW = 4


class Evaluator(ABC):
    """Counts the mistakes of masks on one set of images."""

    def __init__(self, model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> None:
        if len(groups.tape.exits) != 1:
            raise PruningError(f"{type(model).__name__}: gives {len(groups.tape.exits)} tensors; masks are judged by one, its scores")
        self.model = model.eval()
        self.groups = groups
        self.images = images
        self.labels = labels

    @torch.no_grad()
    def wrong(self, masks: Mask, first: int | None = None) -> Counts:
        """Return how many images each mask of *masks* (N, units) gets wrong, of all or of the *first* so many."""
        masks = np.atleast_2d(masks)
        for mask in masks:
            self.groups.check(mask)
        return self._wrong(masks, len(self.labels) if first is None else min(first, len(self.labels)))

    @abstractmethod
    def _wrong(self, masks: Mask, first: int) -> Counts: ...

    @abstractmethod
    def scores(self, mask: Mask) -> Tensor:
        """Return the scores (n, classes) under one mask."""

    def _mistakes(self, scores: Tensor, begin: int, end: int) -> int:
        """Count the mistakes in *scores* of the images from *begin* to *end*."""
        if len(scores) != end - begin:
            raise PruningError(f"{type(self.model).__name__}: gives {len(scores)} rows of scores for {end - begin} images")
        return int((scores.argmax(1) != self.labels[begin:end]).sum().item())


class Looped(Evaluator):
    """The plain loop: full network, gates, one mask at a time."""

    @torch.no_grad()
    def scores(self, mask: Mask) -> Tensor:
        return torch.cat([self._block(mask, begin, begin + CHUNK) for begin in range(0, len(self.labels), CHUNK)])

    def _block(self, mask: Mask, begin: int, end: int) -> Tensor:
        gate = torch.from_numpy(np.asarray(mask)).to(next(self.model.parameters()).dtype)
        answer = gated_answer(self.model, self.groups, gate, self.images[begin:end])
        (scores,) = (item for item in leaves(answer) if isinstance(item, Tensor))
        return scores

    def _wrong(self, masks: Mask, first: int) -> Counts:
        counts = np.zeros(len(masks), np.int64)
        for place, mask in enumerate(masks):
            for begin in range(0, first, CHUNK):
                end = min(begin + CHUNK, first)
                counts[place] += self._mistakes(self._block(mask, begin, end), begin, end)
        return counts


class Suffix(Evaluator):
    """Kept prefix, cut suffix."""

    def __init__(self, model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> None:
        super().__init__(model, groups, images, labels)
        self.calls, self.frontier = split(groups)
        self.kept = self._prefix()

    @torch.no_grad()
    def _prefix(self) -> dict[int, Tensor]:
        """Run what no mask changes, in blocks of images, and keep what the rest reads of it."""
        whole = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        before = tuple(call for call in self.groups.tape.calls if call not in self.calls)
        blocks: dict[int, list[Tensor]] = {slot: [] for slot in self.frontier}
        for part in torch.split(self.images, CHUNK):
            value = self.groups.tape.begin(part.clone())
            for call in before:
                _run(call, value, weights=whole, samples=len(part), lengths={})
            for slot in self.frontier:
                blocks[slot].append(value[slot])
        return {slot: torch.cat(tensors) for slot, tensors in blocks.items()}

    @torch.no_grad()
    def scores(self, mask: Mask) -> Tensor:
        return torch.cat([self._block(mask, cut, begin, CHUNK) for cut in [self._cut(mask)] for begin in range(0, len(self.labels), CHUNK)])

    def _cut(self, mask: Mask) -> dict[str, Tensor]:
        return kept_weights(self.model, self.groups, mask)

    def _block(self, mask: Mask, cut: dict[str, Tensor], begin: int, count: int) -> Tensor:
        value = dict(self.groups.tape.constants)
        samples, lengths = min(count, len(self.labels) - begin), self.groups.lengths_under(mask)
        for slot, owners in self.frontier.items():
            tensor = self.kept[slot][begin : begin + count]
            for axis, owner in owners.items():
                tensor = tensor.index_select(axis, keep_indices(owner, mask))
            value[slot] = tensor if owners else tensor.clone()
        for call in self.calls:
            _run(call, value, weights=cut, samples=samples, lengths=lengths)
        return value[self.groups.tape.exits[0]]

    def _wrong(self, masks: Mask, first: int) -> Counts:
        one = len(self.calls) == 1 and self.calls[0].name == "linear" and len(self.calls[0].weights()) == 2
        if one and all(tensor.dim() == 2 for tensor in self.kept.values()):
            return self._last_layer(masks, first)
        counts = np.zeros(len(masks), np.int64)
        for place, mask in enumerate(masks):
            cut = self._cut(mask)
            for begin in range(0, first, CHUNK):
                count = min(CHUNK, first - begin)
                counts[place] += self._mistakes(self._block(mask, cut, begin, count), begin, begin + count)
        return counts

    def _last_layer(self, masks: Mask, first: int) -> Counts:
        """All masks of hidden units before the last layer as one batched product (n x units) (units x classes)."""
        ((slot, owners),) = self.frontier.items()
        weight, bias = (self.model.get_parameter(name) for name in self.calls[0].weights())
        owner = owners[1]
        gates = torch.from_numpy(np.where(owner < 0, True, masks[:, np.maximum(owner, 0)])).to(weight.dtype)
        features = self.kept[slot][:first]
        scores = torch.matmul(features, (gates[:, None, :] * weight).transpose(1, 2)) + bias
        return np.asarray((scores.argmax(2) != self.labels[:first]).sum(1).numpy(), np.int64)


class Population(Suffix):
    """Whole populations at once, for a chain that begins with a convolution; see `fits`."""

    BLOCK = 100
    """Images at a time: the product's blocks then stay within the cache."""
    @staticmethod
    def fits(groups: Groups) -> bool:
        """Whether the part that masks change is a chain conv2d, then pooling by 2 and ReLU, flatten, then linear layers and ReLU."""
        calls, frontier = split(groups)
        names = [call.name for call in calls]
        if len(frontier) != 1 or not names or names[0] != "conv2d" or "flatten" not in names:
            return False
        flat = names.index("flatten")
        chained = all(call.slots() == before.results() for before, call in pairwise(calls))
        first = calls[0]
        plain = all(_both(first.argument(place, name, default)) == (default, default) for place, name, default in (
            (3, "stride", 1), (4, "padding", 0), (5, "dilation", 1)
        )) and first.argument(6, "groups", 1) == 1 and len(first.weights()) == 2
        maps = all(call.name == "relu" or _halves(call) for call in calls[1:flat])
        return chained and plain and maps and all(name in {"relu", "linear"} for name in names[flat + 1 :])

    def __init__(self, model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> None:
        super().__init__(model, groups, images, labels)
        ((slot, owners),) = self.frontier.items()
        weight, bias = self.calls[0].weights()
        self.inputs = owners.get(1, np.full(self.kept[slot].shape[1], -1))
        self.outputs = groups.owners.get((weight, 0), np.full(groups.shapes[weight][0], -1))
        self.bias = model.get_parameter(bias).detach()
        kernel = model.get_parameter(weight).detach()
        self.side = kernel.shape[-1]
        self.kernel = kernel.permute(1, 0, 2, 3).flatten(2).contiguous()  # (inputs, filters, k k)
        images_last = self.kept[slot].permute(1, 2, 3, 0)
        self.maps = [images_last[..., i : i + self.BLOCK].contiguous() for i in range(0, len(labels), self.BLOCK)]
        self.pixels = self.maps[0].shape[1] - self.side + 1

    def _wrong(self, masks: Mask, first: int) -> Counts:
        if len(masks) < FEW:  # the sums P do not pay for so few
            return super()._wrong(masks, first)
        chosen = self._choices(masks)
        weights = [_cut_linear(self.model, self.groups, mask, self.calls) for mask in masks]
        filters, side, block = len(self.outputs), self.pixels, self.BLOCK
        partial = torch.empty(len(self.inputs) * filters * side**2 * block)
        pooled_side = self._pooled_side()
        features = torch.empty(len(masks) * filters * pooled_side**2 * block)
        scores = torch.empty((len(masks), self.groups.shapes[self.calls[-1].weights()[0]][0], block))
        rooms = torch.empty((3, (len(masks) + ROWS) * side**2 * block))
        wrong = np.zeros(len(masks), np.int64)
        for begin, maps in zip(range(0, first, block), self.maps, strict=False):
            size = maps.shape[-1]
            sums = self._partial(maps, partial)
            rows = _as(features, (len(masks) * filters, pooled_side**2 * size))
            for place, choice in enumerate(chosen):
                if choice is not None:
                    self._one_filter(sums[:, place], choice, rows, rooms, self.bias[place])
            each = rows.view(len(masks), filters * pooled_side**2, size)
            for place, cut in enumerate(weights):
                self._linear(each[place], cut, scores[place, :, :size])
            labels = self.labels[begin : min(begin + size, first)]
            wrong += (scores[:, :, : len(labels)].argmax(1) != labels).sum(1).numpy()
        return wrong

    def _choices(self, masks: Mask) -> list[tuple[Tensor, Tensor] | None]:
        """For each filter the gates (rows, inputs) of the masks that keep it, padded to whole blocks of rows, and where its maps go.

        Blocks of one size make a mask's sums independent of its company.
        """
        inputs = np.where(self.inputs < 0, True, masks[:, np.maximum(self.inputs, 0)])
        outputs = np.where(self.outputs < 0, True, masks[:, np.maximum(self.outputs, 0)])
        slots = np.cumsum(outputs, axis=1) - 1 + len(self.outputs) * np.arange(len(masks))[:, None]
        found: list[tuple[Tensor, Tensor] | None] = []
        for place in range(len(self.outputs)):
            keeping = np.flatnonzero(outputs[:, place])
            padded = np.zeros((-(-len(keeping) // ROWS) * ROWS, len(self.inputs)), np.float32)
            padded[: len(keeping)] = inputs[keeping]
            gates = torch.from_numpy(padded).to(self.kernel.dtype)
            found.append((gates, torch.from_numpy(slots[keeping, place])) if len(keeping) else None)
        return found

    def _one_filter(self, sums: Tensor, choice: tuple[Tensor, Tensor], rows: Tensor, rooms: Tensor, bias: Tensor) -> None:
        """Make one filter's maps for all masks that keep it: add up its kept inputs, pool, and put them where each mask wants them."""
        gates, slots = choice
        side = self.pixels
        now = torch.mm(gates, sums, out=_as(rooms[0], (len(gates), sums.shape[1])))
        now = now.view(len(gates), side, side, sums.shape[1] // side**2)[: len(slots)]
        biased = False
        for call in self.calls[1:]:
            if call.name == "flatten":
                break
            if call.name == "relu":
                now, biased = (now if biased else now.add_(bias)).relu_(), True
            else:
                now = _pool_by_two(now, rooms[1], rooms[2])
        if not biased:  # adding a constant and pooling may change places
            now = now.add_(bias)
        rows.index_copy_(0, slots, now.reshape(len(slots), -1))

    def _pooled_side(self) -> int:
        return self.pixels // (1 << sum(call.name == "max_pool2d" for call in self.calls))

    def _linear(self, features: Tensor, weights: dict[str, Tensor], out: Tensor) -> None:
        """Run the linear layers on (features, images) of one mask, of which the first so many are kept; write the scores."""
        flat = [call.name for call in self.calls].index("flatten")
        now = features
        for call in self.calls[flat + 1 :]:
            if call.name == "relu":
                now = now.relu_()
            else:
                weight, bias = (weights[name] for name in call.weights())
                now = torch.mm(weight, now[: weight.shape[1]]).add_(bias[:, None])
        out.copy_(now)

    def _partial(self, maps: Tensor, room: Tensor) -> Tensor:
        """What each filter makes of each input alone: (inputs, filters, pixels x images)."""
        inputs, size = maps.shape[0], maps.shape[-1]
        windows = maps.unfold(1, self.pixels, 1).unfold(2, self.pixels, 1)  # (inputs, ky, kx, images, y, x)
        columns = windows.permute(0, 1, 2, 4, 5, 3).reshape(inputs, self.side**2, self.pixels**2 * size)
        return torch.bmm(self.kernel, columns, out=_as(room, (inputs, len(self.outputs), self.pixels**2 * size)))


def best_evaluator(model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> Evaluator:
    """Return the fastest evaluator that fits *model*."""
    return (Population if Population.fits(groups) else Suffix)(model, groups, images, labels)


def split(groups: Groups) -> tuple[tuple[TracedCall, ...], dict[int, dict[int, NDArray[np.int64]]]]:
    """Return the calls whose result a mask can change, and the tensors they read of the others, with the owners along their axes.

    A tensor that is not laid out sample by sample cannot be kept for parts of the images: what makes it is among the calls too.
    """
    tape, later = groups.tape, set(groups.gates)
    while True:
        changed: set[int] = set()
        for place, call in enumerate(tape.calls):
            if place in later or changed.intersection(call.slots()):
                later.add(place)
                changed.update(call.results())
        calls = [call for place, call in enumerate(tape.calls) if place in later]
        read = dict.fromkeys(slot for call in calls for slot in call.slots() if slot not in changed and slot not in tape.constants)
        mixed = {slot for slot in read if slot != tape.entry and tape.rates[slot] != {0: 1}}
        if not mixed:
            return tuple(calls), {slot: groups.slot_owners(slot) for slot in read}
        later |= {place for place, call in enumerate(tape.calls) if mixed.intersection(call.results())}


def _run(
    call: TracedCall, value: dict[int, Tensor], *, weights: dict[str, Tensor], samples: int, lengths: Mapping[Origin, int]
) -> None:
    """Run one call on a batch of *samples*; a pooling by two as maxima of slices: several times as fast, and the same to the bit."""
    if _halves(call):
        maps = value[call.slots()[0]]
        if maps.shape[-1] % 2 == 0 and maps.shape[-2] % 2 == 0:
            rows = torch.maximum(maps[..., ::2, :], maps[..., 1::2, :])
            value[call.results()[0]] = torch.maximum(rows[..., ::2], rows[..., 1::2])
            return
    assign(call.out, call.run(value, weights, samples, lengths), value)


def _halves(call: TracedCall) -> bool:
    """Whether a call is a pooling over 2x2 with nothing else to it."""
    if call.name != "max_pool2d":
        return False
    size, stride = _both(call.argument(1, "kernel_size")), call.argument(2, "stride")
    plain = _both(call.argument(3, "padding", 0)) == (0, 0) and _both(call.argument(4, "dilation", 1)) == (1, 1)
    return size == (2, 2) and (stride is None or _both(stride) == (2, 2)) and plain and not call.argument(5, "ceil_mode", False)


def _both(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _as(room: Tensor, shape: tuple[int, ...]) -> Tensor:
    return room[: int(np.prod(shape))].view(shape)


def _pool_by_two(maps: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Pool (filters, y, x, images) in memory that is there already; an odd last row or column is left out, as torch does."""
    filters, height, width, images = maps.shape
    high, wide = height // 2, width // 2
    even = maps[:, : 2 * high, : 2 * wide]
    rows = torch.maximum(even[:, ::2], even[:, 1::2], out=_as(first, (filters, high, 2 * wide, images)))
    return torch.maximum(rows[:, :, ::2], rows[:, :, 1::2], out=_as(second, (filters, high, wide, images)))


def _cut_linear(model: nn.Module, groups: Groups, mask: Mask, calls: Sequence[TracedCall]) -> dict[str, Tensor]:
    """The weights of the linear layers among *calls*, cut to what stays."""
    cut = {}
    for call in calls:
        if call.name == "linear":
            for name in call.weights():
                tensor = model.get_parameter(name).detach()
                for dim in range(tensor.dim()):
                    if (name, dim) in groups.owners:
                        tensor = tensor.index_select(dim, keep_indices(groups.owners[name, dim], mask))
                cut[name] = tensor
    return cut

