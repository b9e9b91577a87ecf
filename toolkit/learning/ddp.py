"""gs-SGD as a communication hook of PyTorch's DistributedDataParallel, for any training script.

    state = GsSgdHook(model.parameters(), momentum=0.9)
    ddp = DistributedDataParallel(model)
    ddp.register_comm_hook(state, GsSgdHook.hook)

The optimiser then receives the mean of the coordinates that were exchanged, and zeros elsewhere. Use plain SGD without momentum: the
momentum is the hook's (before the choice of coordinates, where it belongs).
"""

# No ``from __future__ import annotations`` here: DDP compares the annotations of a hook with the types themselves and refuses strings.

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from toolkit.learning.ddp_group import agree, group_of_ddp
from toolkit.learning.ddp_memory import HookMemory
from toolkit.learning.ddp_round import Round, Work
from toolkit.learning.finite import is_finite
from toolkit.learning.runs import length, take
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


class Waiting(NamedTuple):
    """A bucket of DDP that has come and has not been answered."""

    numbers: list[int]
    gradients: Sequence[Tensor]
    buffer: Tensor
    future: Done


class GsSgdHook:
    """What one worker keeps between steps, and the exchange of each step.

    DDP rebuilds its buckets after the first iteration, so everything is kept by parameter, in the order in which the parameters are
    given. The first `start_step` steps are plain all-reduces.

    With several buckets, `tables` says what is sketched:

    - ``whole``: one table of the whole vector, as in the paper. Each bucket is added to it as soon as it is ready; both sums are made
      in the last bucket's hook. Encoding overlaps the backward pass, communication does not.
    - ``bucket``: a table per bucket, whose sum is started at once and goes on while the backward pass does; the exact values of all
      buckets follow in the last one's hook. It chooses in each bucket its own share of k.

    Collectives are started in hooks' bodies alone, and DDP calls hooks in the same order on all ranks; so does their order agree (one
    started from a callback of another could not promise that). The buckets of the second step are kept, and saved with the state:
    after a restart DDP begins with others, and the exchange goes on with those it had.

    A step changes error and momentum at its very end. If anything that is summed is not finite, it changes nothing, and all buckets are
    handed back infinite, on all ranks: a gradient scaler skips the step, and training goes on. A parameter without any gradient on any
    rank gets nothing, as DDP would not pass it on, and what waits for it goes on waiting.

    Departures: none from `toolkit.methods.distributed.gs_sgd` with its exact second round and the learning rate outside; the update is
    the same up to the rounding of sums. Uneven inputs (`DDP.join`) are not supported.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, density: float = 0.001, k: int | None = None, rows: int = 5,
        cols: int | None = None, p2: int = 4, momentum: float = 0.0, masking: bool = True, dense_below: int = 0, start_step: int = 2,
        tables: Literal["whole", "bucket"] = "whole", seed: int = 0, process_group: dist.ProcessGroup | None = None,
    ) -> None:
        """Take note of *parameters* (those of the model, on the device they will be trained on) and of the same settings on all ranks.

        Args:
            parameters: as `model.parameters()` gives them; those listed twice count once.
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
            process_group: of the workers; that of the model's `DistributedDataParallel` if None, and no other than that.

        Raises:
            ValueError: settings that make no sense, or *k* larger than the number of coordinates.
        """
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
        self.memory = HookMemory(parameters, momentum=momentum, masking=masking, dense_below=dense_below)
        size = self.memory.size
        self.k = picks(k, density, size)
        if not 1 <= self.k <= size:
            raise ValueError(f"k must be between 1 and the {size} compressed coordinates (got {k})")
        self.p2 = p2
        self.start_step = start_step
        self.tables = tables
        self.seed = seed
        self.group = process_group
        self.sketch = CountSketch(rows, columns(cols, self.k), seed, size=size)
        self.step = 0
        self.scale = 1.0
        """How many times too large gradients are, because the loss was scaled; see `rescale`."""
        self.payload_bytes = 0
        """Bytes handed to all-reduces so far."""
        self.skipped = 0
        """Steps that changed nothing because a sum was not finite."""
        self._layout: list[list[int]] | None = None
        """The parameters of each bucket whose exchange stays together, in order; None until DDP's buckets are final."""
        self._seen = 0
        self._found = False
        self._agreed = False
        self._waiting: list[Waiting] = []
        self._works: list[Work] = []
        self._rounds: list[Round] = []
        self._begun = 0

    @property
    def error(self) -> Tensor:
        """What was never sent, of the compressed parameters."""
        return self.memory.error

    @property
    def momentum(self) -> Tensor:
        """Of the compressed parameters."""
        return self.memory.momentum

    @property
    def velocity(self) -> Tensor:
        """Of the parameters that travel whole: their momentum, and without momentum their last gradient."""
        return self.memory.velocity

    def rescale(self, scale: float) -> None:
        """Tell the scale of the loss, before the backward pass: ``state.rescale(scaler.get_scale())``. The same on all ranks.

        What waits is kept in unscaled units, so a scale that changes does it no harm.

        Raises:
            ValueError: *scale* is no positive finite number.
        """
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"rescale: the scale must be a positive finite number (got {scale})")
        self.scale = scale

    @staticmethod
    def hook(state: "GsSgdHook", bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        """Give this to `register_comm_hook`, with a `GsSgdHook` as its state."""
        return state._answer(bucket)

    def _answer(self, bucket: GradBucket) -> Done:
        buffer = bucket.buffer()
        if buffer.is_sparse:
            raise RuntimeError(
                "GsSgdHook: a parameter has sparse gradients, as Embedding(sparse=True) gives; make them dense (sparse=False), "
                "zeros cost nothing in a sketch"
            )
        if not self._found:
            self.group, self._found = group_of_ddp(self.memory.parameters, self.group), True
        numbers = [self.memory.number_of(parameter) for parameter in bucket.parameters()]
        waiting = Waiting(numbers, bucket.gradients(), buffer, _future_of(buffer))
        self._waiting.append(waiting)
        whole = self.step < self.start_step
        for number, gradient in zip(numbers, waiting.gradients, strict=True):
            u = self.memory.take_in(number, gradient, self.scale, whole=whole)
            if whole and self.memory.factor:
                gradient.copy_(u.mul(self.scale).view_as(gradient))
        if whole:
            self._works.append(self._sum(buffer))
        else:
            if not self._agreed:
                self._agree()
            self._begin_ready()
        if bucket.is_last():
            self._end_step(whole)
        return waiting.future

    def _begin_ready(self) -> None:
        """Begin the exchange of whatever is complete, in the order of the layout."""
        layout = self._layout
        if layout is None:
            layout = [waiting.numbers for waiting in self._waiting]
        come = {number for waiting in self._waiting for number in waiting.numbers}
        while self._begun < len(layout) and come.issuperset(layout[self._begun]):
            self._begin(layout[self._begun])
            self._begun += 1

    def _begin(self, numbers: list[int]) -> None:
        """Encode some parameters; ``bucket``: and start their first sum."""
        memory = self.memory
        if self.tables == "whole":
            if not self._rounds:
                self._rounds.append(Round(memory, range(len(memory.parameters)), self.sketch, k=self.k, p2=self.p2))
            for run in memory.large_runs(numbers):
                self.sketch.encode(memory.next_error[run], out=self._rounds[0].table, offset=run.start)
            return
        runs = memory.large_runs(numbers)
        size = max(1, length(runs))
        share = size / memory.size
        sketch = CountSketch(self.sketch.rows, whole_lines(self.sketch.cols * share), self.seed, size=size)
        exchange = Round(memory, numbers, sketch, k=min(size, max(1, round(self.k * share))), p2=self.p2)
        if runs:
            sketch.encode(take(memory.next_error, runs), out=exchange.table)
        exchange.start(self._sum)
        self._rounds.append(exchange)

    def _end_step(self, whole: bool) -> None:
        """Wait for the sums, and answer all buckets of this step."""
        waiting, self._waiting = self._waiting, []
        rounds, self._rounds = self._rounds, []
        works, self._works = self._works, []
        begun, self._begun = self._begun, 0
        if whole:
            finite = self._finish_whole(waiting, works)
        else:
            if self._layout is not None and begun < len(self._layout):
                raise RuntimeError("GsSgdHook: DDP brings fewer parameters than it did when the state was saved; train the same model")
            finite = self._finish_rounds(waiting, rounds)
        if not finite:
            self.skipped += 1
            for _, _, buffer, _ in waiting:
                buffer.fill_(math.inf)
        self.step += 1
        self._seen += 1
        if self._layout is None and self._seen >= 2:
            self._layout = [numbers for numbers, _, _, _ in waiting]
        for _, _, buffer, future in waiting:
            future.set_result(buffer)

    def _finish_whole(self, waiting: list[Waiting], works: list[Work]) -> bool:
        """End a step of plain all-reduces; return whether it counts."""
        memory = self.memory
        used: Tensor | None = None
        if memory.factor:
            used = memory.used(range(len(memory.parameters)))
            works.append(self._sum(used))
        for work in works:
            work.wait()
        for _, _, buffer, _ in waiting:
            buffer.div_(self._workers())
        if used is None:
            return True  # nothing is kept, and the buffers say themselves what is not finite
        if not all(is_finite(buffer) for _, _, buffer, _ in waiting):
            return False
        kept = {number for number, ranks in enumerate(used.tolist()) if not ranks}
        for number in kept:
            memory.keep(number)
        for numbers, gradients, _, _ in waiting:
            for number, gradient in zip(numbers, gradients, strict=True):
                if number in kept:
                    gradient.zero_()
        memory.commit(whole=True)
        return True

    def _finish_rounds(self, waiting: list[Waiting], rounds: list[Round]) -> bool:
        """End a compressed step; return whether it counts."""
        memory = self.memory
        if self.tables == "whole":
            rounds[0].start(self._sum)
        finite = [exchange.second(self._sum) for exchange in rounds]
        finite += [exchange.finish() for exchange in rounds]
        per_rank = self.scale / self._workers()
        largest = min(torch.finfo(buffer.dtype).max for _, _, buffer, _ in waiting)
        for exchange in rounds:  # what half precision cannot hold must not be taken out of the error
            for total in (exchange.total, exchange.small_total):
                finite.append(not total.numel() or float(total.abs().max()) * per_rank <= largest)
        if not all(finite):
            return False
        for exchange in rounds:
            for number in exchange.kept:
                memory.keep(number)
            memory.forget_sent(exchange.chosen)
        update = memory.commit(whole=False)
        small_update = torch.zeros_like(memory.velocity)
        kept = set()
        for exchange in rounds:
            update[exchange.chosen] = exchange.total * per_rank
            parts = exchange.small_total.split_with_sizes([run.stop - run.start for run in exchange.small_runs])
            for run, part in zip(exchange.small_runs, parts, strict=True):
                small_update[run] = part * per_rank
            kept.update(exchange.kept)
        for numbers, gradients, _, _ in waiting:
            for number, gradient in zip(numbers, gradients, strict=True):
                place = memory.places[number]
                source = small_update if memory.is_small[number] else update
                if number in kept:
                    gradient.zero_()
                else:
                    gradient.copy_(source[place].view_as(gradient))
        return True

    def _sum(self, x: Tensor) -> Work:
        """Start an all-reduce of *x* in place."""
        work: Work = dist.all_reduce(x, group=self.group, async_op=True)
        self.payload_bytes += x.nbytes
        return work

    def _workers(self) -> int:
        return dist.get_world_size(self.group)

    def _agree(self) -> None:
        """Make sure that all ranks sketch alike: other hashes or sizes would give wrong gradients without any error."""
        memory = self.memory
        bounds = [(place.start, place.stop, small) for place, small in zip(memory.places, memory.is_small, strict=True)]
        settings = (self._settings(), self.p2, self.start_step, self.tables, memory.masking, bounds, self.k, self._layout, self.step)
        agree(repr((settings, self.scale)), self.group, self.error.device)
        self._agreed = True

    def _settings(self) -> dict[str, int | float]:
        """What a saved state has to fit."""
        return {
            "size": self.memory.size, "small": self.memory.small_size, "rows": self.sketch.rows, "cols": self.sketch.cols,
            "seed": self.seed, "momentum": self.memory.factor,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return this rank's state; every rank has its own, so every rank has to save one."""
        return {
            "settings": self._settings(), "step": self.step, "layout": self._layout, "error": self.error.clone(),
            "momentum": self.momentum.clone(), "velocity": self.velocity.clone(),
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
        self._layout = saved.get("layout")
        for mine, theirs in ((self.error, saved["error"]), (self.momentum, saved["momentum"]), (self.velocity, saved["velocity"])):
            mine.copy_(theirs)


def _future_of(buffer: Tensor) -> Done:
    """A future that can carry *buffer*; on an accelerator it has to know the device, to make those that wait for it wait for its stream."""
    return torch.futures.Future() if buffer.device.type == "cpu" else torch.futures.Future(devices=[buffer.device])
