"""What a pruning has come to so far, and how it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from toolkit.core.context import Context
from toolkit.learning.genetic.genome import Mask
from toolkit.learning.genetic.pareto import front, hypervolume
from toolkit.learning.genetic.search import REFERENCE
from toolkit.learning.pruning.costs import Costs
from toolkit.learning.pruning.groups import find_groups
from toolkit.learning.pruning.result import PruneResult
from toolkit.learning.pruning.select import weights_left
from toolkit.methods.pruning import Chooser
from toolkit.methods.pruning.deploy import BATCHES, measured_s, on_devices
from toolkit.methods.pruning.problem import Problem, Whole


@dataclass
class Outcome:
    """The network as it is, and what it took."""

    whole: Whole
    model: nn.Module
    mask: Mask
    """Units of the whole network that are left."""
    evaluations: int = 0
    rounds: int = 0
    test_before: int = 0
    """Mistakes on the test set before the last fine-tuning."""
    alive_weights: dict[str, Tensor] = field(default_factory=dict)
    """Single weights that are left, where those are what goes."""

    def take(self, model: nn.Module, mask: Mask) -> None:
        self.model, self.mask = model, mask

    def size(self) -> tuple[int, int, int]:
        """Return parameters, multiply-adds of convolutions, and of all layers."""
        costs = Costs.of(self.whole.groups)
        convolutions, macs = costs.macs(self.mask)
        params = weights_left(self.model, self.alive_weights) if self.alive_weights else int(costs.params(self.mask)[0])
        return params, int(convolutions[0]), int(macs[0])

    def searched(
        self, ctx: Context, problem: Problem, chooser: Chooser, index: int, *, together: tuple[int, float] | None = None
    ) -> None:
        """Write down what one search found. The first round's are comparable between methods: they all begin with the same network.

        *together* is how many masks all islands evaluated and the best F of all, where this is one of several; its front is then not
        all that was found, and is left out.
        """
        if together is not None:
            self.evaluations += together[0]
            ctx.metric("evaluations", float(together[0]), step=index)
            ctx.metric("fitness", together[1], step=index)
            return
        count, objectives, history = chooser.found()
        self.evaluations += count
        ctx.metric("evaluations", float(count), step=index)
        if not len(objectives):
            return
        ctx.metric("fitness", float(problem.fitness.order(objectives).min()), step=index)
        ctx.metric("hypervolume", hypervolume(objectives, REFERENCE), step=index)
        for place, value in enumerate(history):
            ctx.metric("best_fitness", value, who=str(index), step=place)
        for place, (error, computation, params) in enumerate(objectives[front(objectives)].tolist()):
            for name, value in (("front_error", error), ("front_computation", computation), ("front_params", params)):
                ctx.metric(name, value, who=str(index), step=place)


def record(
    ctx: Context, result: PruneResult, outcome: Outcome, *, dense: float, scratch: float | None, shape: tuple[int, ...], measure: bool
) -> None:
    """Write down the result: what is left, how well it does, which units survive, what it costs on every device."""
    whole = outcome.whole
    values = {
        "dense_error": dense, "error_before": result.err_before, "error_after": result.err_after, "params": result.params,
        "conv_macs": result.conv_macs, "macs": result.macs, "removed": 1 - result.params / whole.params,
        "macs_factor": whole.macs / result.macs, "lost_points": 100 * (result.err_after - dense), "evals": result.evals,
        "rounds": outcome.rounds,
    }
    if whole.conv_macs:
        values["conv_factor"] = whole.conv_macs / result.conv_macs
    if scratch is not None:
        values |= {"scratch_error": scratch, "better_than_scratch_points": 100 * (scratch - result.err_after)}
    for name, value in values.items():
        ctx.metric(name, float(value))
    for group in whole.groups.groups:
        ctx.metric("kept", float(result.mask[group.part].sum()), who=group.name)
        if group.size <= 128:  # the figure shows filters one by one
            for place, stays in enumerate(result.mask[group.part].tolist()):
                ctx.metric("survives", float(stays), who=group.name, step=place)
    units = find_groups(outcome.model, shape).units
    assert units == result.mask.sum(), "the network in hand is the one of the mask"
    for which, model in (("dense", whole.model), ("pruned", outcome.model)):
        for batch in BATCHES:
            for device, deployment in on_devices(model, shape, batch).items():
                who = f"{which} {device} {batch}"
                ctx.metric("device_latency_s", deployment.latency_s, who=who)
                ctx.metric("device_energy_j", deployment.energy_j, who=who)
                ctx.metric("device_memory_bytes", float(deployment.memory_bytes), who=who)
            if measure:
                ctx.metric("measured_latency_s", measured_s(model, shape, batch), who=f"{which} {batch}")
    if measure:
        ctx.metric("cpu_s", result.cpu_s)
