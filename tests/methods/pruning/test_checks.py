"""The acceptance checks of the genetic pruning page that train networks of some size: slow ones are marked."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.methods.pruning.helpers import simulate
from toolkit.analysis.statistics import mean_interval
from toolkit.cluster.fabric import Cluster
from toolkit.learning.genetic.fitness import Fitness
from toolkit.learning.genetic.genome import Genome
from toolkit.learning.genetic.search import Genetic
from toolkit.learning.pruning.finetune import FineTuning
from toolkit.learning.pruning.select import SizeBudget
from toolkit.methods.pruning.problem import Problem, trained
from toolkit.methods.pruning.report import idle_fraction, summarise_run
from toolkit.methods.task import TaskSpec
from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios"


@lru_cache(maxsize=1)
def ten_filters() -> tuple[Problem, np.ndarray, np.ndarray]:
    """A LeNet whose first layer has ten filters; all of its 1,024 masks but the empty one, and their F."""
    task = TaskSpec.model_validate({"dataset": "digits28", "model": {"name": "lenet5", "options": {"filters": [10, 10], "hidden": 30}}})
    samples, whole = trained(task, (None, None, 100), 0.2, FineTuning(4), 3)
    problem = Problem.build(
        whole.model, samples, whole, criterion="taylor", calibration=250, fitness=Fitness((0.2, 1, 1)), budget=SizeBudget(),
        evaluations=300, only=("conv1",),
    )
    masks = ((np.arange(1, 1024)[:, None] >> np.arange(10)) & 1).astype(bool)
    return problem, masks, problem.objectives(masks, problem.evaluator.wrong(masks))


def test_a_genetic_search_finds_what_an_exhaustive_one_finds() -> None:
    """Check 3 of section 9 (GA): the best of 1,024 masks in at most 300 evaluations, in at least nine seeds of ten.

    Beside it random search with as many: it sees 300 of 1,023 masks, and so finds the best in about three seeds of ten.
    """
    problem, masks, objectives = ten_filters()
    genome = Genome((10,))
    known = {genome.pack(mask): values for mask, values in zip(masks, objectives, strict=True)}
    order = problem.fitness.order(objectives)
    best = order.min()
    found, by_chance = 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        search = Genetic(population=20, generations=1000, evaluations=300, patience=None, initial_rate=0.4, mutation_rate=0.1)
        state = search.init(genome, problem.saliency, problem.fitness, rng)
        while len(asked := search.ask(state)):
            search.tell(state, asked, np.array([known[genome.pack(mask)] for mask in asked]))
            if state.generation > 400:  # all neighbours known
                break
        assert state.evaluations <= 300
        found += state.history[-1] <= best + 1e-12
        by_chance += order[rng.permutation(len(order))[:300]].min() <= best + 1e-12
    assert found >= 9
    assert by_chance < found


def arm(name: str, scenario: str = "ga_lenet", **overrides: Any) -> Scenario:
    tree = Scenario.load(SCENARIOS / f"{scenario}.yaml").dump()
    tree["compare"] = {name: {**tree["compare"][name], **overrides}}
    return Scenario.build(tree).arms()[name]


def rows_of(scenario: Scenario, seed: int) -> dict[str, float]:
    program: Any = scenario.program
    ledger = simulate(scenario.fabric, program, seed)  # type: ignore[arg-type]
    return {name: value for name, _, value in summarise_run(ledger.charges(), ledger.metrics())}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "metric", "needed"), [("GA-compute", "conv_factor", 16.0), ("GA-sparsity", "removed", 0.9542)])
def test_the_headline_targets(name: str, metric: str, needed: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Check 7 of section 9 (GA), on the enlarged digits: the target is reached in every seed; the loss is printed, met or missed."""
    rows = [rows_of(arm(name, **{"program.control": False, "program.measure": False}), seed) for seed in (1, 2, 3, 4, 5)]
    assert all(row[metric] >= needed for row in rows)
    mean, low, high, _ = mean_interval(np.array([row["lost_points"] for row in rows]))
    with capsys.disabled():
        verdict = "met" if mean <= 2.0 else "MISSED"
        print(f"\n{name}: {mean:.2f} points lost ({low:.2f} to {high:.2f}); within 2.0: {verdict}")  # noqa: T201
    assert mean < 5.0


@pytest.mark.slow
def test_against_random_search_and_taylor_at_equal_evaluations(capsys: pytest.CaptureFixture[str]) -> None:
    """Check 8 of section 9 (GA): paired over five seeds; the search has to beat random search, Taylor's result is printed."""
    short = {"program.control": False, "program.rounds": 1, "program.fine_tune_epochs": 0}
    gaps: dict[str, list[float]] = {"random-search": [], "Taylor": []}
    for seed in (1, 2, 3, 4, 5):
        own = rows_of(arm("GA-balanced", **short), seed)["fitness@1"]
        for other, found in gaps.items():
            found.append(own - rows_of(arm(other, **short), seed)["fitness@1"])
    for other, found in gaps.items():
        mean, low, high, _ = mean_interval(np.array(found))
        with capsys.disabled():
            print(f"\nF, genetic minus {other}: {mean:+.3f} ({low:+.3f} to {high:+.3f})")  # noqa: T201
        assert high < 0 if other == "random-search" else low < 0


@pytest.mark.slow
def test_idle_workers() -> None:
    """Check 10 of section 9 (GA): eight unequal workers, LeNet-5: below 5 % without generations where generations show above 20 %."""
    idle = {}
    for name in ("synchronous", "asynchronous"):
        scenario = arm(name, "ga_workers")
        fabric: Any = scenario.fabric
        assert isinstance(fabric, Cluster)
        ledger = simulate(fabric, scenario.program)  # type: ignore[arg-type]
        idle[name] = idle_fraction(ledger.charges(), ledger.metrics())
    assert idle["asynchronous"] < 0.05
    assert idle["synchronous"] > 0.20
