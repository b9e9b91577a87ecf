"""What every pruner keeps; and that these laws are broken by those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.laws import Law, judged, title
from toolkit.laws import pruning as laws
from toolkit.methods.pruning import Best, OneMask, Pruner

SETTINGS: dict[str, dict[str, Any]] = {"genetic": {"population": 8, "patience": None}}


@pytest.mark.parametrize("law", laws.LAWS, ids=title)
@pytest.mark.parametrize("name", sorted(Pruner.members()))
def test_law(name: str, law: Law) -> None:
    law(Pruner.find(name).model_validate(SETTINGS.get(name, {})))


def broken(part: Pruner) -> set[str]:
    return {verdict.law for verdict in judged(part, laws.LAWS) if verdict.broken}


class Empties(Pruner):
    """Leaves the last layer nothing."""

    def start(self, problem: Any, rng: np.random.Generator) -> OneMask:
        mask = problem.groups.dense()
        mask[problem.genome.parts[-1]] = False
        return OneMask(mask)


class Insatiable(Pruner):
    """Asks for ever."""

    def start(self, problem: Any, rng: np.random.Generator) -> Any:
        class Asking(Best):
            def ask(self) -> Any:
                return problem.groups.dense()[None].repeat(50, axis=0)

        return Asking(problem)


class Dice(Pruner):
    """Draws from whom it should not, and spoils a weight."""

    def start(self, problem: Any, rng: np.random.Generator) -> OneMask:
        with torch.no_grad():
            next(problem.model.parameters())[0] += 1e-3
        mask = problem.groups.dense()
        mask[: len(mask) // 2] = torch.rand(len(mask) // 2).numpy() < 0.5
        return OneMask(problem.genome.repair(mask[None], problem.saliency)[0])


class Idle(Pruner):
    """Removes nothing."""

    def start(self, problem: Any, rng: np.random.Generator) -> OneMask:
        return OneMask(problem.groups.dense())


def test_pruners_that_break_a_law_are_found() -> None:
    assert "every mask leaves a network" in broken(Empties())
    assert "every mask leaves a network" in broken(Insatiable())
    assert {"choosing changes no weight", "the same seed chooses the same"} <= broken(Dice())
    assert broken(Idle()) == {"something is removed and something stays"}
