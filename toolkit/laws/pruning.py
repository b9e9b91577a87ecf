"""Laws of pruners: masks leave a network that works, the budget is kept, nothing but the generator decides, workers change nothing.

Each is asked on a small LeNet of enlarged digits, with forty masks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from toolkit.core.local import LocalContext, run_local
from toolkit.laws import require
from toolkit.laws.generators import global_states
from toolkit.learning.genetic.genome import Mask
from toolkit.learning.pruning.finetune import FineTuning
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.methods.pruning import Pruner
from toolkit.methods.pruning.problem import Problem, trained
from toolkit.methods.pruning.program import Pruning

EVALUATIONS, ROUNDS, MOST_ASKED = 40, 2, 200
RESULTS = ("params", "conv_macs", "macs", "error_before", "error_after", "evals", "removed", "conv_factor")
SMALL: dict[str, Any] = {
    "samples": {"train": 300, "validation": 120, "test": 120}, "rounds": ROUNDS, "evaluations": EVALUATIONS, "dense_epochs": 3,
    "fine_tune_epochs": 1, "control": False, "calibration": 64,
}


def program(part: Pruner) -> Pruning:
    """Return the small program; a network with BatchNorm, since some pruners go by its scales."""
    options = {"filters": [6, 8], "hidden": 20, "batch_norm": True}
    target = {"conv_factor": 2.0, "removed": 0.5} if part.units else {"removed": 0.5}
    task = {"dataset": "digits28", "model": {"name": "lenet5", "options": options}}
    return Pruning.model_validate({**SMALL, "task": task, "target": target, "pruner": part})


def problem_of(part: Pruner) -> Problem:
    """Return the first round's problem."""
    what = program(part)
    samples, whole = trained(what.task, what.samples.counts, what.samples.share, FineTuning(3, what.lr, gamma_l1=part.gamma_l1()), 1)
    return what.problem_of(whole.model, samples, whole, done=1.0)


def _run(part: Pruner, workers: int, seed: int = 1) -> dict[str, list[float]]:
    chosen(part)  # a search that has no end would not come back
    contexts: list[LocalContext] = run_local(program(part).run, workers, seed)
    return {name: [metric.value for ctx in contexts for metric in ctx.metrics if metric.name == name] for name in RESULTS}


@lru_cache(maxsize=16)
def alone(part: Pruner) -> dict[str, list[float]]:
    """What a run on one worker says, which others are held against."""
    return _run(part, 1)


def chosen(part: Pruner) -> tuple[Problem, Mask]:
    """Return a problem and the mask that is chosen for it, every mask on the way having been looked at."""
    problem, asked = problem_of(part), 0
    chooser = part.start(problem, np.random.default_rng(1))
    while len(masks := chooser.ask()):
        require(masks.dtype == bool and masks.shape[1:] == (problem.groups.units,), f"masks are {masks.dtype} {masks.shape}, and bool "
                f"(n, {problem.groups.units}) is wanted")
        layers = [masks[:, place].any(axis=1).all() for place in problem.genome.parts]
        require(all(layers), "a mask leaves a layer without any unit; problem.genome.repair gives the best one back")
        asked += len(masks)
        require(asked <= MOST_ASKED, f"{asked} masks are asked for without an end, where {problem.evaluations} may be evaluated")
        chooser.tell(masks, problem.objectives(masks, np.array([problem.mistakes(mask) for mask in masks])))
    return problem, chooser.best()


def every_mask_leaves_a_network(part: Pruner) -> None:
    """Masks (n, units) of bits that leave each layer a unit, and are asked for until there are none; the last choice can be built."""
    problem, best = chosen(part)
    require(best.dtype == bool and best.shape == (problem.groups.units,), f"the choice is {best.dtype} {best.shape}")
    with torch.no_grad():
        scores = rebuild(problem.model, problem.groups, best)(problem.samples.test[0][:8])
    require(torch.isfinite(scores).all(), "the network that is chosen answers with numbers that are not finite")


def no_more_masks_are_evaluated_than_may_be(part: Pruner) -> None:
    """`evaluations` a round; a rule that looks for nothing has its one mask looked at."""
    (evaluated,) = alone(part)["evals"]
    require(evaluated <= ROUNDS * EVALUATIONS, f"{evaluated:g} masks were evaluated in {ROUNDS} rounds of {EVALUATIONS}")


def choosing_changes_no_weight(part: Pruner) -> None:
    """The network, and what is kept of it, are the caller's."""
    problem = problem_of(part)
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    chooser = part.start(problem, np.random.default_rng(1))
    masks = chooser.ask()
    chooser.tell(masks, problem.objectives(masks, np.array([problem.mistakes(mask) for mask in masks])))
    if not part.units:
        part.weight_masks(problem, 0.5)
    same = all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())
    require(same, "the network's weights are others after choosing; work on a copy")


def the_same_seed_chooses_the_same(part: Pruner) -> None:
    """Nothing is drawn from global generators."""
    before = global_states()
    once, again = alone(part), _run(part, 1)
    require(global_states() == before, "it draws from a global generator; draw from the one that start is given")
    require(once == again, f"two runs of a seed end otherwise: {once} and {again}")


def workers_change_nothing(part: Pruner) -> None:
    """Who evaluates a mask does not matter."""
    if part.units:
        require(_run(part, 3) == alone(part), "with three workers another network is chosen than with one")


def something_is_removed_and_something_stays(part: Pruner) -> None:
    """The network is smaller than it was, and better than chance."""
    found = alone(part)
    (removed,), (error,) = found["removed"], found["error_after"]
    require(0 < removed < 1, f"{removed:g} of the parameters are removed")
    require(error < 0.9, f"the network that is left errs in {error:g} of ten classes, as chance does")


LAWS = (
    every_mask_leaves_a_network, no_more_masks_are_evaluated_than_may_be, choosing_changes_no_weight, the_same_seed_chooses_the_same,
    workers_change_nothing, something_is_removed_and_something_stays,
)
