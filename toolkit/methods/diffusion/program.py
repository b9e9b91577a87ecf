"""Distillation of a diffusion network to few steps, and the price of sampling with what comes out."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.program import Estimate, Process, Program
from toolkit.core.simulated import SimulatedContext
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.errors import ScenarioError
from toolkit.learning.diffusion import metrics
from toolkit.learning.diffusion.distillation import Ladder, Stages
from toolkit.learning.diffusion.inception import inception_features, loaded
from toolkit.learning.diffusion.losses import Terms, preset
from toolkit.learning.diffusion.samplers import sample
from toolkit.learning.diffusion.schedule import DiffusionError, check_steps
from toolkit.learning.random import torch_generator
from toolkit.methods.accelerator import Accelerator, accelerator
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.diffusion.costs import Costs
from toolkit.methods.diffusion.left import leave_student
from toolkit.methods.diffusion.prepared import SCHEDULE, Making, Prepared, looking, network, prepared
from toolkit.methods.diffusion.settings import BaseSettings, Judging, LossName, NetSettings, Precision, QueueSettings
from toolkit.methods.loop import training_loop
from toolkit.models import ModelError

SHOWN = 32
"""Samples of each number of steps that are kept to be looked at."""
SAMPLED = 2500
"""Images judged that are sampled at a time."""
NUMBER_BYTES = 8
"""Of the seed by which noise travels."""


@final
class Diffusion(Program):
    """A teacher of `begin` steps is distilled to `end` with `losses`; samples of each stage are judged and priced.

    The base and its first halvings are common to all arms of a seed; they are charged as one computation each. With `losses: none`
    nothing more is learnt and the base samples by `sampler`. Judging costs nothing. On one machine all happens there, and a killed run
    goes on where it last saved. With two and `place: cloud` rank 1 is the cloud: it makes every target and sends it (float32, with 8
    bytes for the seed of the noise) to the board of rank 0, which sends its weights up at the end of each stage. With `place: parallel`
    all ranks learn together: gradients are averaged, and the memory is filled as `queue.together` says; batch statistics of the head
    stay local.
    """

    dataset: DatasetSpec = Field(DatasetSpec(name="digits"), description="images; their labels are for the networks that look at them")
    path: str | None = Field(None, description="where the data are; without it TOOLKIT_DATA or the folder data")
    flip: bool = Field(False, description="mirror half of the images that are learnt from, drawn anew each time")
    net: NetSettings = Field(NetSettings(), description="the network that removes noise")
    base: BaseSettings = Field(BaseSettings(), description="how the teacher is trained")
    losses: LossName = Field("pd", description="what the student learns by")
    sampler: Literal["ddim", "dpm_solver"] = Field("ddim", description="how base and students of halvings are sampled")
    begin: int = Field(4, ge=1, description="steps of the teacher of the first stage")
    end: int = Field(1, ge=1, description="steps of the last student")
    stage_steps: int = Field(150, ge=1, description="steps of training of each stage")
    last_factor: float = Field(1.0, gt=0, description="how many times as many for students of 2 and 1 steps")
    batch: int = Field(64, ge=2, description="images per step and worker")
    lr: float = Field(5e-4, gt=0, description="learning rate at the beginning of each stage")
    pairs: Literal["all", "same"] = Field("all", description="relations between all images of a batch, or within each")
    relation_images: int = Field(32, ge=1, description="images of a batch among which relations are taken")
    queue: QueueSettings = Field(QueueSettings(), description="features of real images that generated ones are held against")
    judging: Judging = Field(Judging(), description="how samples are scored")
    sampling_steps: list[int] = Field(default_factory=lambda: [64, 32, 16, 8, 4, 2, 1], description="steps whose sampling is priced")
    sampling_batches: list[int] = Field(default_factory=lambda: [1, 16], description="images sampled at once, of those prices")
    place: Literal["here", "cloud", "parallel"] = Field("here", description="all on one machine, the teacher in the cloud, or all together")
    save_every: int = Field(50, ge=1, description="steps between two checkpoints, of drivers that keep any")
    accelerator: Accelerator = Field(
        "cpu", description="where torch computes: auto is a GPU where there is one, whose sums differ in last bits from a CPU's"
    )
    precision: Precision = Field("float32", description="what the network's products compute in; weights stay float32")
    threads: int = Field(1, ge=1, description="CPU threads of torch")

    @model_validator(mode="after")
    def _steps_are_powers_of_two(self) -> Self:
        try:
            for steps in (self.base.sampling, self.begin, self.end, *self.judging.steps, *self.sampling_steps):
                check_steps(steps)
            self.stages()
        except DiffusionError as error:
            raise ValueError(str(error)) from error
        if self.base.sampling < self.begin:
            raise ValueError(f"base.sampling: {self.base.sampling} steps are fewer than begin ({self.begin})")
        if self.queue.length < self.queue.per_step:
            raise ValueError(
                f"queue.length: {self.queue.length} vectors are fewer than the {self.queue.per_step} that a step puts in; make it longer"
            )
        if self.queue.keys > self.queue.length:
            raise ValueError(f"queue.keys: {self.queue.keys} of a queue of {self.queue.length}; take no more than it holds")
        if min([*self.sampling_batches, 1]) < 1:
            raise ValueError(f"sampling_batches: every batch needs at least 1 image (got {self.sampling_batches})")
        return self

    def stages(self) -> Stages:
        return Stages(self.begin, self.end, self.stage_steps, self.last_factor, self.batch, self.lr)

    def terms(self) -> Terms | None:
        """The losses, or None where nothing is learnt."""
        if self.losses == "none":
            return None
        queue = self.queue
        return preset(
            self.losses, queue=queue.length, keys=queue.keys, per_step=queue.per_step, official_bug=queue.official_bug, pairs=self.pairs,
            relation_images=self.relation_images,
        )

    def needs(self) -> Needs:
        if self.place == "here":
            return Needs("diffusion", workers=(1, 1), hint="; several need program.place: cloud or parallel")
        return Needs(f"diffusion with place '{self.place}'", workers=(2, 2 if self.place == "cloud" else None), survives=False)

    def check(self, fabric: Fabric) -> None:
        _, shape = _shape(self)
        if shape[1] % 2 ** (len(self.net.multipliers) - 1) or shape[1] != shape[2]:
            raise ScenarioError(
                f"program.net.multipliers: images of {shape[1]}x{shape[2]} cannot be halved {len(self.net.multipliers) - 1} times; "
                "take fewer levels, or square images whose sides can"
            )
        accelerator(self.accelerator)
        if self.judging.inception:
            loaded()
        costs = counted(self)
        held = FLOAT_BYTES * (6 * costs.size + 4 * costs.head_size) + costs.queue_bytes
        fabric.machines().check_memory(held, "student, teacher and memory of distillation")

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The sum of all charges on one machine; None for several, which wait for each other."""
        if self.place != "here":
            return None
        device, charges = fabric.machines().first, self.charges()
        total = sum((work.times(times) for work, _, times in charges), Work())
        time_s = sum(device.duration_s(work.beyond_first(), phase) * times for work, phase, times in charges)
        costs = counted(self)
        memory = FLOAT_BYTES * (6 * costs.size + 4 * costs.head_size) + costs.queue_bytes
        return Estimate(total.flops, total.read_bytes + total.write_bytes, 0.0, memory, 0.0, time_s, time_s * device.busy_w)

    def charges(self) -> list[tuple[Work, str, int]]:
        """Every computation of a run on one machine: its work, its phase, how often."""
        costs = counted(self)
        found = [*self.prologue(costs)]
        if costs.terms is not None:
            stages = self.stages()
            steps = sum(stages.length(student) for student in stages.students)
            found.append((costs.teacher(self.batch) + costs.student(self.batch), "distil", steps))
        return [*found, *((costs.forward(size).times(steps), f"sample_{steps}_{size}", 1) for steps, size in self._prices())]

    def prologue(self, costs: Costs) -> list[tuple[Work, str, int]]:
        """Base and first halvings, a computation each."""
        plain = Costs(costs.network, costs.shape, costs.looks, preset("pd"))
        base = Costs(costs.network, costs.shape, costs.looks, None).student(self.base.batch)
        found = [(base.times(self.base.steps), "base", 1)]
        halvings = int(math.log2(self.base.sampling // self.begin))
        if halvings:
            each = plain.teacher(self.base.batch) + plain.student(self.base.batch)
            found.append((each.times(halvings * self.base.halving_steps), "halvings", 1))
        return found

    def _prices(self) -> list[tuple[int, int]]:
        return [(steps, size) for steps in self.sampling_steps for size in self.sampling_batches]

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        seed = int(ctx.shared_rng("diffusion").integers(2**31))
        costs, saved, leads = counted(self), ctx.saved(), ctx.rank == 0
        if saved is None and (ctx.rank == 1 if self.place == "cloud" else leads):
            for work, phase, times in self.prologue(costs):
                for _ in range(times):
                    yield ctx.compute(work.beyond_first(), phase)
        saved = saved or {}
        ready = self._prepared(ctx, seed, saved.get("beginning"))
        ladder = self._ladder(ctx, ready, None if "beginning" in saved else saved)
        if leads and (ladder is None or ladder.step == 0):
            for name, value in (("parameters", costs.size), ("queue_nbytes", costs.queue_bytes), ("head_parameters", costs.head_size)):
                ctx.metric(name, value)
        if ladder is not None:
            yield from training_loop(
                ctx, ladder, StageTrainer(self, ctx, ladder, costs), steps=ladder.total, evaluate_every=None, save_every=self.save_every
            )
        if leads:
            shown = self._judge(ctx, ready, ladder)
            model, sampler = self._sampled(ready, ladder, min(self.judging.steps))
            leave_student(ctx, model, self.net, self.dataset, ready, steps=min(self.judging.steps), sampler=sampler, shown=shown)
            for steps, size in self._prices():
                yield ctx.compute(costs.forward(size).times(steps).beyond_first(), f"sample_{steps}_{size}")

    def _prepared(self, ctx: Context, seed: int, kept: dict[str, Any] | None) -> Prepared:
        """Make what the seed begins with, from where it was *kept*; a machine alone in simulated time keeps where it is."""
        making = Making(
            self.dataset, self.path, self.net, self.base, self.judging, self.begin, self.flip, seed, accelerator(self.accelerator),
            self.precision,
        )
        if not (isinstance(ctx, SimulatedContext) and ctx.may_save):
            return prepared(making, kept)
        return prepared(making, kept, lambda state: ctx.save(0, {"beginning": state}), self.save_every)

    def _ladder(self, ctx: Context, ready: Prepared, saved: dict[str, Any] | None) -> Ladder | None:
        terms = self.terms()
        if terms is None:
            return None
        ladder = Ladder(
            ready.teacher, ready.drawn, terms, self.stages(), schedule=SCHEDULE, features=ready.looks,
            targets=ready.targets_of(self.stages(), ctx.size if self.place == "parallel" else 1),
            seeded=lambda *names: torch_generator(ctx.shared_rng("diffusion", *names)),
        )
        if saved:
            ladder.load_state_dict(saved)
        return ladder

    def _judge(self, ctx: Context, ready: Prepared, ladder: Ladder | None) -> dict[int, Tensor]:
        """Hold samples against the training images; who is the number of steps. Return the first few samples of each."""
        shown: dict[int, Tensor] = {}
        inception = loaded() if self.judging.inception else None
        theirs = None if inception is None else inception_features(inception, ready.images)
        real, plain = metrics.class_features(ready.judges, ready.images), metrics.projected(ready.images)
        ctx.metric("clf_fid_floor", metrics.floor(real))
        ctx.metric("projected_fid_floor", metrics.floor(plain))
        for steps in self.judging.steps:
            model, sampler = self._sampled(ready, ladder, steps)
            draws = torch_generator(ctx.shared_rng("judge", steps))
            noise = torch.randn((self.judging.samples, *ready.images.shape[1:]), generator=draws)
            labels = ready.labels(len(noise))
            made = torch.cat([
                sample(
                    model, noise[part].to(ready.images.device), steps, schedule=SCHEDULE, sampler=sampler, generator=draws,
                    labels=None if labels is None else labels[part],
                )
                for part in (slice(begin, begin + SAMPLED) for begin in range(0, len(noise), SAMPLED))
            ])
            shown[steps] = made[:SHOWN]
            seen, flat = metrics.class_features(ready.judges, made), metrics.projected(made)
            precision, recall = metrics.precision_recall(plain, flat)
            for name, value in (
                ("clf_fid", metrics.distance(real, seen)), ("projected_fid", metrics.distance(plain, flat)),
                ("kid", metrics.kernel_distance(real, seen)), ("precision", precision), ("recall", recall),
            ):
                ctx.metric(name, value, who=str(steps))
            if inception is not None and theirs is not None:
                ctx.metric("fid", metrics.distance(theirs, inception_features(inception, made)), who=str(steps))
        return shown

    def _sampled(self, ready: Prepared, ladder: Ladder | None, steps: int) -> tuple[nn.Module, str]:
        """The network that samples in so many steps, and by which sampler."""
        if ladder is None:
            return ready.base, self.sampler
        if steps >= self.begin and not ladder.terms.consistency:
            return (ready.teacher if steps == self.begin else ready.base), self.sampler
        if ladder.terms.consistency:
            return ladder.student(steps), "consistency"
        return ladder.student(max(steps, self.end)), self.sampler


class StageTrainer:
    """The steps of a distillation."""

    rate_key = "program.lr"

    def __init__(self, program: Diffusion, ctx: Context, ladder: Ladder, costs: Costs) -> None:
        self.program, self.ctx, self.ladder = program, ctx, ladder
        self.who = f"a student by {program.losses}"
        self._teacher, self._student = costs.teacher(program.batch), costs.student(program.batch)
        self._target = torch.zeros(program.batch * math.prod(costs.shape))
        self._loss = 0.0
        self._together = program.place == "parallel"
        share = torch.arange(len(ladder.images))
        self._share = share[ctx.rank :: ctx.size] if self._together else share
        if self._together and program.queue.together != "local":
            ladder.enqueues = False
        if self._together and ladder.loss.queue is not None:
            ladder.loss.queue.per_step = max(1, program.queue.per_step // ctx.size)

    def take_step(self) -> Asking:
        ctx, ladder = self.ctx, self.ladder
        if self.program.place == "cloud":
            yield from self._with_the_cloud()
            return
        self._loss = ladder.gradient(self._share, (ctx.rank,) if self._together else ())
        yield ctx.compute((self._teacher + self._student).beyond_first(), "distil")
        if self._together:
            yield from self._exchange()
        ladder.update()

    def _with_the_cloud(self) -> Asking:
        """Rank 1 makes targets ahead of rank 0, which learns from them; both follow the same stages."""
        ctx, ladder = self.ctx, self.ladder
        _, within, length = ladder.place()
        nbytes = self._target.nbytes + NUMBER_BYTES
        if ctx.rank == 1:
            yield ctx.compute(self._teacher.beyond_first(), "teach")
            yield ctx.send(0, nbytes, "target", self._target)
        else:
            yield ctx.recv(1, self._target)
            yield ctx.compute(self._student.beyond_first(), "distil")
        self._loss = ladder.gradient()
        ladder.update()
        if within == length - 1 and not ladder.terms.consistency:
            weights = ladder.state.weights
            if ctx.rank == 0:
                yield ctx.send(1, weights.nbytes, "weights", weights)
            else:
                yield ctx.recv(0, weights)

    def _exchange(self) -> Asking:
        """Average the gradients; give each other the pixels that are to be remembered."""
        ctx, ladder, queue = self.ctx, self.ladder, self.program.queue
        states = [state for state in (ladder.state, ladder.head_state) if state is not None]
        for state in states:
            total = yield from ctx.all_reduce(state.gradient, "gradient")
            state.gradient.copy_(total).div_(ctx.size)
        memory, outbox = ladder.loss.queue, ladder.loss.outbox
        if memory is None or outbox is None or queue.together == "local":
            return
        if queue.together == "shared" or (ladder.step + 1) % queue.period == 0:
            gathered = yield from ctx.all_gather(outbox.contiguous().flatten(), "queue")
            for vectors in gathered:
                memory.put(vectors.view(-1, outbox.shape[1]))

    def step_done(self) -> None:
        if self.ctx.rank == 0 and self.ladder.step % 25 == 0:
            self.ctx.metric("train_loss", self._loss, step=self.ladder.step)
            self.ctx.progress(self.ladder.step / self.ladder.total)

    def evaluate(self) -> None:
        """Stages are judged when all are done."""

    def peer_lost(self, lost: PeerLost) -> Asking:
        raise lost


def _shape(program: Diffusion) -> tuple[int, tuple[int, int, int]]:
    """How many classes the images have, and their shape."""
    data = program.dataset.load(program.path)
    channels, height, width = data.train_images.shape[1:]
    return int(data.train_labels.max()) + 1, (channels, height, width)


@lru_cache(maxsize=32)
def counted(program: Diffusion) -> Costs:
    """Return what the network of *program* costs.

    Raises:
        ScenarioError: it cannot be built, or what looks at its images has no maps.
    """
    classes, shape = _shape(program)
    try:
        net = network(program.net, shape[0], classes, torch.Generator().manual_seed(0))
        build = looking(program.judging, shape, classes)
        return Costs(net, shape, lambda: build(torch.Generator().manual_seed(0)), program.terms())
    except ModelError as error:
        raise ScenarioError(f"program.net: {error}") from error
    except DiffusionError as error:
        raise ScenarioError(f"program.judging.loss_net: {error}") from error
