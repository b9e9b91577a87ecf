"""gs-SGD as a communication hook of PyTorch's DistributedDataParallel, for any training script.

    state = GsSgdHook(model.parameters(), density=0.01, momentum=0.9)
    ddp = DistributedDataParallel(model)
    ddp.register_comm_hook(state, GsSgdHook.hook)

The optimiser then receives the mean of the coordinates that were exchanged, and zeros elsewhere. Use plain SGD without momentum: the
momentum is the hook's (before the choice of coordinates, where it belongs).
"""

# No ``from __future__ import annotations`` here: DDP compares the annotations of a hook with the types themselves and refuses strings.

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from toolkit.learning.gs_sgd import choose, find_candidates, forget_sent
from toolkit.learning.runs import joined, length, places, take
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import columns, picks, whole_lines

if TYPE_CHECKING:

    class GradBucket(Protocol):
        """What a hook is given; torch has no stub of it."""

        def buffer(self) -> Tensor: ...
        def gradients(self) -> list[Tensor]: ...
        def parameters(self) -> list[nn.Parameter]: ...
        def is_last(self) -> bool: ...
else:
    GradBucket = dist.GradBucket

Done = torch.futures.Future[Tensor]


class GsSgdHook:
    """What one worker keeps between steps: error and momentum of every parameter, wherever DDP's buckets put it.

    DDP rebuilds its buckets after the first iteration, so everything is kept by parameter, in the order in which the parameters are
    given. The first `start_step` steps are plain all-reduces.

    With several buckets, `tables` says what is sketched:

    - ``whole``: one table of the whole vector, as in the paper. Each bucket is added to it as soon as it is ready; the two rounds take
      place in the last bucket's hook, which also finishes the others. Encoding overlaps the backward pass, communication does not.
    - ``bucket``: a table per bucket, sent at once. Overlaps fully, and chooses in each bucket its own share of k.

    Every collective is started and awaited inside a hook's body, and DDP calls hooks in the same order on all ranks; so does their
    order agree (one started from a callback of another could not promise that).

    Departures: none from `toolkit.methods.distributed.gs_sgd` with its exact second round and the learning rate outside; the update is
    the same up to the rounding of sums. Uneven inputs (`DDP.join`) are not supported.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, density: float = 0.01, k: int | None = None, rows: int = 5,
        cols: int | None = None, p2: int = 4, momentum: float = 0.0, masking: bool = True, dense_below: int = 0, start_step: int = 2,
        tables: Literal["whole", "bucket"] = "whole", seed: int = 0, process_group: dist.ProcessGroup | None = None,
    ) -> None:
        """Take note of *parameters* (those of the model, on the device they will be trained on) and of the same settings on all ranks.

        Args:
            parameters: as `model.parameters()` gives them.
            density: share of the compressed coordinates that change per step, where *k* is not given.
            k: how many change per step.
            rows: rows of the sketch; odd.
            cols: its columns, a multiple of 16; without it 10 k.
            p2: candidates per chosen coordinate that are compared exactly.
            momentum: momentum factor; the optimiser should then have none.
            masking: forget the momentum of coordinates that were just changed.
            dense_below: parameters of fewer elements travel whole.
            start_step: steps before compression begins; at least 2, because of the rebuilt buckets.
            tables: see above.
            seed: of the hashes.
            process_group: of the workers; the default group if None.

        Raises:
            ValueError: settings that make no sense, or *k* larger than the number of coordinates.
        """
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        if not self._parameters:
            raise ValueError("GsSgdHook: no parameter that requires a gradient was given")
        if start_step < 2:
            raise ValueError(f"start_step must be at least 2 (got {start_step}): DDP rebuilds its buckets after the first iteration")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1 (got {momentum})")
        if not 0 < density <= 1:
            raise ValueError(f"density must be above 0 and at most 1 (got {density})")
        if p2 < 1:
            raise ValueError(f"p2 must be at least 1 (got {p2})")
        if tables not in ("whole", "bucket"):
            raise ValueError(f"tables must be 'whole' or 'bucket' (got {tables!r})")
        self._large: dict[int, slice] = {}
        self._small: dict[int, slice] = {}
        sizes = [0, 0]
        for parameter in self._parameters:
            is_small = parameter.numel() < dense_below
            begin = sizes[is_small]
            sizes[is_small] = begin + parameter.numel()
            (self._small if is_small else self._large)[id(parameter)] = slice(begin, sizes[is_small])
        self._size = sizes[False]
        if not self._size:
            raise ValueError(f"dense_below: {dense_below} leaves no parameter to compress; use DDP without a hook")
        self.k = picks(k, density, self._size)
        if not 1 <= self.k <= self._size:
            raise ValueError(f"k must be between 1 and the {self._size} compressed coordinates (got {k})")
        self.p2 = p2
        self.momentum_factor = momentum
        self.masking = masking
        self.start_step = start_step
        self.tables = tables
        self.seed = seed
        self.group = process_group
        self.sketch = CountSketch(rows, columns(cols, self.k), seed, size=self._size)
        device = self._parameters[0].device
        self.step = 0
        self.error = torch.zeros(self._size, device=device)
        self.momentum = torch.zeros(self._size if momentum else 0, device=device)
        self.velocity = torch.zeros(sizes[True], device=device)
        """Of the parameters that travel whole: their momentum, and without momentum their gradient."""
        self.payload_bytes = 0
        """Bytes handed to collectives so far."""
        self._update = torch.zeros_like(self.error)
        self._small_update = torch.zeros_like(self.velocity)
        self._agreed = False
        self._table: Tensor | None = None
        self._waiting: list[tuple[Sequence[nn.Parameter], Sequence[Tensor], Tensor, Done]] = []

    @staticmethod
    def hook(state: "GsSgdHook", bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        """Give this to `register_comm_hook`, with a `GsSgdHook` as its state."""
        future = state._dense(bucket) if state.step < state.start_step else state._compressed(bucket)
        if bucket.is_last():
            state.step += 1
        return future

    def _dense(self, bucket: GradBucket) -> Done:
        """An ordinary all-reduce, with momentum."""
        for parameter, gradient in zip(bucket.parameters(), bucket.gradients(), strict=True):
            gradient.copy_(self._with_momentum(parameter, gradient).view_as(gradient))
        buffer = bucket.buffer()
        self._sum(buffer).div_(self._workers())
        return _completed(buffer)

    def _with_momentum(self, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
        """Return m u + g, or g where there is no momentum; flat."""
        flat = gradient.reshape(-1)
        small = self._small.get(id(parameter))
        if small is not None:
            return self.velocity[small].mul_(self.momentum_factor).add_(flat)
        if not self.momentum_factor:
            return flat
        return self.momentum[self._place(parameter)].mul_(self.momentum_factor).add_(flat)

    def _compressed(self, bucket: GradBucket) -> Done:
        if not self._agreed:
            self._agree()
        parameters, gradients, buffer = bucket.parameters(), bucket.gradients(), bucket.buffer()
        large = []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            u = self._with_momentum(parameter, gradient)
            if id(parameter) not in self._small:
                large.append(self._place(parameter))
                self.error[large[-1]].add_(u)
        runs = joined(large)
        if self.tables == "bucket":
            self._exchange_bucket(runs)
            self._exchange_small(parameters)
            self._fill(parameters, gradients)
            return _completed(buffer)
        if self._table is None:
            self._table = torch.zeros(self.sketch.rows, self.sketch.cols, device=self.error.device)
        for run in runs:
            self.sketch.encode(self.error[run], out=self._table, offset=run.start)
        future = _future_of(buffer)
        self._waiting.append((parameters, gradients, buffer, future))
        if bucket.is_last():
            self._finish_whole()
        return future

    def _finish_whole(self) -> None:
        """Both rounds for the whole vector, and the results of all buckets of this step."""
        table, self._table = cast(Tensor, self._table), None
        waiting, self._waiting = self._waiting, []
        self._exchange(self.sketch, table, self.k, [slice(0, self._size)])
        self._exchange_small(self._parameters)
        for parameters, gradients, buffer, future in waiting:
            self._fill(parameters, gradients)
            future.set_result(buffer)

    def _exchange_bucket(self, runs: list[slice]) -> None:
        """Both rounds for the coordinates in *runs*, with their share of k and of the columns."""
        if not runs:
            return
        size = length(runs)
        share = size / self._size
        sketch = CountSketch(self.sketch.rows, whole_lines(self.sketch.cols * share), self.seed, size=size)
        table = sketch.encode(take(self.error, runs))
        self._exchange(sketch, table, min(size, max(1, round(self.k * share))), runs)

    def _exchange(self, sketch: CountSketch, table: Tensor, k: int, runs: list[slice]) -> None:
        """Sum the table, choose candidates, sum their exact values, keep the k largest; their mean is the update."""
        self._sum(table)
        candidates = places(runs, find_candidates(sketch, table, k=k, p2=self.p2, size=length(runs)))
        values = self._sum(self.error[candidates])
        _, chosen, total = choose(candidates, values, k)
        for run in runs:
            self._update[run] = 0
        self._update[chosen] = total / self._workers()
        forget_sent(chosen, self.error, self.momentum if self.masking else None)

    def _exchange_small(self, parameters: Sequence[nn.Parameter]) -> None:
        """One all-reduce of all small tensors among *parameters*."""
        runs = joined([self._small[id(parameter)] for parameter in parameters if id(parameter) in self._small])
        if not runs:
            return
        total = self._sum(take(self.velocity, runs).clone()).div_(self._workers())
        for run, part in zip(runs, total.split_with_sizes([run.stop - run.start for run in runs]), strict=True):
            self._small_update[run] = part

    def _fill(self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> None:
        """Write the update of *parameters* where DDP expects it."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            small = self._small.get(id(parameter))
            update = self._update[self._place(parameter)] if small is None else self._small_update[small]
            gradient.copy_(update.view_as(gradient))

    def _place(self, parameter: nn.Parameter) -> slice:
        """Where a compressed parameter lies in the whole vector."""
        try:
            return self._large[id(parameter)]
        except KeyError:
            raise RuntimeError("GsSgdHook: DDP holds a parameter that the hook was not given; pass it model.parameters()") from None

    def _sum(self, x: Tensor) -> Tensor:
        """All-reduce *x* in place, here and now."""
        dist.all_reduce(x, group=self.group)
        self.payload_bytes += x.nbytes
        return x

    def _workers(self) -> int:
        return dist.get_world_size(self.group)

    def _agree(self) -> None:
        """Make sure that all ranks sketch alike: other hashes or sizes would give wrong gradients without any error.

        Raises:
            RuntimeError: on every rank, naming those that differ from rank 0.
        """
        settings = repr((self._settings(), self.p2, self.start_step, self.tables, self.masking, sorted(_bounds(self._large)), self.k))
        digest = int.from_bytes(hashlib.blake2b(settings.encode(), digest_size=7).digest(), "little")
        mine = torch.tensor([digest], device=self.error.device)
        theirs = [torch.empty_like(mine) for _ in range(self._workers())]
        dist.all_gather(theirs, mine, group=self.group)
        different = [rank for rank, other in enumerate(theirs) if int(other) != int(theirs[0])]
        if different:
            raise RuntimeError(f"GsSgdHook: ranks {different} have other settings, seed or model than rank 0; make them all the same")
        self._agreed = True

    def _settings(self) -> dict[str, int | float]:
        """What a saved state has to fit."""
        return {
            "size": self._size, "small": self.velocity.numel(), "rows": self.sketch.rows, "cols": self.sketch.cols, "seed": self.seed,
            "momentum": self.momentum_factor,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return this rank's state; every rank has its own, so every rank has to save one."""
        return {
            "settings": self._settings(), "step": self.step, "error": self.error.clone(), "momentum": self.momentum.clone(),
            "velocity": self.velocity.clone(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned on this rank.

        Raises:
            ValueError: it comes from another model or other settings.
        """
        here = self._settings()
        for name, value in here.items():
            if saved["settings"].get(name) != value:
                raise ValueError(f"GsSgdHook: the saved state has {name} {saved['settings'].get(name)}, this hook has {value}")
        self.step = saved["step"]
        for mine, theirs in ((self.error, saved["error"]), (self.momentum, saved["momentum"]), (self.velocity, saved["velocity"])):
            mine.copy_(theirs)


def _bounds(parts: dict[int, slice]) -> list[tuple[int, int]]:
    return [(part.start, part.stop) for part in parts.values()]


def _future_of(buffer: Tensor) -> Done:
    """A future that can carry *buffer*; on an accelerator it has to know the device, to make those that wait for it wait for its stream."""
    return torch.futures.Future() if buffer.device.type == "cpu" else torch.futures.Future(devices=[buffer.device])


def _completed(buffer: Tensor) -> Done:
    future = _future_of(buffer)
    future.set_result(buffer)
    return future
