"""Islands: every worker breeds a population of its own, and now and then its best mask travels to the next one (72 bytes)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from toolkit.core.context import Asking, Context
from toolkit.core.work import Work
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.methods.pruning import Pruner
from toolkit.methods.pruning.evaluation_pool import FLOPS_PER_BIT
from toolkit.methods.pruning.messages import EVALUATE, load_weights, pack_order, unpack_order, weights_like, weights_of
from toolkit.methods.pruning.problem import Problem, SampleSets, Whole
from toolkit.methods.pruning.records import Outcome


class Framework(Protocol):
    """What islands ask of the two-step framework round them; `toolkit.methods.pruning.program.Pruning` is one."""

    @property
    def pruner(self) -> Pruner: ...
    @property
    def rounds(self) -> int: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def migrate_every(self) -> int: ...
    def problem_of(self, model: nn.Module, samples: SampleSets, whole: Whole, *, done: float, evaluations: int) -> Problem: ...
    def fine_tune(self, ctx: Context, samples: SampleSets, outcome: Outcome, index: int) -> Asking: ...
    def reached(self, outcome: Outcome) -> bool: ...
    def close(self, ctx: Context, samples: SampleSets, whole: Whole, outcome: Outcome, begun_s: float) -> None: ...


def archipelago(ctx: Context, program: Framework, samples: SampleSets, whole: Whole, begun_s: float) -> Asking:
    """Run all rounds as one island of `ctx.size`. The masks that may be evaluated are shared out evenly; rank 0 fine-tunes for all."""
    outcome = Outcome(whole, whole.model, whole.groups.dense())
    for index in range(program.rounds):
        share = max(2, program.evaluations // ctx.size)
        problem = program.problem_of(outcome.model, samples, whole, done=(index + 1) / program.rounds, evaluations=share)
        alive = np.flatnonzero(outcome.mask)
        chooser: Any = program.pruner.start(problem, ctx.shared_rng("island", index, ctx.rank))
        if ctx.rank == 0:
            ctx.metric("search_begin_s", ctx.now, step=index)
        for generation in range(1, max(1, share // chooser.search.population) + 1):
            masks = chooser.ask()
            if len(masks):
                wrong = problem.evaluator.wrong(masks)
                yield ctx.compute(Work(FLOPS_PER_BIT * masks.size), "search")
                for mask in masks:
                    yield ctx.compute(problem.work(mask, problem.images), "evaluate")
                chooser.tell(masks, problem.objectives(masks, wrong))
            if generation % program.migrate_every == 0 and ctx.size > 1:
                yield from _migrate(ctx, chooser, problem, outcome, alive)
        best, fitness = yield from _best_of_all(ctx, chooser, problem, outcome, alive)
        counts = yield from ctx.all_gather(torch.tensor([chooser.state.evaluations], dtype=torch.int32), "migrant")
        if ctx.rank == 0:
            ctx.metric("search_end_s", ctx.now, step=index)
            outcome.searched(ctx, problem, chooser, index, together=(sum(int(count) for count in counts), fitness))
        kept = outcome.mask.copy()
        kept[alive] = best
        outcome.take(rebuild(outcome.model, problem.groups, best), kept)
        if ctx.rank == 0:
            yield from program.fine_tune(ctx, samples, outcome, index)
        vector = weights_of(outcome.model) if ctx.rank == 0 else weights_like(outcome.model)
        weights = yield from ctx.broadcast(vector, 0, "weights")
        load_weights(outcome.model, weights)
        outcome.rounds = index + 1
        if program.reached(outcome):
            break
    if ctx.rank == 0:
        program.close(ctx, samples, whole, outcome, begun_s)


def _whole_mask(outcome: Outcome, alive: Any, mask: Any) -> Any:
    whole = outcome.mask.copy()
    whole[alive] = mask
    return whole


def _migrate(ctx: Context, chooser: Any, problem: Problem, outcome: Outcome, alive: Any) -> Asking:
    """Send the best to the next island in a ring, and take in the one that comes."""
    order = pack_order(EVALUATE, _whole_mask(outcome, alive, chooser.best()))
    ctx.send((ctx.rank + 1) % ctx.size, order.nbytes, "migrant", order)
    _, mask = unpack_order((yield ctx.recv((ctx.rank - 1) % ctx.size, order)), len(outcome.mask))
    migrant = mask[alive]
    if chooser.state.genome.pack(migrant) not in chooser.state.memo:
        wrong = problem.evaluator.wrong(migrant)
        yield ctx.compute(problem.work(migrant, problem.images), "evaluate")
        chooser.insert(migrant, problem.objectives(migrant[None], wrong)[0])


def _best_of_all(ctx: Context, chooser: Any, problem: Problem, outcome: Outcome, alive: Any) -> Asking:
    """Return the best mask of all islands and its F, on each of them."""
    gathered = yield from ctx.all_gather(pack_order(EVALUATE, _whole_mask(outcome, alive, chooser.best())), "migrant")
    masks = np.stack([unpack_order(order, len(outcome.mask))[1][alive] for order in gathered])
    fitness = problem.fitness.order(problem.objectives(masks, problem.evaluator.wrong(masks)))
    place = int(np.argmin(fitness))
    return masks[place], float(fitness[place])
