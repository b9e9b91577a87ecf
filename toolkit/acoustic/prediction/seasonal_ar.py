"""Seasonal autoregression with measured surroundings: SNR = c + b'e(t) + z(t), (1 - phi B)(1 - Phi B^s) z = noise.

Source: the model class of Wang (OCEANS 2016), of which the abstract was read: a constant, a linear function of the measured
environment, and a Markov process, with a multiplicative seasonal autoregression as extension. Box and Jenkins (1976, ch. 9) for the
latter. Departures: the factors are fitted in turn by least squares, and the regression on the surroundings on filtered rows (Cochrane
and Orcutt 1949), anew every `refit_cells` instead of recursively; the SNR stands for the loss that the model was made for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.polynomials import growth, run_on, shrunk
from toolkit.acoustic.prediction.residuals import PRIOR_STD_DB, last_value
from toolkit.acoustic.prediction.search import windows_of
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work

ROUNDS = 4
"""Times that every factor is fitted with the others held."""
LARGEST_SEASON = 0.98


@dataclass(frozen=True, slots=True)
class Fit:
    """c in dB and b in dB per unit (columns,), the recursion of z (lags,), and the variance of its noise."""

    centre_db: float
    slopes: Floats
    coefficients: Floats
    variance: float


@dataclass(slots=True)
class SeasonalArState:
    """The grid of one link, the fit (None: too little past) and the block of cells it was made for."""

    series: SnrSeries
    fit: Fit | None = None
    block: int = -1
    fitted: bool = False
    """Whether the last forecast renewed the fit."""


@final
class SeasonalAr(Predictor):
    """One factor of order `order` and one (1 - Phi B^s) per season, with the columns of `exogenous` where they are given.

    A season enters once the past holds two of it. Missing cells are read from the shared filling. The spread grows with the horizon as
    the psi weights say; it takes the surroundings at the target as known.
    """

    order: int = Field(2, ge=1, le=100, description="order of the factor that is not seasonal")
    seasons_s: tuple[float, ...] = Field((86_400.0, 44_714.16), description="seasons s: one day, and M2")
    exogenous: Exogenous | None = Field(None, description="measured surroundings")
    refit_cells: int = Field(24, ge=1, description="cells between two fits")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @model_validator(mode="after")
    def _remembers(self) -> Self:
        if self.refit_cells >= self.max_cells:
            raise ValueError(f"refit_cells: {self.refit_cells} must be below max_cells = {self.max_cells}")
        return self

    def init(self, truth: Truth | None = None) -> SeasonalArState:
        return SeasonalArState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: SeasonalArState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: SeasonalArState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    @cached_property
    def _seasons(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(cells_of(season_s, self.step_s) for season_s in self.seasons_s))

    def work(self, state: SeasonalArState) -> Work:
        """Price the recursion; and, in the forecast that renews the fit, a regression per factor and round."""
        n, lags = float(len(state.series)), float(self.order + sum(self._seasons))
        run = 2.0 * lags * 2.0
        if not state.fitted:
            return Work(run, 16.0 * lags, 16.0)
        columns = 1.0 + (len(self.exogenous.columns) if self.exogenous else 0.0)
        factors = 1.0 + len(self._seasons)
        fit = ROUNDS * factors * n * (2.0 * factors + 2.0 * self.order**2) + 2.0 * (2.0 * n * columns**2 + 2.0 * n * lags)
        return Work(run + fit, 8.0 * n * (ROUNDS * factors + columns), 8.0 * n)

    def _ahead(self, state: SeasonalArState, ahead: int) -> Forecast:
        series = state.series
        block = series.last_cell // self.refit_cells
        state.fitted = block != state.block
        if state.fitted:
            state.block = block
            place = series.settled(block * self.refit_cells, self.max_cells - self.refit_cells)
            state.fit = self._fit(series.filled[place], series.first_cell + place.start)
        fit = state.fit
        if fit is None or len(series) < len(fit.coefficients):
            return last_value(series, ahead)
        lags = len(fit.coefficients)
        latent = series.filled[-lags:] - fit.centre_db
        target = fit.centre_db
        if self.exogenous is not None:
            last = float(series.last_cell)
            around = self.exogenous.at(np.append(np.arange(last - lags + 1, last + 1), last + ahead), self.step_s, last) @ fit.slopes
            latent -= around[:-1]
            target += float(around[-1])
        spread = math.sqrt(fit.variance * growth(fit.coefficients, np.empty(0), ahead))
        return Forecast(target + run_on(fit.coefficients, latent, np.zeros(ahead), ahead), spread)

    def _fit(self, values: Floats, first_cell: int) -> Fit | None:
        """Fit to the past (cells,), whose first cell has number *first_cell*; None if too little of it is left after the lags."""
        seasons = tuple(season for season in self._seasons if 2 * season + 8 <= len(values))
        lags = self.order + sum(seasons)
        if len(values) - lags < self.order + len(seasons) + 8:
            return None
        columns = np.ones((len(values), 1))
        if self.exogenous is not None:
            cells = np.arange(first_cell, first_cell + len(values), dtype=np.float64)
            columns = np.concatenate([columns, self.exogenous.at(cells, self.step_s, cells[-1])], axis=1)
        effects = _regress(columns, values)
        for _ in range(1 if self.exogenous is None else 2):
            coefficients = self._factors(values - columns @ effects, seasons)
            if self.exogenous is not None:  # the constant is left to the mean: filtered, it nearly vanishes
                filtered = np.stack([_filtered(column, coefficients) for column in columns.T[1:]], axis=1)
                left = _filtered(values - values.mean(), coefficients)
                effects[1:] = _regress(filtered - filtered.mean(axis=0), left - left.mean())
                effects[0] = float((values - columns[:, 1:] @ effects[1:]).mean())
        noise = _filtered(values - columns @ effects, coefficients)
        dof = self.order + len(seasons) + columns.shape[1]
        variance = (float(noise @ noise) + PRIOR_STD_DB**2) / (max(len(noise) - dof, 1) + 1)
        return Fit(float(effects[0]), effects[1:], coefficients, variance)

    def _factors(self, row: Floats, seasons: tuple[int, ...]) -> Floats:
        """The product of all factors as one recursion (lags,): each is fitted to the row that the others leave."""
        inner = np.zeros(self.order)
        outer = [0.0] * len(seasons)
        for _ in range(ROUNDS):
            rest = row
            for season, weight in zip(seasons, outer, strict=True):
                rest = rest[season:] - weight * rest[:-season]
            inner = shrunk(_regress(windows_of(np.ascontiguousarray(rest), self.order)[:-1, ::-1], rest[self.order :]))
            for index, season in enumerate(seasons):
                rest = _filtered(row, inner)
                for other, (lag, weight) in enumerate(zip(seasons, outer, strict=True)):
                    if other != index:
                        rest = rest[lag:] - weight * rest[:-lag]
                past, now = rest[:-season], rest[season:]
                outer[index] = float(np.clip(past @ now / (float(past @ past) + 1e-9), -LARGEST_SEASON, LARGEST_SEASON))
        product = np.concatenate([[1.0], -inner])
        for season, weight in zip(seasons, outer, strict=True):
            factor = np.zeros(season + 1)
            factor[0], factor[-1] = 1.0, -weight
            product = np.convolve(product, factor)
        return -product[1:]


def _filtered(row: Floats, coefficients: Floats) -> Floats:
    """x[t] - sum a_i x[t-i] for every cell that has all its lags, (cells - lags,)."""
    lags = len(coefficients)
    return np.asarray(row[lags:] - windows_of(np.ascontiguousarray(row), lags)[:-1] @ coefficients[::-1])


def _regress(columns: Floats, targets: Floats) -> Floats:
    """Least squares with a ridge that only matters where columns are nearly the same."""
    gram = columns.T @ columns
    gram[np.diag_indices(len(gram))] += 1e-6 * float(np.trace(gram)) / len(gram) + 1e-9
    return np.asarray(np.linalg.solve(gram, columns.T @ targets))
