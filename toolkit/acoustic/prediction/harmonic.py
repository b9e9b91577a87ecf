"""Harmonic Kalman filter: a level that wanders plus one rotating pair per tidal and daily period.

Source: harmonic state-space models (Harvey 1989, ch. 2; the common scale of all variances concentrated out of the likelihood, ch. 3);
periods of the main tidal constituents. Departures: the ratios of the variances are hyper-parameters and only their scale is fitted,
for each horizon from its own past errors; a censored sample is entered as in the shared grid, not as a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import fall_back
from toolkit.acoustic.prediction.series import PRIOR_STD_DB, Floats, MarginDb, MaxCells, SnrSeries
from toolkit.acoustic.prediction.statespace import mixed_scale
from toolkit.core.bounds import Positive
from toolkit.core.work import Work

TIDES_AND_DAY_S = (44_714.16, 43_200.0, 86_164.2, 92_949.5, 86_400.0)
"""M2, S2, K1, O1 and the solar day."""

PAST_CELLS = 192
"""Cells from which past forecasts are judged."""
COURSE_CELLS = 2048
"""Filter steps without a missing cell that links share; after them each link keeps its own covariance."""


class Model(NamedTuple):
    """Of a state of size n: transition of one cell (n, n), variances of its random steps (n, n), the row that reads the SNR (n,)."""

    turn: Floats
    steps: Floats
    read: Floats


class Measured(NamedTuple):
    """A measured cell: gain (n,) and covariance after it (n, n)."""

    gain: Floats
    covariance: Floats


@dataclass(slots=True)
class HarmonicState:
    """Mean (n,) in dB, filtered through `steps` finished cells, and its covariance (n, n).

    Gain and covariance do not depend on the values, only on which cells are there. As long as none is missing they are those of
    every other such link, and `covariance` is None.
    """

    series: SnrSeries
    mean: Floats
    base_db: float = 0.0
    """The first value, from which all are counted: what lies far from 0 is no surprise."""
    covariance: Floats | None = None
    steps: int = 0
    past: Floats = field(init=False)
    """Means after the last finished cells, newest at `kept` - 1 (rows, n); NaN where a cell was missing."""
    kept: int = 0

    def __post_init__(self) -> None:
        self.past = np.empty((32, len(self.mean)))

    def keep(self, row: Floats | float) -> None:
        if self.kept == len(self.past):
            rows = self.past[-PAST_CELLS:]
            self.past = np.empty((min(2 * len(self.past), 2 * PAST_CELLS), len(self.mean)))
            self.past[: len(rows)] = rows
            self.kept = len(rows)
        self.past[self.kept] = row
        self.kept += 1


@final
class Harmonic(Predictor):
    """State-space harmonic regression: x = (level, c_1, s_1, …); each pair turns by its frequency per cell.

    K = P H' / (H P H' + r). Level and pairs take small random steps, so that amplitudes may change. `harmonics` adds multiples of the
    daily frequency, for noise that is no sinusoid. A missing cell is a step without a measurement. The spread is the filter's own,
    scaled, per horizon, by how far past forecasts were off. This is the fair rival of kNN wherever periods are known.
    """

    periods_s: tuple[Positive, ...] = Field(TIDES_AND_DAY_S, min_length=1, description="periods")
    harmonics: int = Field(2, ge=1, le=8, description="multiples of the daily frequency, 1 for the day alone")
    level_step_db: float = Field(1.0, ge=0, description="standard deviation of the level's step per cell")
    pair_step_db: float = Field(0.05, ge=0, description="standard deviation of a pair's step per cell")
    noise_db: float = Field(0.3, gt=0, description="standard deviation of a cell around the model; only ratios of these count")
    prior_db: float = Field(3.0, gt=0, description="standard deviation of the amplitudes before any sample")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> HarmonicState:
        return HarmonicState(SnrSeries(self.step_s, self.margin_db, self.max_cells), np.zeros(1 + 2 * len(self._turns)))

    @cached_property
    def _turns(self) -> Floats:
        """Radians per cell of each pair."""
        daily = [86_400.0 / multiple for multiple in range(2, self.harmonics + 1)]
        periods = [*self.periods_s, *(p for p in daily if not any(abs(p - q) < 60.0 for q in self.periods_s))]
        return 2.0 * np.pi * self.step_s / np.array(periods)

    @cached_property
    def _model(self) -> Model:
        size = 1 + 2 * len(self._turns)
        steps = np.diag([self.level_step_db**2, *[self.pair_step_db**2] * (size - 1)])
        return Model(self._transition(1), steps, self._row(0))

    def _transition(self, cells: int) -> Floats:
        matrix = np.eye(1 + 2 * len(self._turns))
        for index, turn in enumerate(self._turns * cells):
            place = 1 + 2 * index
            matrix[place : place + 2, place : place + 2] = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
        return matrix

    def _row(self, ahead: int) -> Floats:
        """The row that reads the SNR *ahead* cells later: H F^ahead."""
        row = np.ones(1 + 2 * len(self._turns))
        row[1::2] = np.cos(self._turns * ahead)
        row[2::2] = np.sin(self._turns * ahead)
        return row

    @cached_property
    def _course(self) -> list[Measured]:
        """The measurement of cells 1, 2, … of a link of which none is missing; grows as it is asked for."""
        size = 1 + 2 * len(self._turns)
        return [self._gain(np.diag([100.0, *[self.prior_db**2] * (size - 1)]))]

    @cached_property
    def _variances(self) -> dict[int, Floats]:
        """What `_shared_variances` worked out, by horizon in cells."""
        return {}

    def _gain(self, covariance: Floats) -> Measured:
        """Measure a cell."""
        spread = covariance @ self._model.read
        variance = float(spread @ self._model.read) + self.noise_db**2
        gain = spread / variance
        return Measured(gain, covariance - np.outer(gain, spread))

    def _ahead_of(self, covariance: Floats, cells: int = 1) -> Floats:
        """Covariance that many cells later without a measurement; a pair's random steps are the same in every direction."""
        turn = self._model.turn if cells == 1 else self._transition(cells)
        return turn @ covariance @ turn.T + cells * self._model.steps

    def _measured(self, state: HarmonicState) -> Measured:
        """The measurement of the cell after the finished ones."""
        if state.covariance is not None:
            return self._gain(self._ahead_of(state.covariance))
        return self._shared(state.steps)

    def _shared(self, index: int) -> Measured:
        """The measurement of cell *index* of a link of which no cell is missing."""
        course = self._course
        while len(course) <= index:
            course.append(self._gain(self._ahead_of(course[-1].covariance)))
        return course[index]

    def _shared_variances(self, count: int, row: Floats, ahead: int) -> Floats:
        """Variances in dB^2 of forecasts *ahead* cells ahead after 1, 2, … at least *count* cells of such a link."""
        known = self._variances.get(ahead)
        if known is None or len(known) < count:
            start = 0 if known is None else len(known)
            more = [self._variance(row, self._shared(index).covariance, ahead) for index in range(start, count + 48)]
            known = np.array(more) if known is None else np.concatenate([known, more])
            self._variances[ahead] = known
        return known

    def _filtered(self, state: HarmonicState, value: float) -> tuple[Floats, Floats]:
        """Mean and covariance with *value* as the cell after the finished ones."""
        measured = self._measured(state)
        value -= state.base_db
        mean = self._model.turn @ state.mean if state.steps else state.mean
        return mean + measured.gain * (value - float(self._model.read @ mean)), measured.covariance

    def update(self, state: HarmonicState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        closing = state.series.latest_db if state.series.samples else math.nan
        opened = state.series.update(t_s, snr_db, censored)
        if closing == closing and not state.steps and opened:
            state.base_db = closing
        if not opened or closing != closing:
            return
        state.mean, covariance = self._filtered(state, closing)
        state.keep(state.mean)
        state.steps += 1
        missing = opened - 1
        if missing:
            state.mean = self._transition(missing) @ state.mean
            covariance = self._ahead_of(covariance, missing)
            state.steps += missing
            for _ in range(min(missing, PAST_CELLS)):
                state.keep(math.nan)
        if missing or state.covariance is not None or state.steps >= COURSE_CELLS:
            state.covariance = covariance

    def predict(self, state: HarmonicState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: HarmonicState, ahead: int) -> Forecast:
        if not state.steps:
            return fall_back(state.series, ahead)
        mean, covariance = self._filtered(state, state.series.latest_db)  # the unfinished cell counts, but may still change
        row = self._row(ahead)
        variance = self._variance(row, covariance, ahead) * self._scale(state, row, ahead)
        return Forecast(state.base_db + float(row @ mean), math.sqrt(variance))

    def _variance(self, row: Floats, covariance: Floats, ahead: int) -> float:
        """The filter's own variance of a forecast in dB^2."""
        wander = ahead * (self.level_step_db**2 + len(self._turns) * self.pair_step_db**2)
        return max(float(row @ covariance @ row), 0.0) + wander + self.noise_db**2

    def _scale(self, state: HarmonicState, row: Floats, ahead: int) -> float:
        """Past squared errors of this horizon over the variances that a link without missing cells had then, on average."""
        values = state.series.values[:-1]
        count = min(state.kept, PAST_CELLS, len(values)) - ahead
        prior = (state.series.scale_db / PRIOR_STD_DB) ** 2
        if count <= 0:
            return prior
        end = min(state.steps - ahead, COURSE_CELLS)  # by then the covariance has long settled
        then = self._shared_variances(end, row, ahead)[end - count : end]
        gap = values[-count:] - state.base_db - state.past[state.kept - ahead - count : state.kept - ahead] @ row
        square = gap * gap / then
        if state.series.missing:
            square = square[square == square]
        return mixed_scale(float(square.sum()), len(square), prior)

    def work(self, state: HarmonicState) -> Work:
        """One filter step (two products of n x n matrices and an outer product), the forecast row, and n + 1 products per past error.

        As a node alone would do it, that is without sharing covariances.
        """
        n = 1.0 + 2.0 * len(self._turns)
        past = float(min(state.kept, PAST_CELLS))
        return Work(4.0 * n**3 + 10.0 * n**2 + 2.0 * (n + 2.0) * past, 32.0 * n**2 + 8.0 * n * past, 8.0 * n**2)
