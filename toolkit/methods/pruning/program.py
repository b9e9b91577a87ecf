"""The two-step framework as a program: search masks with the weights as they are, rebuild and fine-tune, again and again."""

from __future__ import annotations

import time
from typing import Any, Literal, Self, final

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from toolkit.core.bounds import NotNegative
from toolkit.core.context import Asking, Context
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.part import Spec
from toolkit.core.program import Process, Program
from toolkit.errors import ScenarioError
from toolkit.learning.genetic.fitness import PRESETS, Fitness
from toolkit.learning.pruning.finetune import FineTuning, train, wrong
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.learning.pruning.result import PruneResult
from toolkit.learning.pruning.select import SizeBudget
from toolkit.learning.random import torch_generator
from toolkit.methods.loop import divergence_told
from toolkit.methods.pruning import Pruner
from toolkit.methods.pruning.evaluation_pool import EvaluationPool, serve
from toolkit.methods.pruning.islands import archipelago
from toolkit.methods.pruning.problem import Counts, Problem, SampleSets, Whole, trained
from toolkit.methods.pruning.records import Outcome, record
from toolkit.methods.pruning.tuning_work import tuning_work
from toolkit.methods.task import TaskSpec
from toolkit.methods.trained import hand_out
from toolkit.models import initialise


@final
class Target(Spec):
    """When a network is small enough; rules that remove just what is asked take these as their budget."""

    conv_factor: float | None = Field(None, gt=1, description="how many times fewer multiply-adds of convolutions, e.g. 16")
    removed: float | None = Field(None, gt=0, lt=1, description="share of parameters removed, e.g. 0.9542")


@final
class SampleCounts(Spec):
    """How many samples there are to train on, to choose by and to be judged by."""

    train: int | None = Field(None, ge=1, description="training samples; without it all that are not for validation")
    validation: int | None = Field(None, ge=1, description="validation samples; without it `share` of the training set")
    test: int | None = Field(None, ge=1, description="test samples; without it all")
    share: float = Field(0.2, gt=0, lt=1, description="share of the training set held out for validation")

    @property
    def counts(self) -> Counts:
        return self.train, self.validation, self.test


