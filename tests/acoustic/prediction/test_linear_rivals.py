"""The rivals of nearest neighbours do what they are good at."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.acoustic.prediction.feeding import after
from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.ar import Ar
from toolkit.acoustic.prediction.combination import Combination
from toolkit.acoustic.prediction.evaluate import errors, rolling
from toolkit.acoustic.prediction.ewma import Ewma
from toolkit.acoustic.prediction.harmonic import COURSE_CELLS, TIDES_AND_DAY_S, Harmonic
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.lagged_features import LaggedFeatures
from toolkit.acoustic.prediction.lags_and_phases import LagsAndPhases
from toolkit.acoustic.prediction.moving_average import MovingAverage
from toolkit.acoustic.prediction.seasonal_naive import SeasonalNaive

STEP_S = 1800.0


def fed(part: Predictor, values):
    state = part.init()
    for index, value in enumerate(values):
        if value == value:
            part.update(state, (index + 0.5) * STEP_S, float(value))
    return state


def ask(part: Predictor, state, cells: int, ahead: int):
    return part.predict(state, (cells - 1 + ahead + 0.5) * STEP_S)


def test_an_average_by_hand() -> None:
    part = Ewma(alpha=0.5)
    assert ask(part, fed(part, [4.0, 8.0, 2.0]), 3, 5).mean_db == 0.5 * 2 + 0.5 * (0.5 * 8 + 0.5 * 4)


def test_one_period_ago() -> None:
    part = SeasonalNaive(carry=False)
    state = fed(part, np.arange(100.0))
    assert ask(part, state, 100, 3).mean_db == 99 + 3 - 48
    assert ask(part, state, 100, 50).mean_db == 99 + 50 - 96


def test_autoregression_is_least_squares_and_knows_its_error() -> None:
    """On x[i+1] = 0.8 x[i] + e the error at h has variance (1 - 0.8^2h) / (1 - 0.8^2)."""
    rng = np.random.default_rng(2)
    values = np.zeros(2000)
    for i in range(1, len(values)):
        values[i] = 0.8 * values[i - 1] + rng.standard_normal()
    part = Ar(order=1, ridge=0.0)
    state = fed(part, values + 10.0)
    for ahead in (1, 4):
        forecast = ask(part, state, 2000, ahead)
        slope, base = np.polyfit(values[:-ahead], values[ahead:], 1)
        assert forecast.mean_db == pytest.approx(10 + base + slope * values[-1], abs=0.03)
        assert forecast.std_db == pytest.approx(np.sqrt((1 - 0.8 ** (2 * ahead)) / (1 - 0.64)), rel=0.1)


def test_a_fit_does_not_depend_on_when_one_asks() -> None:
    values = 10 + 3 * np.sin(np.arange(200) / 7) + np.random.default_rng(1).standard_normal(200)
    part = Ar(order=12)
    state = fed(part, values[:180])
    asked = [ask(part, state, 180, 1)]
    for index in range(180, 200):
        part.update(state, (index + 0.5) * STEP_S, float(values[index]))
        asked.append(ask(part, state, index + 1, 1))
    assert asked[-1] == ask(part, fed(part, values), 200, 1)


def test_a_renewed_fit_is_paid_for() -> None:
    part = Ar(order=12)
    state = fed(part, 10 + np.random.default_rng(1).standard_normal(200))
    ask(part, state, 200, 1)
    first = part.work(state).flops
    ask(part, state, 200, 1)
    assert part.work(state).flops == 2 * 12
    assert first > 2 * 200 * 12**2


def tidal(cells: int) -> np.ndarray:
    t_s = np.arange(cells) * STEP_S
    return 12 + sum(a * np.cos(2 * np.pi * t_s / p + a) for a, p in zip((3.0, 1.0, 0.5, 0.7, 2.0), TIDES_AND_DAY_S, strict=True))


def test_the_filter_follows_what_it_models() -> None:
    part = Harmonic(level_step_db=0.0, pair_step_db=0.0, noise_db=0.1, harmonics=1)
    values = tidal(1500)
    state = fed(part, values[:1440])
    for ahead in (1, 12, 48):
        assert ask(part, state, 1440, ahead).mean_db == pytest.approx(values[1439 + ahead], abs=0.05)


def test_links_that_miss_nothing_share_a_covariance_and_it_is_their_own() -> None:
    rng = np.random.default_rng(3)
    values = tidal(120) + rng.standard_normal(120)
    part = Harmonic()
    shared = fed(part, values)
    own = part.init()
    own.covariance = None
    for index, value in enumerate(values):
        part.update(own, (index + 0.5) * STEP_S, float(value))
        if index == 1:
            own.covariance = part._course[0].covariance  # from here on it keeps its own
    assert shared.covariance is None
    np.testing.assert_allclose(ask(part, shared, 120, 5), ask(part, own, 120, 5), atol=1e-9)
    assert len(part._course) <= COURSE_CELLS


def test_a_gap_makes_the_filter_less_sure_and_keeps_the_phase() -> None:
    part = Harmonic(level_step_db=0.1, pair_step_db=0.01, noise_db=0.5, harmonics=1)
    values = tidal(1600)
    gappy = values.copy()
    gappy[800:1500] = np.nan  # longer than the cells that are kept
    whole, holed = fed(part, values[:1501]), fed(part, gappy[:1501])
    one, other = ask(part, whole, 1501, 6), ask(part, holed, 1501, 6)
    assert other.std_db > one.std_db
    assert other.mean_db == pytest.approx(values[1506], abs=1.0)


def test_lags_and_phases_finds_a_tide_and_a_day_that_it_was_made_of() -> None:
    """A sum of known periods and an autoregression is what it can express: errors come near to those of the noise."""
    rng = np.random.default_rng(0)
    t = np.arange(1500)
    noise = np.zeros(1500)
    for i in range(1, 1500):
        noise[i] = 0.9 * noise[i - 1] + 0.3 * rng.standard_normal()
    values = 20 + 4 * np.cos(2 * np.pi * t * STEP_S / 44_714.16) + 3 * np.sin(2 * np.pi * t / 48) + noise
    found = rolling(LagsAndPhases(), values, 1000, (1, 6), stride=3)
    for ahead in (1, 6):
        best = 0.3 * math.sqrt((1 - 0.81**ahead) / (1 - 0.81))
        rmse = math.sqrt(np.mean(errors(values, found[ahead]) ** 2))
        assert best * 0.85 < rmse < 1.2 * best


def test_no_feature_lies_after_its_origin() -> None:
    """Changing what comes after a cell changes no feature of it."""
    row = np.random.default_rng(1).standard_normal(300)
    features = LaggedFeatures(5, (48, 50), (0.1,), 12)
    before = features.at(row, features.reach, 1.0, 0)
    for origin in (120, 121, 200):
        other = row.copy()
        other[origin + 1 :] = 99.0
        after_all = features.at(other, features.reach, 1.0, 0)
        np.testing.assert_array_equal(after_all[: origin - features.reach + 1], before[: origin - features.reach + 1])
    assert before.shape[1] == features.width


def test_a_combination_is_the_weighted_mean_of_its_members() -> None:
    values = 10 + np.random.default_rng(3).standard_normal(300).cumsum() * 0.3
    members = (Ar(order=2), SeasonalNaive())
    said = [after(part, values, 3) for part in members]
    equal, inverse = (after(Combination(parts=members, weights=weights), values, 3) for weights in ("equal", "inverse"))
    assert equal.mean_db == pytest.approx((said[0].mean_db + said[1].mean_db) / 2)
    assert equal.std_db == pytest.approx((said[0].std_db + said[1].std_db) / 2)
    weight = np.array([1 / one.std_db**2 for one in said])
    assert inverse.mean_db == pytest.approx(weight @ [one.mean_db for one in said] / weight.sum())


def test_members_that_cannot_answer_do_not_count() -> None:
    """A kNN without a past falls back; the other member answers alone, and then it is no falling back."""
    values = 10 + np.random.default_rng(3).standard_normal(30)
    both = after(Combination(parts=(Ar(order=2), Knn())), values, 1)
    assert both == after(Ar(order=2), values, 1)
    assert not both.fell_back


def test_a_misfit_is_carried_on_as_far_as_it_lasts() -> None:
    """Round a mean the series is an AR(1) of 0.8: the distance from a long mean is carried on by 0.8^h, and the spread is its error."""
    rng = np.random.default_rng(4)
    values = np.zeros(3000)
    for i in range(1, 3000):
        values[i] = 0.8 * values[i - 1] + rng.standard_normal()
    values[-1] = 4.0
    part = MovingAverage(window=2000, max_cells=4096)
    for ahead in (1, 4):
        said = after(part, values + 50.0, ahead)
        assert said.mean_db - 50.0 == pytest.approx(4.0 * 0.8**ahead, abs=0.5)
        assert said.std_db == pytest.approx(math.sqrt((1 - 0.64**ahead) / 0.36), rel=0.15)
