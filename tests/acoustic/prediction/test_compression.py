from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.prediction.series import series_a
from toolkit.acoustic.prediction.compression import ClusterStore, raw_nbytes, window_matrix_nbytes
from toolkit.acoustic.prediction.knn_compressed import KnnCompressed


def test_merging_is_the_same_as_counting_anew() -> None:
    """Check 5 of section 9: count, mean and second moment of a union equal recomputation."""
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


def test_two_clusters_merge_into_that_of_all_their_windows() -> None:
    """Check 5 of section 9: each cluster of a merged store equals the recomputation from its own windows."""
    rng = np.random.default_rng(4)
    centres = np.array([[0.0, 0.0], [1.0, 1.0], [50.0, 50.0]])
    which = rng.permutation(np.repeat([0, 1, 2], 30))
    features = centres[which] + 0.01 * rng.standard_normal((90, 2))
    targets = centres[which] * 3 + rng.standard_normal((90, 2))
    store = ClusterStore(2, 2, budget=3, theta_db=0.5)
    for f, t in zip(features, targets, strict=True):
        store.add(f, t)
    assert sorted(store.counts[:3]) == [30, 30, 30]
    store.merge_closest()
    assert store.size == 2
    for row in range(2):
        own = which < 2 if store.counts[row] == 60 else which == 2
        np.testing.assert_allclose(store.centroids[row], features[own].mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(store.means[row], targets[own].mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(store.moments[row], ((targets[own] - targets[own].mean(axis=0)) ** 2).sum(axis=0), atol=1e-9)


def test_a_forgetful_store_drops_what_is_small_and_old() -> None:
    store = ClusterStore(1, 1, budget=2, theta_db=0.1, forget=10.0)
    for value, times in ((0.0, 5), (5.0, 1), (9.0, 1)):
        for _ in range(times):
            store.add(np.array([value]), np.array([value]))
    assert sorted(store.centroids[:2, 0]) == [0.0, 9.0]  # 5 was as small as 9 and older; 0 is older still, but large
    for _ in range(80):
        store.add(np.array([9.0]), np.array([9.0]))
    store.add(np.array([5.0]), np.array([5.0]))
    assert sorted(store.centroids[:2, 0]) == [5.0, 9.0]
    assert store.nbytes == 2 * (1 + 2 + 4)


def test_the_spread_within_clusters_counts() -> None:
    store = ClusterStore(1, 1, budget=4, theta_db=1.0)
    for target in (0.0, 10.0):
        store.add(np.array([0.0]), np.array([target]))
    answer = store.lookup(np.array([0.0]), 1, 0.2)
    assert (answer.means_db[0], answer.variances[0]) == (5.0, 25.0)


def test_bytes_are_counted_against_both_yardsticks() -> None:
    """Check 5 of section 9: the window matrix flatters; the raw series is what a library needs."""
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


@pytest.mark.parametrize("forget_s", [0.0, 5 * 86_400.0])
def test_storage_is_told_against_both_yardsticks(forget_s: float) -> None:
    part = KnnCompressed(window=24, segments=6, budget=20, forget_s=forget_s)
    state = part.init()
    values = series_a(3)[:1000]
    for index, value in enumerate(values):
        part.update(state, (index + 0.5) * 1800.0, float(value))
    storage = part.storage(state)
    assert storage.raw_series == 1000
    assert storage.window_matrix == 8 * 24 * 977
    assert storage.recent_cells == 24 + 12 + 1
    assert storage.clusters == 20 * (6 + 10 + (4 if forget_s else 2))
    assert storage.of_raw_series == (storage.clusters + 37) / 1000
    assert storage.of_window_matrix < storage.of_raw_series
