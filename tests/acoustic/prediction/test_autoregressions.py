"""ARMA, seasonal autoregression and adaptive filters find what made their data, and equal their batch forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.acoustic.prediction.feeding import STEP_S, after, ask, fed
from toolkit.acoustic.prediction.arma import Arma
from toolkit.acoustic.prediction.evaluate import Z90, errors, rolling
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.nlms import Nlms
from toolkit.acoustic.prediction.polynomials import LARGEST_ROOT, growth, run_on, shrunk
from toolkit.acoustic.prediction.rls import Rls
from toolkit.acoustic.prediction.seasonal_ar import SeasonalAr
from toolkit.errors import DataError


def process(n: int, ar=(), ma=(), seed: int = 0) -> np.ndarray:
    """x[t] = sum ar[lag] x[t-lag] + e[t] + sum ma[lag] e[t-lag], lags from 1, e of variance 1."""
    noise = np.random.default_rng(seed).standard_normal(n)
    values = np.zeros(n)
    for t in range(n):
        values[t] = noise[t] + sum(a * values[t - lag] for lag, a in enumerate(ar, 1) if t >= lag and a)
        values[t] += sum(b * noise[t - lag] for lag, b in enumerate(ma, 1) if t >= lag)
    return values


def test_errors_grow_as_the_psi_weights_say() -> None:
    """AR(1): (1 - a^2h) / (1 - a^2). MA(1): 1, then 1 + b^2. ARMA(1,1): psi_j = (a + b) a^(j-1)."""
    a, b = np.array([0.8]), np.array([0.5])
    assert growth(a, np.empty(0), 6) == pytest.approx((1 - 0.8**12) / (1 - 0.64))
    assert [growth(np.empty(0), b, h) for h in (1, 2, 9)] == [1.0, 1.25, 1.25]
    assert growth(a, b, 4) == pytest.approx(1 + 1.3**2 * (1 + 0.8**2 + 0.8**4))


def test_a_recursion_is_run_on() -> None:
    assert run_on(np.array([0.5, 0.25]), np.array([9.0, 4.0, 8.0]), np.array([1.0, 0.0]), 2) == 0.5 * (0.5 * 8 + 0.25 * 4 + 1) + 0.25 * 8


def test_an_unstable_recursion_is_shrunk_into_the_unit_circle_and_a_stable_one_left_alone() -> None:
    wild = np.array([1.5, 0.2, -0.1])
    roots = np.roots([1.0, *-shrunk(wild)])
    assert np.abs(roots).max() == pytest.approx(LARGEST_ROOT)
    calm = np.array([0.5, 0.2])
    assert shrunk(calm) is calm


def test_arma_finds_its_process() -> None:
    values = 10 + process(4000, ar=(0.8,), ma=(0.5,))
    part = Arma(p=1, q=1, max_cells=4096)
    state = fed(part, values)
    spreads = [ask(part, state, 4000, ahead).std_db for ahead in (1, 4)]
    assert state.fit.values[0] == pytest.approx(0.8, abs=0.05)
    assert state.fit.errors[0] == pytest.approx(0.5, abs=0.06)
    model = [math.sqrt(state.fit.variance * growth(state.fit.values, state.fit.errors, ahead)) for ahead in (1, 4)]
    assert model == pytest.approx([1.0, math.sqrt(1 + 1.3**2 * (1 + 0.8**2 + 0.8**4))], rel=0.06)
    assert spreads == pytest.approx(model, rel=0.2)


def test_arma_does_not_trust_itself_where_it_is_wrong() -> None:
    """A tide is no ARMA(4, 2) with a ridge: the model's own spread would hold half of the values, not nine in ten."""
    t = np.arange(900)
    values = 20 + 6 * np.cos(2 * np.pi * t / 12.42) + 3 * np.sin(2 * np.pi * t / 24) + np.random.default_rng(3).standard_normal(900)
    found = rolling(Arma(), values, 600, (3, 12))
    for h in (3, 12):
        assert 0.8 < np.mean(np.abs(errors(values, found[h])) <= Z90 * found[h][:, 2]) < 0.99


def test_arma_forecasts_from_the_errors_it_made() -> None:
    """MA(1): the forecast one cell ahead is b e[t] and nothing beyond; its error is that of knowing e."""
    values = process(1500, ma=(0.9,))
    part = Arma(p=1, q=1, ridge=0.0)
    found = rolling(part, values, 800, (1, 2))
    rmse = [math.sqrt(np.mean(errors(values, found[h]) ** 2)) for h in (1, 2)]
    assert rmse[0] == pytest.approx(1.0, abs=0.06)
    assert rmse[1] == pytest.approx(math.sqrt(1.81), abs=0.08)


