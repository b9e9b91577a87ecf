"""Harmonic Kalman filter: a level that wanders plus one rotating pair per tidal and daily period."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work

TIDES_AND_DAY_S = (44_714.16, 43_200.0, 86_164.2, 92_949.5, 86_400.0)
"""M2, S2, K1, O1 and the solar day."""


@dataclass(slots=True)
class HarmonicState:
    """Mean and covariance of (level, pairs), filtered through `steps` finished cells."""

    series: SnrSeries
    mean: Floats
    covariance: Floats
    steps: int = 0


@final
class Harmonic(Predictor):
    """State-space harmonic regression (Harvey 1989): x = (level, c_1, s_1, …); each pair turns by its frequency per cell.

    K = P H' / (H P H' + r). Level and pairs take small random steps, so that amplitudes may change. `harmonics` adds multiples of the
    daily frequency, for noise that is no sinusoid. A missing cell is a step without a measurement. This is the fair rival of kNN
    wherever periods are known.
    """

    periods_s: tuple[float, ...] = Field(TIDES_AND_DAY_S, min_length=1, description="periods")
    harmonics: int = Field(2, ge=1, le=8, description="multiples of the daily frequency, 1 for the day alone")
    level_step_db: float = Field(1.0, ge=0, description="standard deviation of the level's step per cell")
    pair_step_db: float = Field(0.05, ge=0, description="standard deviation of a pair's step per cell")
    noise_db: float = Field(2.0, gt=0, description="standard deviation of a cell around the model")
    prior_db: float = Field(3.0, gt=0, description="standard deviation of the amplitudes before any sample")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> HarmonicState:
        size = 1 + 2 * len(self._turns)
        covariance = np.diag([100.0, *[self.prior_db**2] * (size - 1)])
        return HarmonicState(SnrSeries(self.step_s, self.margin_db, self.max_cells), np.zeros(size), covariance)

    @cached_property
    def _turns(self) -> Floats:
        """Radians per cell of each pair."""
        daily = [86_400.0 / multiple for multiple in range(2, self.harmonics + 1)]
        periods = [*self.periods_s, *(p for p in daily if not any(abs(p - q) < 60.0 for q in self.periods_s))]
        return 2.0 * np.pi * self.step_s / np.array(periods)

    @cached_property
    def _model(self) -> tuple[Floats, Floats, Floats]:
        """Transition of one cell, step covariance, and the row that reads the SNR."""
        size = 1 + 2 * len(self._turns)
        read = np.zeros(size)
        read[0] = 1.0
        read[1::2] = 1.0
        steps = np.diag([self.level_step_db**2, *[self.pair_step_db**2] * (size - 1)])
        return self._transition(1), steps, read

    def _transition(self, cells: int) -> Floats:
        matrix = np.eye(1 + 2 * len(self._turns))
        for index, turn in enumerate(self._turns * cells):
            place = 1 + 2 * index
            matrix[place : place + 2, place : place + 2] = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
        return matrix

    def update(self, state: HarmonicState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        series = state.series
        opened = series.update(t_s, snr_db, censored)
        for back in range(min(opened, len(series) - 1), 0, -1):  # the cells that this sample finished, missing ones included
            self._step(state, float(series.values[-1 - back]))

    def _step(self, state: HarmonicState, value: float) -> None:
        """Filter one finished cell."""
        turn, steps, read = self._model
        if state.steps:
            state.mean = turn @ state.mean
            state.covariance = turn @ state.covariance @ turn.T + steps
        state.steps += 1
        self._measure(state, value, read)

    def _measure(self, state: HarmonicState, value: float, read: Floats) -> None:
        if value != value:
            return
        spread = state.covariance @ read
        gain = spread / (float(read @ spread) + self.noise_db**2)
        state.mean = state.mean + gain * (value - float(read @ state.mean))
        state.covariance = state.covariance - np.outer(gain, spread)

    def predict(self, state: HarmonicState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: HarmonicState, ahead: int) -> Forecast:
        series = state.series
        turn, steps, read = self._model
        now = HarmonicState(series, state.mean, state.covariance, state.steps)
        if state.steps:
            now.mean = turn @ now.mean
            now.covariance = turn @ now.covariance @ turn.T + steps
        self._measure(now, series.latest_db, read)  # the unfinished cell counts, but may still change
        forward = self._transition(ahead)
        row = read @ forward
        wander = ahead * (self.level_step_db**2 + len(self._turns) * self.pair_step_db**2)
        variance = float(row @ now.covariance @ row) + wander + self.noise_db**2
        return Forecast(float(row @ now.mean), math.sqrt(variance))

    def work(self, state: HarmonicState) -> Work:
        """One filter step (two products of n x n matrices and an outer product) and the forecast row."""
        n = 1.0 + 2.0 * len(self._turns)
        return Work(4.0 * n**3 + 10.0 * n**2, 8.0 * 4.0 * n**2, 8.0 * n**2)
