from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.prediction.series import series_a
from toolkit.acoustic.prediction.compression import ClusterStore, raw_nbytes, window_matrix_nbytes
from toolkit.acoustic.prediction.knn_compressed import KnnCompressed


def test_merging_is_the_same_as_counting_anew() -> None:
    """Check 5: count, mean and second moment of a union equal recomputation."""
    rng = np.random.default_rng(1)
    features, targets = rng.standard_normal((40, 6)), rng.standard_normal((40, 3))
    store = ClusterStore(6, 3, budget=2, theta_db=0.0)
    store.add(features[0], targets[0])
    store.add(features[0] + 100, targets[1] + 50)
    for f, t in zip(features[1:], targets[2:], strict=False):
        store.add(f, t)
    first = int(np.argmin(store.centroids[: store.size, 0]))
    near_f = features[:39]
    near_t = np.concatenate([targets[:1], targets[2:]])
    assert store.counts[first] == 39
    np.testing.assert_allclose(store.centroids[first], near_f.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(store.means[first], near_t.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(store.moments[first], ((near_t - near_t.mean(axis=0)) ** 2).sum(axis=0), atol=1e-9)


@pytest.mark.parametrize("theta_db", [0.0, 0.5, 2.0])
def test_the_budget_holds_and_no_window_is_lost(theta_db: float) -> None:
    rng = np.random.default_rng(2)
    store = ClusterStore(4, 1, budget=10, theta_db=theta_db)
    for count in range(1, 200):
        store.add(rng.standard_normal(4) * 3, rng.standard_normal(1))
        assert store.size <= 10
        assert store.counts[: store.size].sum() == count


def test_bytes_are_counted_against_both_yardsticks() -> None:
    """Check 5: the window matrix flatters; the raw series is what a library needs."""
    store = ClusterStore(6, 1, budget=600, theta_db=1.5)
    values = np.tile(series_a(0, 30), 2)
    for end in range(47, len(values) - 6):
        store.add(values[end - 47 : end + 1].reshape(6, -1).mean(axis=1), values[end + 6 : end + 7])
    assert store.nbytes == store.size * (6 + 2 + 2)
    assert raw_nbytes(len(values)) == 2880
    assert window_matrix_nbytes(len(values), 48) == 8 * 48 * 2833
    assert window_matrix_nbytes(len(values), 48) / store.nbytes > 100 > raw_nbytes(len(values)) / store.nbytes


def test_a_predictor_with_a_budget_keeps_it() -> None:
    part = KnnCompressed(window=24, segments=6, budget=20)
    state = part.init()
    for index, value in enumerate(series_a(3)[:1000]):
        part.update(state, (index + 0.5) * 1800.0, float(value))
        assert state.store.size <= 20
    assert state.store.windows == 1000 - 24 - 12
