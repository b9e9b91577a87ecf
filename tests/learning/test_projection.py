"""Projected gradients oppose nothing that is remembered, and move no further than they must."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from toolkit.learning.projection import bounded_quadratic, project_cone, project_half_space


def vectors(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_half_space_by_hand() -> None:
    """g = (1, -1), r = (0, 2): the part against r is (0, -1)."""
    assert torch.equal(project_half_space(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])), torch.tensor([1.0, 0.0]))
    along = torch.tensor([1.0, 1.0])
    assert project_half_space(along, torch.tensor([0.0, 2.0])) is along


@pytest.mark.parametrize("seed", range(20))
def test_half_space_opposes_nothing(seed: int) -> None:
    gradient, reference = vectors(seed, 1000), vectors(seed + 100, 1000)
    projected = project_half_space(gradient, reference)
    assert float(projected.double() @ reference.double()) >= -1e-4
    small = project_half_space(gradient / 100, reference / 100)
    assert float(small.double() @ (reference / 100).double()) >= -1e-6
    assert projected.norm() <= gradient.norm()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("past", [1, 3, 19])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_cone_satisfies_every_constraint(seed: int, past: int, margin: float) -> None:
    gradient, references = vectors(seed, 300) / 17, vectors(seed + 100, past, 300) / 17
    found = project_cone(gradient, references, margin)
    assert float((references.double() @ found.double()).min()) >= -1e-4


def test_cone_with_one_memory_is_the_half_space() -> None:
    gradient, reference = vectors(1, 50), -vectors(1, 50) + 0.1 * vectors(2, 50)
    torch.testing.assert_close(project_cone(gradient, reference[None]), project_half_space(gradient, reference))


def test_cone_leaves_a_gradient_that_opposes_nothing() -> None:
    gradient = torch.tensor([1.0, 1.0])
    assert project_cone(gradient, torch.eye(2), 0.5) is gradient


def test_memories_that_repeat_or_vanish_do_no_harm() -> None:
    row = vectors(3, 40)
    for references in (torch.stack([row, row, 2 * row]), torch.stack([row, torch.zeros(40)])):
        found = project_cone(-row + 0.3 * vectors(4, 40), references)
        assert float((references.double() @ found.double()).min()) >= -1e-4
        torch.testing.assert_close(found, project_half_space(-row + 0.3 * vectors(4, 40), row), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("lower", [0.0, 0.7])
def test_quadratic_program_against_all_active_sets(seed: int, lower: float) -> None:
    """With 4 unknowns the solution is the best feasible point among the stationary ones of all 16 faces."""
    rng = np.random.default_rng(seed)
    rows, gradient = rng.normal(size=(4, 9)), rng.normal(size=9)
    gram, linear = rows @ rows.T, rows @ gradient

    def value(v: np.ndarray) -> float:
        return float(v @ gram @ v / 2 + linear @ v)

    best = np.inf
    for active in itertools.product([False, True], repeat=4):
        free = ~np.array(active)
        v = np.full(4, lower)
        if free.any():
            v[free] = np.linalg.solve(gram[np.ix_(free, free)], -(linear[free] + gram[np.ix_(free, ~free)] @ v[~free]))
        if (v >= lower - 1e-12).all():
            best = min(best, value(v))
    found = bounded_quadratic(gram, linear, lower)
    assert (found >= lower).all()
    assert value(found) == pytest.approx(best, abs=1e-9)