def test_a_seasonal_autoregression_finds_its_factors() -> None:
    season = 12
    lags = np.zeros(season + 1)
    lags[0], lags[season - 1], lags[season] = 0.6, 0.7, -0.42  # (1 - 0.6 B)(1 - 0.7 B^12)
    values = 20 + process(2000, ar=tuple(lags))
    part = SeasonalAr(order=1, seasons_s=(season * STEP_S,))
    state = fed(part, values)
    forecast = ask(part, state, 2000, 1)
    np.testing.assert_allclose(state.fit.coefficients, lags, atol=0.05)
    assert forecast.std_db == pytest.approx(1.0, rel=0.06)
    expected = 20 + lags @ (values[-1 : -season - 2 : -1] - 20)
    assert forecast.mean_db == pytest.approx(expected, abs=0.4)


def test_two_seasons_enter_once_the_past_holds_two_of_them() -> None:
    part = SeasonalAr(order=1, seasons_s=(10 * STEP_S, 40 * STEP_S))
    young, old = fed(part, process(60)), fed(part, process(200))
    ask(part, young, 60, 1)
    ask(part, old, 200, 1)
    assert (len(young.fit.coefficients), len(old.fit.coefficients)) == (11, 51)


def environment(path: Path, n: int, seed: int = 5) -> np.ndarray:
    """Write wind and tide of *n* cells; the wind wanders, the tide turns."""
    rng = np.random.default_rng(seed)
    wind = 6 + 2 * process(n, ar=(0.9,), seed=seed)
    tide = np.cos(2 * np.pi * np.arange(n) / 24.84) + 0.1 * rng.standard_normal(n)
    rows = [f"{(i + 0.5) * STEP_S},{w:.12g},{x:.12g}" for i, (w, x) in enumerate(zip(wind, tide, strict=True))]
    path.write_text("t,wind,tide\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return np.stack([wind, tide], axis=1)


def test_the_surroundings_explain_what_they_cause(tmp_path: Path) -> None:
    around = environment(tmp_path / "sea.csv", 700)
    values = 30 - 1.5 * around[:, 0] + 4 * around[:, 1] + process(700, ar=(0.5,), seed=9)
    told = Exogenous(file=tmp_path / "sea.csv", time="t", columns=("wind", "tide"), known_ahead=("wind", "tide"))  # a perfect forecast
    part = SeasonalAr(order=1, seasons_s=(), exogenous=told)
    state = fed(part, values[:600])
    ask(part, state, 600, 1)
    np.testing.assert_allclose(state.fit.slopes, [-1.5, 4.0], atol=0.25)
    rmse = {}
    for name, exogenous in (("blind", None), ("seeing", told)):
        found = rolling(part.model_copy(update={"exogenous": exogenous}), values, 500, (6,), stride=3)[6]
        rmse[name] = math.sqrt(np.mean(errors(values, found) ** 2))
    assert rmse["seeing"] < 0.3 * rmse["blind"]


def test_surroundings_that_are_not_known_ahead_do_no_harm_and_no_interval_is_too_narrow(tmp_path: Path) -> None:
    """The present wind says something about the next hours, and its own errors have their place in the spread."""
    around = environment(tmp_path / "sea.csv", 900)
    values = 30 - 0.5 * around[:, 0] + 4 * around[:, 1] + process(900, seed=9)
    tide = Exogenous(file=tmp_path / "sea.csv", time="t", columns=("tide",), known_ahead=("tide",))
    both = Exogenous(file=tmp_path / "sea.csv", time="t", columns=("wind", "tide"), known_ahead=("tide",))
    rmse = {}
    for name, exogenous in (("tide", tide), ("both", both)):
        found = rolling(SeasonalAr(order=1, seasons_s=(), exogenous=exogenous), values, 500, (1, 6), stride=2)
        for h in (1, 6):
            gaps = errors(values, found[h])
            rmse[name, h] = math.sqrt(np.mean(gaps**2))
            assert 0.8 <= np.mean(np.abs(gaps) <= Z90 * found[h][:, 2]) <= 0.98, (name, h)
    assert rmse["both", 1] < rmse["tide", 1]
    assert rmse["both", 6] < 0.96 * rmse["tide", 6]


def test_the_surroundings_are_not_known_before_their_time(tmp_path: Path) -> None:
    environment(tmp_path / "sea.csv", 50)
    sea = Exogenous(file=tmp_path / "sea.csv", time="t", columns=("wind", "tide"), known_ahead=("tide",))
    cells = np.array([20.0, 26.0])
    wind, tide = sea.present_at(cells, STEP_S)[:, 0], sea.ahead_of(cells, STEP_S)[:, 0]
    assert wind[0] != wind[1]
    np.testing.assert_array_equal(sea.beside(np.array([20.0]), 6, STEP_S)[0], [wind[0], tide[1]])
    with pytest.raises(DataError, match="covers"):
        sea.ahead_of(np.array([60.0]), STEP_S)


def test_surroundings_are_averaged_per_cell_and_gaps_filled_without_looking_ahead(tmp_path: Path) -> None:
    rows = [(3600.0, 1.0), (4000.0, 3.0), (9100.0, 8.0)]  # cells 2, 2 and 5
    (tmp_path / "wind.csv").write_text("t,wind\n" + "\n".join(f"{t},{w}" for t, w in rows), encoding="utf-8")
    cells = np.array([2.0, 3.0, 4.0, 5.0])
    for known_ahead, expected in (((), [2.0, 2.0, 2.0, 8.0]), (("wind",), [2.0, 4.0, 6.0, 8.0])):
        sea = Exogenous(file=tmp_path / "wind.csv", time="t", columns=("wind",), known_ahead=known_ahead)
        np.testing.assert_allclose(sea.beside(cells, 0, STEP_S)[:, 0], expected)


@pytest.mark.parametrize(("text", "says"), [
    ("t,wind\n0,1\n0,2\n", "line 3: the time 0 is that of the row above"),
    ("t,wind\n5,1\n0,2\n", "line 3: the time 0 lies before"),
    ("t,wind\n2020-01-01T00:00,1\nsoon,2\n", "line 3: column 't' holds 'soon'"),
    ("t,wind\n0,1\n1,\n", "line 3: column 'wind' holds nothing"),
    ("t,gust\n0,1\n", "no column 'wind'"),
])
def test_a_bad_record_is_refused_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    sea = Exogenous(file=tmp_path / "bad.csv", time="t", columns=("wind",))
    with pytest.raises(DataError, match=says):
        sea.beside(np.array([0.0]), 0, STEP_S)


def test_lms_by_hand() -> None:
    """Order 1, one horizon: the weight starts at 1; each cell moves it along the error of what was said of it."""
    values = [2.0, 4.0, 1.0, 3.0]
    for normalised in (False, True):
        part = Nlms(order=1, mu=0.1, normalised=normalised, eps_db2=1.0, horizons_s=(STEP_S,))
        weight, centre = 1.0, 0.0
        said = None
        for count, value in enumerate(values[:-1], 1):  # the last cell is unfinished and teaches nothing yet
            if said is not None:
                u, c = said
                step = 0.1 / (1.0 + u * u) if normalised else 0.1
                weight += step * u * (value - c - weight * u)
            centre += (value - centre) / count
            said = (value - centre, centre)
        forecast = after(part, values, 1)
        assert forecast.mean_db == pytest.approx(centre + weight * (3.0 - centre))


def test_recursive_least_squares_is_ridge_regression() -> None:
    """Without forgetting the weights minimise the sum of squared errors plus |w - w_0|^2 / c, w_0 being persistence."""
    values = 10 + process(300, ar=(0.6, 0.3))
    part = Rls(order=2, forgetting=1.0, horizons_s=(STEP_S, 3 * STEP_S))
    state = fed(part, values)
    means = np.cumsum(values) / np.arange(1, 301)
    for row, ahead in enumerate((1, 3)):
        ends = np.arange(1, 299 - ahead)  # windows that ended so early that their target is a finished cell
        u = np.stack([values[ends - 1], values[ends]], axis=1) - means[ends][:, None]
        y = values[ends + ahead] - means[ends]
        start = np.array([0.0, 1.0])
        # the inverse at horizon h has seen the windows up to h cells ago, which are just those with a known target
        expected = np.linalg.solve(u.T @ u + np.eye(2) / state.start, u.T @ y + start / state.start)
        np.testing.assert_allclose(state.filter.weights[row], expected, atol=1e-6)


def test_a_quiet_link_does_not_blow_up_the_filter() -> None:
    part = Rls(order=4, forgetting=0.95)
    state = fed(part, [10.0] * 3000)
    assert np.abs(state.inverse).max() <= 100.0 + 1e-9
    assert ask(part, state, 3000, 1).mean_db == pytest.approx(10.0)


def test_a_filter_that_diverges_starts_again() -> None:
    part = Nlms(order=8, mu=1.9, normalised=False)
    forecast = after(part, 10 + 5 * process(300), 1)
    assert math.isfinite(forecast.mean_db)
    assert math.isfinite(forecast.std_db)


@pytest.mark.parametrize("part", [Nlms(order=12), Rls(order=12)])
def test_an_adaptive_filter_learns_a_sine(part) -> None:
    values = 10 + 4 * np.sin(2 * np.pi * np.arange(900) / 24)
    for ahead in (1, 6):
        assert after(part, values[:800], ahead).mean_db == pytest.approx(values[799 + ahead], abs=0.3)
