"""Fronts and volumes: by hand, by a naive account, and against pymoo where it is installed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from toolkit.learning.genetic.pareto import crowding, front, hypervolume, ranks


def clouds(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((rng.integers(3, 40), rng.integers(2, 4))).round(int(rng.integers(1, 6))) for _ in range(count)]


def test_ranks_by_hand() -> None:
    points = np.array([[0.0, 1], [1, 0], [1, 1], [2, 2], [0, 1]])
    assert ranks(points).tolist() == [0, 0, 1, 2, 0]
    assert front(points).tolist() == [0, 1]


def test_ranks_are_what_peeling_gives() -> None:
    for points in clouds(30):
        left, level, expected = set(range(len(points))), 0, np.zeros(len(points), int)
        while left:
            best = {i for i in left if not any((points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in left)}
            for i in best:
                expected[i] = level
            left, level = left - best, level + 1
        assert ranks(points).tolist() == expected.tolist()


def test_crowding_by_hand() -> None:
    distance = crowding(np.array([[0.0, 4], [1, 2], [4, 0]]))
    assert np.isinf(distance[[0, 2]]).all()
    assert distance[1] == 1.0  # neighbours span the whole of both objectives: (1 + 1) / 2
    assert np.isinf(crowding(np.zeros((2, 3)))).all()


def test_hypervolume_by_hand_and_by_inclusion_and_exclusion() -> None:
    one = np.ones(3)
    assert hypervolume(np.array([[0.5, 0.5, 0.5]]), one) == 0.125
    assert hypervolume(np.array([[0.0, 0.5], [0.5, 0.0]]), np.ones(2)) == 0.75
    assert hypervolume(np.array([[1.0, 0.2, 0.1]]), one) == 0.0
    for outside in ([1.5, 0.2, 0.1], [0.2, 1.0, 0.1], [-5.0, 0.2, 2.0]):  # beyond the reference in one objective, and worth nothing
        assert hypervolume(np.array([[0.5, 0.5, 0.5], outside]), one) == 0.125
        assert hypervolume(np.array([outside]), one) == 0.0
    rng = np.random.default_rng(1)
    for _ in range(20):
        points = rng.random((5, 3))
        expected = 0.0
        for bits in range(1, 32):
            chosen = points[[bool(bits >> i & 1) for i in range(5)]]
            expected -= (-1) ** len(chosen) * float(np.prod(1 - chosen.max(axis=0)))
        assert hypervolume(points, one) == pytest.approx(expected, abs=1e-12)


def test_adding_a_point_never_loses_volume() -> None:
    rng = np.random.default_rng(2)
    points = rng.random((30, 3))
    volumes = [hypervolume(points[: n + 1], np.ones(3)) for n in range(30)]
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(volumes))


def test_pymoo_agrees() -> None:
    """Check 4 of section 9 (GA): 200 random fronts, hypervolume to 1e-9."""
    sorting = pytest.importorskip("pymoo.util.nds.non_dominated_sorting", reason="pymoo is not installed")
    from pymoo.indicators.hv import HV
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    for points in clouds(200):
        _, rank = sorting.NonDominatedSorting().do(points, return_rank=True)
        assert ranks(points).tolist() == rank.tolist()
        level = np.unique(points[rank == 0], axis=0)  # pymoo leaves out doubles
        if len(level) > 2:  # pymoo gives a single point no distance
            assert np.allclose(crowding(level), calc_crowding_distance(level))
        reference = np.ones(points.shape[1])
        assert hypervolume(points, reference) == pytest.approx(float(HV(ref_point=reference)(points)), abs=1e-9)
