from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.datasets import partition
from toolkit.errors import DataError


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 200), classes=st.integers(1, 10), parts=st.integers(1, 30), seed=st.integers(0, 99),
    alpha=st.none() | st.floats(1e-3, 1e3),
)
def test_every_sample_goes_to_exactly_one_worker_and_none_stays_without(count, classes, parts, seed, alpha) -> None:
    parts = min(parts, count)
    labels = np.random.default_rng(seed).integers(0, classes, count)
    dealt = partition(labels, parts, np.random.default_rng(seed), alpha)
    assert len(dealt) == parts
    assert sorted(np.concatenate(dealt).tolist()) == list(range(count))
    assert min(len(part) for part in dealt) >= 1
    if alpha is None:
        assert max(len(part) for part in dealt) - min(len(part) for part in dealt) <= 1


def test_the_same_generator_state_deals_the_same() -> None:
    labels = np.arange(1000) % 10
    for alpha in (None, 0.5):
        one, two, other = (partition(labels, 7, np.random.default_rng(seed), alpha) for seed in (1, 1, 2))
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def shares(alpha: float | None) -> np.ndarray:
    """Share of each class (10,) that each worker (8,) has, over 20 draws."""
    labels = np.repeat(np.arange(10), 1000)
    draws = [partition(labels, 8, np.random.default_rng(seed), alpha) for seed in range(20)]
    return np.array([[np.bincount(labels[part], minlength=10) / 1000 for part in dealt] for dealt in draws])


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_shares_have_the_moments_of_the_dirichlet_distribution(alpha: float) -> None:
    drawn = shares(alpha)
    variance = (1 / 8) * (7 / 8) / (8 * alpha + 1)
    assert drawn.mean() == pytest.approx(1 / 8, abs=1e-12)
    assert drawn.var() == pytest.approx(variance, rel=0.2)


def test_much_concentration_is_nearly_an_equal_split() -> None:
    assert np.abs(shares(1e6) - 1 / 8).max() < 0.003
    assert np.abs(shares(None) - 1 / 8).max() < 0.06  # hypergeometric: five standard deviations of 0.0104


@pytest.mark.parametrize(("parts", "alpha", "message"), [
    (0, None, "cannot be dealt to 0 workers"), (6, None, "5 samples cannot be dealt to 6 workers; there must be 1 to 5"),
    (2, 0.0, "concentration is 0.0; it must be above 0"), (2, float("nan"), "must be above 0"),
])
def test_what_cannot_be_dealt_is_said(parts: int, alpha: float | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        partition(np.zeros(5, np.int64), parts, np.random.default_rng(0), alpha)