@final
class Pruning(Program):
    """Prune a trained network to the end: `rounds` of search and fine-tuning, then report what is left and what it costs.

    Rank 0 trains the dense network (which costs no simulated time: it is where pruning begins), chooses, rebuilds and fine-tunes; the other
    ranks, where there are any, evaluate masks. Masks are chosen by the validation set alone. The test set judges the dense network,
    the last round's network before and after fine-tuning, and the control: the same structure trained from new weights for as long as
    dense training and fine-tuning took together.
    """

    task: TaskSpec = Field(
        TaskSpec.model_validate({"dataset": "digits28", "model": {"name": "lenet5"}}), description="data set and network"
    )
    samples: SampleCounts = Field(SampleCounts(), description="how many samples each purpose gets")
    pruner: Pruner = Field(default="genetic", description="what chooses filters and units")  # type: ignore[assignment]
    preset: Literal["balanced", "error", "compute", "sparsity"] = Field("balanced", description="weights of the three objectives")
    weights: tuple[NotNegative, NotNegative, NotNegative] | None = Field(
        None, description="weights (error in points, computation, parameters) of your own"
    )
    bound: float | None = Field(None, ge=0, description="hard bound on the error above the dense one (epsilon)")
    criterion: Literal["taylor", "l1", "obd"] = Field("taylor", description="saliency that heuristic mutation and greedy removal go by")
    calibration: int = Field(250, ge=1, description="training images that the saliency is reckoned on")
    rounds: int = Field(3, ge=1, description="rounds of search and fine-tuning; fewer where the target is reached before")
    target: Target = Field(Target(), description="how small the network is to be")
    schedule: Literal["joint", "layers"] = Field("joint", description="all layers in one search, or one search per layer in each round")
    evaluations: int = Field(450, ge=2, description="most masks evaluated in each round")
    early_reject: bool = Field(False, description="drop a mask after 128 images if Wilson's interval already puts it behind the survivors")
    dense_epochs: int = Field(12, ge=0, description="epochs in which the dense network is trained; 0: its weights are taken as they are")
    fine_tune_epochs: int = Field(4, ge=0, description="epochs of fine-tuning after each round")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam at the beginning")
    distil: float = Field(0.5, ge=0, le=1, description="share of the fine-tuning loss that follows the dense network's scores (T = 4)")
    control: bool = Field(True, description="train the final structure from new weights too")
    form: Literal["synchronous", "asynchronous", "islands"] = Field("synchronous", description="generations, one child at a time, islands")
    dispatch: Literal["static", "queue"] = Field("queue", description="an equal number each, or the next one to whoever is done")
    in_flight: int = Field(2, ge=1, description="masks that a worker has at a time")
    migrate_every: int = Field(5, ge=1, description="generations between two migrations of islands")
    processes: int = Field(1, ge=1, description="processes of this machine that evaluate, where there is one worker")
    measure: bool = Field(False, description="also measure latency and CPU time on this machine (these do not repeat)")
    threads: int = Field(1, ge=1, description="CPU threads of torch")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.form != "synchronous" and not self.pruner.steady:
            raise ValueError(f"form '{self.form}' needs a pruner that breeds, such as genetic; {self.pruner.type_name()} does not")
        if self.schedule == "layers" and self.form != "synchronous":
            raise ValueError("schedule 'layers' goes with form 'synchronous' only")
        return self

    def needs(self) -> Needs:
        most = 1 if self.processes > 1 else None
        if self.form == "asynchronous":
            return Needs("pruning of form 'asynchronous'", workers=(2, most))
        if self.form == "islands":
            return Needs("pruning of form 'islands'", survives=False)
        return Needs("pruning", workers=(1, most), hint="; or set program.processes to 1" if most else "")

    def check(self, fabric: Fabric) -> None:
        machines = fabric.machines()
        if "worker0" in machines.crashes:
            raise ScenarioError("fabric.failures.crashes: worker0 holds the search and cannot be lost; take worker0 out")
        task = self.task.load()
        machines.check_memory(task.memory_bytes(64), f"{self.task.model.name} at batch 64")
        counts = self.samples
        have, wanted = len(task.data.train_labels), (counts.train or 1) + (counts.validation or 1)
        if wanted > have:
            raise ScenarioError(f"program.samples: train and validation ask for {wanted} of the {have} training samples")
        if counts.test is not None and counts.test > len(task.data.test_labels):
            raise ScenarioError(f"program.samples.test: asks for {counts.test} of the {len(task.data.test_labels)} test samples")

    def feedback(self) -> str:
        if self.form == "asynchronous":
            return "which mask is bred next depends on who answers first"
        return "whom rank 0 gives the next mask depends on who answers first" if self.form == "synchronous" else ""

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        with divergence_told("program.lr", self.task.model.name):
            yield from self._run(ctx, time.process_time())

    def _run(self, ctx: Context, begun_s: float) -> Process:
        seed = int(ctx.shared_rng("pruning").integers(2**31))
        recipe = FineTuning(self.dense_epochs, self.lr, gamma_l1=self.pruner.gamma_l1())
        samples, whole = trained(self.task, self.samples.counts, self.samples.share, recipe, seed)
        if self.form == "islands":
            yield from archipelago(ctx, self, samples, whole, begun_s)
        elif ctx.rank:
            yield from serve(ctx, samples, whole, self.problem_of)
        else:
            yield from self._lead(ctx, samples, whole, begun_s)

    def fitness(self, samples: SampleSets, whole: Whole) -> Fitness:
        """Return how masks are judged: errors count from the dense network's on the validation set."""
        dense = wrong(whole.model, *samples.validation) / len(samples.validation[1])
        return Fitness(self.weights or PRESETS[self.preset], dense, self.bound)

    def problem_of(
        self, model: nn.Module, samples: SampleSets, whole: Whole, *, done: float = 1.0, only: tuple[str, ...] = (),
        evaluations: int | None = None,
    ) -> Problem:
        """Return the problem of one round, of which the share *done* of all rounds will have been done after it."""
        target, costs = self.target, whole
        conv_macs = costs.conv_macs / target.conv_factor**done if target.conv_factor else None
        params = costs.params * (1 - target.removed) ** done if target.removed else None
        return Problem.build(
            model, samples, whole, criterion=self.criterion, calibration=self.calibration, fitness=self.fitness(samples, whole),
            budget=SizeBudget(conv_macs, params), evaluations=evaluations or self.evaluations, only=only,
        )

    def _lead(self, ctx: Context, samples: SampleSets, whole: Whole, begun_s: float) -> Asking:
        pool = EvaluationPool(ctx, whole, self.dispatch, self.in_flight, self.processes, self.early_reject)
        outcome = Outcome(whole, whole.model, whole.groups.dense())
        for index in range(self.rounds):
            if self.pruner.units:
                yield from self._one_round(ctx, pool, samples, whole, outcome, index)
            else:
                yield from self._one_round_of_weights(ctx, samples, whole, outcome, index)
            ctx.progress((index + 1) / (self.rounds + 1))
            if self.reached(outcome):
                break
        pool.stop()
        self.close(ctx, samples, whole, outcome, begun_s)

    def _one_round(self, ctx: Context, pool: EvaluationPool, samples: SampleSets, whole: Whole, outcome: Outcome, index: int) -> Asking:
        """Step 1, a search (or one per layer), and step 2, the small network fine-tuned."""
        searches: list[tuple[tuple[str, ...], slice]] = [((), slice(0, whole.groups.units))]
        if self.schedule == "layers":
            searches = [((group.name,), group.part) for group in whole.groups.groups]
        for place, (only, part) in enumerate(searches):
            evaluations = max(2, self.evaluations // len(searches))
            problem = self.problem_of(outcome.model, samples, whole, done=(index + 1) / self.rounds, only=only, evaluations=evaluations)
            alive = part.start + np.flatnonzero(outcome.mask[part])
            begun_s = ctx.now
            yield from pool.begin(problem, alive, outcome.mask)
            ctx.metric("distribute_s", ctx.now - begun_s, step=index)
            rng = ctx.shared_rng("search", index, place)
            chooser: Any = self.pruner.start(problem, rng)
            ctx.metric("search_begin_s", ctx.now, step=index)
            if self.form == "asynchronous":
                yield from pool.steady(chooser, self.evaluations)
            else:
                yield from pool.search(chooser)
            ctx.metric("search_end_s", ctx.now, step=index)
            outcome.searched(ctx, problem, chooser, index)
            mask = chooser.best()
            kept = outcome.mask.copy()
            kept[alive] = mask
            outcome.take(rebuild(outcome.model, problem.groups, mask), kept)
        yield from self.fine_tune(ctx, samples, outcome, index)

    def _one_round_of_weights(self, ctx: Context, samples: SampleSets, whole: Whole, outcome: Outcome, index: int) -> Asking:
        """Zero single weights; the network keeps its shape."""
        problem = self.problem_of(outcome.model, samples, whole)
        if self.target.removed is None:
            raise ScenarioError(f"program.target.removed: {self.pruner.type_name()} needs it, since nothing else says how much is to go")
        share = 1 - (1 - self.target.removed) ** ((index + 1) / self.rounds)
        of_weights = share * whole.params / sum(weight.numel() for weight in whole.model.parameters() if weight.dim() > 1)
        model = rebuild(outcome.model, problem.groups, problem.groups.dense())
        alive = self.pruner.weight_masks(problem, min(of_weights, 1.0))
        with torch.no_grad():
            for name, mask in alive.items():
                model.get_parameter(name).mul_(mask)
        outcome.take(model, outcome.mask)
        outcome.alive_weights = alive
        yield from self.fine_tune(ctx, samples, outcome, index)

    def fine_tune(self, ctx: Context, samples: SampleSets, outcome: Outcome, index: int) -> Asking:
        """Step 2: train the small network on, and charge it."""
        outcome.test_before = wrong(outcome.model, *samples.test)
        if self.fine_tune_epochs:
            recipe = FineTuning(self.fine_tune_epochs, self.lr, distil=self.distil)
            teacher = outcome.whole.model if self.distil else None
            order = ctx.shared_rng("fine tune", index)
            train(outcome.model, *samples.train, recipe, order, teacher=teacher, alive=outcome.alive_weights)
            steps = self.fine_tune_epochs * -(-len(samples.train[1]) // recipe.batch)
            yield ctx.compute(tuning_work(outcome.model, (recipe.batch, *samples.shape)).times(steps).beyond_first(), "fine_tune")
        ctx.metric("validation_error", wrong(outcome.model, *samples.validation) / len(samples.validation[1]), step=index)
        outcome.rounds = index + 1

    def reached(self, outcome: Outcome) -> bool:
        """Whether all that the target asks for is met; never where it asks for nothing."""
        target, whole = self.target, outcome.whole
        if target.conv_factor is None and target.removed is None:
            return False
        params, conv_macs, _ = outcome.size()
        few = target.removed is None or params <= (1 - target.removed) * whole.params
        return few and (target.conv_factor is None or conv_macs * target.conv_factor <= whole.conv_macs)

    def close(self, ctx: Context, samples: SampleSets, whole: Whole, outcome: Outcome, begun_s: float) -> None:
        """Judge by the test set, train the control, and write everything down."""
        tests = len(samples.test[1])
        after = wrong(outcome.model, *samples.test)
        params, conv_macs, macs = outcome.size()
        cpu_s = time.process_time() - begun_s
        scratch = None
        if self.control and self.pruner.units:
            scratch = self._from_scratch(ctx, samples, outcome)
        result = PruneResult(
            outcome.mask, params=params, conv_macs=conv_macs, macs=macs, err_before=outcome.test_before / tests, err_after=after / tests,
            evals=outcome.evaluations, cpu_s=cpu_s
        )
        dense = wrong(whole.model, *samples.test) / tests
        record(ctx, result, outcome, dense=dense, scratch=scratch, shape=samples.shape, measure=self.measure)
        data = self.task.load().data
        hand_out(ctx, outcome.model, self.task.model, data, accuracy=1.0 - result.err_after, mask=outcome.mask)

    def _from_scratch(self, ctx: Context, samples: SampleSets, outcome: Outcome) -> float:
        """Return the test error of the same structure, trained from new weights as long as all training of the pruned one."""
        rng = ctx.shared_rng("from scratch")
        model = rebuild(outcome.whole.model, outcome.whole.groups, outcome.mask)
        initialise(model, torch_generator(rng), "xavier")
        epochs = self.dense_epochs + outcome.rounds * self.fine_tune_epochs
        train(model, *samples.train, FineTuning(epochs, self.lr), rng)
        return wrong(model, *samples.test) / len(samples.test[1])
