"""Laws of predictors: deterministic, blind to what has not happened, honest about how sure they are, and ignorant of the unit.

A predictor that looks at the channel itself (`sees_truth`) is asked the first four alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.prediction.evaluate import errors, evaluate, rolling
from toolkit.acoustic.prediction.persistence import Persistence
from toolkit.laws import require

Floats = NDArray[np.float64]
STEP_S = 1800.0
"""The grid step that predictors have unless told otherwise, and that these laws feed them at."""
SCALES = ((2.0**-10, 0.0), (2.0**17, 0.0), (-1.0, 0.0), (1e-3, 0.0), (1e5, 0.0), (1.0, 101_325.0))
"""Factors and offsets of a series in other units."""


def fed(part: Predictor, values: Sequence[float] | Floats, censored: Collection[int] = ()) -> Any:
    """Return the state of a link that has heard *values*, one in the middle of each cell; those at *censored* were not heard."""
    state = part.init(lambda at_s: 12.0)
    for index, value in enumerate(values):
        if value == value:
            part.update(state, (index + 0.5) * STEP_S, float(value), censored=index in censored)
    return state


def ask(part: Predictor, state: Any, index: int, ahead: int) -> Forecast:
    """Return the forecast so many cells after that of *index*.

    Raises:
        LawBroken: there is none, though something was heard.
    """
    forecast = part.predict(state, (index + ahead + 0.5) * STEP_S)
    require(forecast is not None, f"after {index + 1} cells it has no forecast {ahead} ahead; None is for links that heard nothing")
    assert forecast is not None
    return forecast


def wavy(n: int, seed: int = 0) -> Floats:
    """Return a day of 48 cells, over and over, with noise of 1 dB."""
    rng = np.random.default_rng(seed)
    values: Floats = 12 + 5 * np.sin(2 * np.pi * np.arange(n) / 48) + rng.standard_normal(n)
    return values


def nothing_is_known_before_the_first_sample(part: Predictor) -> None:
    """`predict` is None while nothing was ever heard."""
    require(part.predict(part.init(lambda at_s: 1.0), 100.0) is None, "it forecasts a link of which nothing was heard")


def the_same_samples_give_the_same_forecast(part: Predictor) -> None:
    """Also from a part that has served other, older links before, and after a gap."""
    for gap in (0, 5):
        values = wavy(150)
        values[60 : 60 + gap] = np.nan
        ask(part, fed(part, wavy(300)), 299, 6)
        first, second = fed(part, values), fed(part, values)
        for ahead in (1, 6):
            require(ask(part, first, 149, ahead) == ask(part, second, 149, ahead), f"two links with the same samples differ {ahead} ahead")


def asking_changes_nothing(part: Predictor) -> None:
    """Forecasts after many questions are those after none."""
    values = wavy(200)
    quiet, asked = fed(part, values), fed(part, values[:150])
    for index in range(150, 200):
        for ahead in (1, 3, 12):
            ask(part, asked, index - 1, ahead)
        part.update(asked, (index + 0.5) * STEP_S, float(values[index]))
    for ahead in (1, 3, 12):
        require(ask(part, asked, 199, ahead) == ask(part, quiet, 199, ahead), f"forecasts {ahead} ahead depend on what was asked before")


def asking_within_a_cell_that_ends_a_gap_changes_nothing(part: Predictor) -> None:
    """The line drawn over a gap moves with every sample of the cell that ends it; nothing kept may have read it.

    What predictors keep they renew at multiples of 24 cells (168 is one), so the gaps end there, or reach over one.
    """
    values = wavy(185)
    for gap, past_block in ((gap, past) for gap in (1, 4, 9) for past in (0, 2)):
        first = 168 + past_block - gap
        heard = [index for index in range(185) if not first <= index < first + gap]
        samples = [(index + share, values[index] + 6.0 * share) for index in heard for share in (0.1, 0.9)]
        states = [part.init(lambda at_s: 12.0) for _ in range(2)]
        for place, value in samples:
            for asked, state in zip((True, False), states, strict=True):
                part.update(state, place * STEP_S, float(value))
                if asked and place > 160:
                    for ahead in (1, 3, 12):
                        part.predict(state, (place + ahead) * STEP_S)
        for ahead in (1, 3, 12):
            one, other = (part.predict(state, (184.9 + ahead) * STEP_S) for state in states)
            require(one == other, f"after a gap of {gap} cells forecasts {ahead} ahead depend on what was asked in the cell that ended it")


def the_future_is_not_seen(part: Predictor) -> None:
    """Forecasts at a time are the same, whatever is fed later."""
    one, other = wavy(260), wavy(260)
    other[200:] = 100.0
    for ahead in (1, 6):
        early = [rolling(part, values, 150, (ahead,), stride=7)[ahead] for values in (one, other)]
        before = early[0][:, 0] - ahead < 200
        require(np.array_equal(early[0][before], early[1][before], equal_nan=True), "forecasts change with what is heard after them")


def white_noise_cannot_be_forecast(part: Predictor) -> None:
    """Errors below 0.98 of the standard deviation would be a leak."""
    values = np.random.default_rng(5).standard_normal(1200) * 3.0 + 10.0
    for ahead, forecasts in rolling(part, values, 400, (1, 2, 6, 12), stride=3).items():
        share = math.sqrt(float(np.mean(errors(values, forecasts) ** 2))) / values[400:].std()
        require(share >= 0.98, f"errors on white noise are {share:.3f} of its standard deviation {ahead} ahead: it has seen the answers")


def the_spread_is_honest(part: Predictor) -> None:
    """Of white noise about nine in ten values fall within the 90 % interval; a model that expects wandering is less sure."""
    values = np.random.default_rng(6).standard_normal(900) * 3.0 + 10.0
    for score in evaluate({"it": part}, values, 300, (1, 6), stride=2):
        require(0.84 <= score.coverage90 <= 0.985, f"{score.coverage90:.2f} of white noise falls within its 90 % interval (std_db)")


def a_constant_stays_constant(part: Predictor) -> None:
    """After 200 cells of 12 dB it expects 12 dB."""
    state = fed(part, np.full(200, 12.0))
    for ahead in (1, 2, 6, 12, 48):
        forecast = ask(part, state, 199, ahead)
        require(abs(forecast.mean_db - 12.0) <= 0.5, f"after nothing but 12 dB it expects {forecast.mean_db:.2f} dB {ahead} ahead")
        require(0.0 <= forecast.std_db < 8.0, f"after nothing but 12 dB it is unsure by {forecast.std_db:.2f} dB")


def young_links_get_a_finite_answer(part: Predictor) -> None:
    """From the first sample on."""
    for cells in (1, 2, 5, 20, 50, 100):
        state = fed(part, wavy(cells))
        for ahead in (1, 12):
            _require_finite(ask(part, state, cells - 1, ahead), f"after {cells} cells")


def gaps_and_silence_are_taken(part: Predictor) -> None:
    """Cells that nobody heard, and frames that failed (`censored`)."""
    values = wavy(250)
    values[60:64] = values[150:180] = values[248] = np.nan
    state = fed(part, values, censored=set(range(100, 120)))
    for ahead in (1, 6):
        _require_finite(ask(part, state, 249, ahead), "with gaps")


def _require_finite(forecast: Forecast, when: str) -> None:
    require(math.isfinite(forecast.mean_db), f"{when} it expects {forecast.mean_db} dB")
    require(math.isfinite(forecast.std_db) and forecast.std_db >= 0, f"{when} it is unsure by {forecast.std_db} dB")


def silence_lowers_what_is_expected(part: Predictor) -> None:
    """Frames that fail leave censored samples, not a history of the good times."""
    heard, silent = fed(part, np.full(150, 10.0)), fed(part, [*np.full(50, 10.0), *np.full(100, 4.0)], censored=set(range(50, 150)))
    fall_db = ask(part, heard, 149, 1).mean_db - ask(part, silent, 149, 1).mean_db
    require(fall_db > 1.0, f"hundred frames that failed lower its forecast by {fall_db:.2f} dB (samples that are `censored`)")


def a_day_that_repeats_is_not_made_much_worse_than_persistence(part: Predictor) -> None:
    """Errors six cells ahead are at most 1.15 of those of the last value."""
    values = (12 + 6 * (np.arange(480) % 48 < 20)).astype(float)
    mine, last = (
        math.sqrt(float(np.mean(errors(values, rolling(which, values, 300, (6,))[6]) ** 2))) for which in (part, Persistence())
    )
    require(mine <= 1.15 * last, f"on a day that repeats its errors are {mine / last:.2f} of those of the last value")


def every_forecast_has_a_price(part: Predictor) -> None:
    """`work` says what one `predict` asks of the processor."""
    state = fed(part, wavy(120))
    ask(part, state, 119, 1)
    work = part.work(state)
    require(work.flops > 0 and work.read_bytes > 0, f"`work` says {work.flops:g} operations and {work.read_bytes:g} bytes read")


def no_predictor_knows_the_unit(part: Predictor, scales: Sequence[tuple[float, float]] = SCALES, scaled: Predictor | None = None) -> None:
    """Forecasts and spreads of a x + b are a times those of x, and b more; *scaled* is the part whose settings are in the new unit."""
    values = wavy(260, 3)
    values[120:123] = values[200:204] = np.nan
    size = float(np.nanstd(values))
    for a, b in scales:
        for ahead in (1, 6):
            one, other = (
                rolling(which, row, 150, (ahead,), stride=9)[ahead] for which, row in ((part, values), (scaled or part, a * values + b))
            )
            tolerance = 1e-6 if b else 1e-7
            same = np.allclose((other[:, 1] - b) / a / size, one[:, 1] / size, rtol=1e-7, atol=tolerance)
            sure = np.allclose(other[:, 2] / abs(a) / size, one[:, 2] / size, rtol=1e-7, atol=tolerance)
            require(same and sure, f"{'forecasts' if not same else 'spreads'} of {a:g} x + {b:g} are not those of x in another unit")


def what_is_no_forecast_of_its_own_is_marked(part: Predictor) -> None:
    """The first answers of a method that needs a past are the last value, and say so (`fell_back`); later ones are its own."""
    state = fed(part, wavy(2))
    first = ask(part, state, 1, 2)
    require(not first.fell_back or abs(first.mean_db - wavy(2)[-1]) < 1e-6, "it says that it fell back, and not to the last value")
    state = fed(part, wavy(300))
    for ahead in (1, 2, 6, 12):
        require(not ask(part, state, 299, ahead).fell_back, f"after 300 cells it still falls back {ahead} ahead")


def half_of_the_samples_are_enough(part: Predictor) -> None:
    """No method turns into the last value in silence when samples are missing: forecasts are its own, and no worse than persistence."""
    values = wavy(900, 4)
    truth = values.copy()
    values[np.random.default_rng(5).random(900) < 0.5] = np.nan
    rows, last = (rolling(which, values, 500, (6,), stride=3)[6] for which in (part, Persistence()))
    mine, theirs = (math.sqrt(np.mean((found[:, 1] - truth[found[:, 0].astype(int)]) ** 2)) for found in (rows, last))
    fell_back = float(rows[:, 3].mean())
    allowed = 0.8 if part.keeps_horizons else 0.0
    require(fell_back <= allowed, f"with every other sample missing {fell_back:.2f} of its answers are the last value's")
    require(mine < 1.1 * theirs, f"with every other sample missing its errors are {mine / theirs:.2f} of those of the last value")


def _blind(law: Any) -> Any:
    """Ask a law of those alone that do not look at the channel."""
    import functools

    @functools.wraps(law)
    def asked(part: Predictor, *arguments: Any, **settings: Any) -> None:
        if not part.sees_truth:
            law(part, *arguments, **settings)

    return asked


LAWS = (
    nothing_is_known_before_the_first_sample, the_same_samples_give_the_same_forecast, asking_changes_nothing,
    asking_within_a_cell_that_ends_a_gap_changes_nothing,
    *map(_blind, (
        the_future_is_not_seen, white_noise_cannot_be_forecast, the_spread_is_honest,
        a_constant_stays_constant, young_links_get_a_finite_answer, gaps_and_silence_are_taken, silence_lowers_what_is_expected,
        a_day_that_repeats_is_not_made_much_worse_than_persistence, every_forecast_has_a_price, no_predictor_knows_the_unit,
        what_is_no_forecast_of_its_own_is_marked, half_of_the_samples_are_enough,
    )),
)
