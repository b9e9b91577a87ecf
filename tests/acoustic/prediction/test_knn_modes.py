"""What kNN makes of its neighbours, what else it compares, and the store of rounded windows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.acoustic.prediction.feeding import STEP_S, after, ask, fed
from toolkit.acoustic.prediction.evaluate import errors, rolling
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.knn_compressed import KnnCompressed
from toolkit.acoustic.prediction.knn_modes import local_linear
from toolkit.acoustic.prediction.quantised import QuantisedStore

VALUES = [1.0, 3, 6, 20, 11, 13, 16, 30, 21, 23]
"""1, 3, 6 and 11, 13, 16 are one shape at two levels; now it is at 21, 23."""


def test_centred_windows_by_hand() -> None:
    """Less their means the two windows of that shape are equal to now's; each target counts 3 dB above its window's last cell."""
    assert after(Knn(window=2, k=2, mode="centered", same_phase_s=()), VALUES, 1).mean_db == pytest.approx(26.0)
    assert after(Knn(window=2, k=2, mode="level", same_phase_s=()), VALUES, 1).mean_db < 24.0


def test_increments_by_hand() -> None:
    """The window nearest in level, (20, 11) of all, was followed by + 2."""
    part = Knn(window=2, k=1, mode="delta", same_phase_s=())
    gaps = {(3, 6): 14, (6, 20): -9, (20, 11): 2, (11, 13): 3, (13, 16): 14, (16, 30): -9, (30, 21): 2}
    nearest = min(gaps, key=lambda window: (window[0] - 21) ** 2 + (window[1] - 23) ** 2)
    assert after(part, VALUES, 1).mean_db == 23 + gaps[nearest]


@pytest.mark.parametrize("mode", ["centered", "delta"])
def test_modes_that_follow_the_level_do_so(mode: str) -> None:
    """A level never seen before is no hindrance: the history and the same one 30 dB up end in forecasts 30 dB apart."""
    shape = np.tile([0.0, 4, 7, 3, 1], 12)
    part = Knn(window=5, k=3, mode=mode, same_phase_s=(), eps_db=1e-6)
    values = np.concatenate([shape, 30 + shape[:7]])
    if mode == "centered":  # delta looks for windows of the same level, and there are but two
        assert after(part, values, 1).mean_db == pytest.approx(37.0, abs=0.1)
    else:
        assert after(part, 30 + shape, 1).mean_db == pytest.approx(30 + after(part, shape, 1).mean_db)


def test_a_local_line_is_weighted_ridge_regression() -> None:
    rng = np.random.default_rng(1)
    features, targets, query = rng.standard_normal((9, 4)), rng.standard_normal(9), rng.standard_normal(4)
    weight = rng.random(9)
    weight /= weight.sum()
    centre, level = weight @ features, weight @ targets
    rows = np.sqrt(weight)[:, None] * (features - centre)
    ridge = 0.1 * np.trace(rows.T @ rows) / 4
    slopes = np.linalg.solve(rows.T @ rows + ridge * np.eye(4), rows.T @ (np.sqrt(weight) * (targets - level)))
    value, _ = local_linear(features, query, targets, weight, 0.1)
    assert value == pytest.approx(level + (query - centre) @ slopes)


def test_a_local_line_is_judged_by_targets_that_it_was_not_fitted_to() -> None:
    """Each target is left out in turn: the weighted ridge regression of the others, by hand, misses it by what is said."""
    rng = np.random.default_rng(2)
    features, targets, weight = rng.standard_normal((9, 3)), rng.standard_normal(9), rng.random(9)
    weight /= weight.sum()
    _, gaps = local_linear(features, rng.standard_normal(3), targets, weight, 0.3)
    inputs = np.column_stack([np.ones(9), features - weight @ features])
    rows = np.sqrt(weight)[:, None] * inputs[:, 1:]
    penalty = np.diag([0.0] + [0.3 * np.trace(rows.T @ rows) / 3] * 3)
    for left_out, gap in enumerate(gaps):
        others = np.diag(np.where(np.arange(9) == left_out, 0.0, weight))
        line = np.linalg.solve(inputs.T @ others @ inputs + penalty, inputs.T @ others @ targets)
        assert gap == pytest.approx(targets[left_out] - inputs[left_out] @ line, rel=1e-9)


def test_a_local_line_follows_a_linear_map_that_a_mean_cannot() -> None:
    """x[t+1] = 0.9 x[t]: at 9, beyond all neighbours (8 and 7.2), the mean of their targets stays behind and the line does not."""
    values = [*np.tile([8.0, 7.2, 6.48, 5.832], 5), 9.0]
    settings = {"window": 1, "k": 10, "same_phase_s": (), "weights": "uniform"}
    assert after(Knn(mode="local_linear", ridge=1e-9, **settings), values, 1).mean_db == pytest.approx(8.1, abs=1e-3)
    assert after(Knn(mode="level", **settings), values, 1).mean_db == pytest.approx((7.2 + 6.48) / 2)


@pytest.mark.parametrize("mode", ["level", "centered", "delta", "local_linear"])
def test_the_floor_of_the_spread_is_that_of_the_same_method(mode: str) -> None:
    """The floor equals the root mean square of forecasts that the same part made at the origins it is taken from."""
    rng = np.random.default_rng(3)
    values = 10 + 3 * np.sin(np.arange(120) / 4) + rng.standard_normal(120)
    part = Knn(window=6, k=5, mode=mode, weights="gaussian", same_phase_s=(), phase_periods_s=(86_400.0,), phase_db=3.0)
    state = fed(part, values)
    floor = part._floor_db(state, 2)
    past = values[:96]  # what lies before the present block of 24 cells
    gaps = [after(part, past[: origin + 1], 2).mean_db - past[origin + 2] for origin in range(70, 94)]
    assert floor == pytest.approx(math.sqrt(np.mean(np.square(gaps))), rel=1e-6)


def test_the_surroundings_tell_windows_apart(tmp_path: Path) -> None:
    """What follows a calm stretch is decided by a column that is known ahead; the window alone cannot tell."""
    rng = np.random.default_rng(4)
    switch = np.repeat(rng.integers(0, 2, 60), 8).astype(float)
    values = 10 + 6 * switch + 0.3 * rng.standard_normal(480)
    rows = "\n".join(f"{(i + 0.5) * STEP_S},{s:g}" for i, s in enumerate(switch))
    (tmp_path / "ship.csv").write_text(f"t,near\n{rows}\n", encoding="utf-8")
    sea = Exogenous(file=tmp_path / "ship.csv", time="t", columns=("near",), known_ahead=("near",))
    rmse = {}
    for name, exogenous in (("blind", None), ("told", sea)):
        part = Knn(window=3, k=5, same_phase_s=(), exogenous=exogenous, exogenous_db=20.0)
        found = rolling(part, values, 300, (4,), stride=3)[4]
        rmse[name] = math.sqrt(np.mean(errors(values, found) ** 2))
    assert rmse["told"] < 1.0 < 2.5 < rmse["blind"]


def test_the_spread_counts_the_surroundings_too(tmp_path: Path) -> None:
    """With a column that decides everything the residual floor is small as well, so the forecast is sure."""
    rng = np.random.default_rng(5)
    switch = np.repeat(rng.integers(0, 2, 40), 8).astype(float)
    rows = "\n".join(f"{(i + 0.5) * STEP_S},{s:g}" for i, s in enumerate(switch))
    (tmp_path / "ship.csv").write_text(f"t,near\n{rows}\n", encoding="utf-8")
    sea = Exogenous(file=tmp_path / "ship.csv", time="t", columns=("near",), known_ahead=("near",))
    values = 10 + 6 * switch + 0.3 * rng.standard_normal(320)
    blind, told = (Knn(window=3, k=5, same_phase_s=(), exogenous=e, exogenous_db=20.0) for e in (None, sea))
    assert after(told, values[:300], 4).std_db < 1.5 < after(blind, values[:300], 4).std_db


def test_a_rounded_window_finds_its_cell() -> None:
    store = QuantisedStore(2, 1, budget=10, quantum_db=2.0)
    for features, target in (([1.2, 2.9], 4.0), ([2.9, 2.1], 8.0), ([9.0, 9.0], 1.0)):
        store.add(np.array(features), np.array([target]))
    assert store.size == 2  # 1.2 and 2.9 both round to one step of 2 dB, so do 2.9 and 2.1
    cell = store.cells[(1, 1)]
    assert (cell.count, cell.means[0], cell.moments[0]) == (2.0, 6.0, 8.0)
    answer = store.lookup(np.array([2.0, 2.0]), 1, 0.2)
    assert (answer.means_db[0], answer.variances[0], store.looked_up) == (6.0, 4.0, 2)


def test_the_cells_around_are_asked_before_all_of_them() -> None:
    store = QuantisedStore(2, 1, budget=10, quantum_db=1.0)
    for place in ((0.0, 0.0), (1.0, 0.0), (0.0, -1.0), (5.0, 5.0)):
        store.add(np.array(place), np.array([10.0 * sum(place)]))
    near = store.lookup(np.array([0.1, 0.0]), 3, 0.2)
    assert store.looked_up == 3 * 2
    weight = 1 / (np.sqrt(np.array([0.005, 0.405, 0.505])) + 0.2)
    assert near.means_db[0] == pytest.approx(weight @ [0, 10, -10] / weight.sum())
    store.lookup(np.array([0.0, 0.0]), 4, 0.2)
    assert store.looked_up == 4 * 2


def test_a_full_store_of_rounded_windows_drops_what_is_small_and_old() -> None:
    store = QuantisedStore(1, 1, budget=2, quantum_db=1.0, forget=10.0)
    for value, times in ((0.0, 5), (5.0, 1), (9.0, 1)):
        for _ in range(times):
            store.add(np.array([value]), np.array([value]))
    assert sorted(store.cells) == [(0,), (9,)]
    assert store.nbytes == 2 * (1 + 2 + 4)


def test_a_fine_enough_store_of_either_kind_is_the_library_itself() -> None:
    """With room for every window and steps of almost nothing both stores hold each window by itself, and say the same."""
    values = 10 + 3 * np.sin(np.arange(200) / 5) + 0.5 * np.random.default_rng(2).standard_normal(200)
    settings = {"window": 8, "segments": 8, "budget": 400, "k": 3, "horizons_s": (STEP_S,), "carry": False, "eps_db": 0.2}
    clusters = KnnCompressed(theta_db=0.0, **settings)
    rounded = KnnCompressed(store="quantised", quantum_db=1e-6, **settings)
    library = Knn(window=8, k=3, same_phase_s=(), eps_db=0.2, mode="level")
    one, other, all_windows = (ask(part, fed(part, values), 200, 1).mean_db for part in (clusters, rounded, library))
    assert one == pytest.approx(all_windows, abs=1e-6)
    assert other == pytest.approx(all_windows, abs=1e-4)


def test_a_cell_is_paid_for_when_it_is_taken_in() -> None:
    part = KnnCompressed(window=8, segments=4, budget=30, k=3, theta_db=0.1)
    state = fed(part, 10 + np.random.default_rng(2).standard_normal(300))
    compared = 2 * 30 * 4 + state.store.spent
    assert state.store.spent >= 30 * 4
    assert part.work(state).flops == 2 * 8 + 3 * compared + 20 * 3 + 6 * 4
