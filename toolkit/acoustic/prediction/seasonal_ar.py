"""Seasonal autoregression with measured surroundings: SNR = c + b'e(t) + z(t), (1 - phi B)(1 - Phi B^s) z = noise.

Source: the model class of Wang (OCEANS 2016), of which the abstract was read: a constant, a linear function of the measured
environment, and a Markov process, with a multiplicative seasonal autoregression as extension. Box and Jenkins (1976, ch. 9) for the
latter. Departures: the factors are fitted in turn by least squares, and the regression on the surroundings on filtered rows (Cochrane
and Orcutt 1949), anew every `refit_s` instead of recursively; the SNR stands for the loss that the model was made for. Surroundings
that are not known at the target cannot be regressed on there; they correct the forecast, by what the same forecasts of the past erred
by, regressed on what was known of them when these were made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.polynomials import growth, running_weights, shrunk
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, fall_back, root_mean_square, spread_db
from toolkit.acoustic.prediction.search import windows_of
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of, span_cells, spread_of
from toolkit.core.bounds import Positive
from toolkit.core.work import Work

ROUNDS = 4
"""Times that every factor is fitted with the others held."""
LARGEST_SEASON = 0.98
CORRECTION_RIDGE = 0.01
"""Ridge of the correction as a share of its columns' power."""


@dataclass(frozen=True, slots=True)
class SeasonalFit:
    """c in dB, b in dB per unit (known columns,), the recursion of z (lags,), the variance of its noise, and the past it was fitted to."""

    centre_db: float
    slopes: Floats
    coefficients: Floats
    variance: float
    latent: Floats
    """z of the past (cells,) in dB."""
    first_cell: int


@dataclass(frozen=True, slots=True)
class Horizon:
    """What one horizon needs beside the fit: the recursion run on as weights (lags,), and the correction by surroundings."""

    weights: Floats
    means: Floats
    """Of the columns that are not known ahead (columns,)."""
    slopes: Floats
    """In dB per unit of them (columns,)."""
    floor_db: float
    """What such forecasts erred by lately."""
    origins: int


@dataclass(slots=True)
class SeasonalArState:
    """The grid of one link, the fit (None: too little past) and the block of cells it was made for."""

    series: SnrSeries
    fit: SeasonalFit | None = None
    block: int = -1
    fitted: bool = False
    """Whether the last forecast renewed the fit."""
    horizons: dict[int, Horizon] = field(default_factory=dict)
    tried: int = 0
    """Forecasts of the past that the last forecast made."""


@final
class SeasonalAr(Predictor):
    """One factor of order `order` and one (1 - Phi B^s) per season, with the columns of `exogenous` where they are given.

    A season enters once the past holds two of it. Missing cells are read from the shared filling. The spread grows with the horizon as
    the psi weights say while the past is short, and is not below what the same forecasts erred by there; with much past it is just that.
    """

    order: int = Field(2, ge=1, le=100, description="order of the factor that is not seasonal")
    seasons_s: tuple[Positive, ...] = Field((86_400.0, 44_714.16), description="seasons s: one day, and M2")
    exogenous: Exogenous | None = Field(None, description="measured surroundings")
    refit_cells: int | None = Field(None, ge=1, description="cells between two fits; or refit_s")
    refit_s: float = Field(43_200.0, gt=0, description="time between two fits, where refit_cells is not given")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @model_validator(mode="after")
    def _remembers(self) -> Self:
        if self._refit >= self.max_cells:
            raise ValueError(f"refit_cells: {self._refit} must be below max_cells = {self.max_cells}")
        return self

    @property
    def _refit(self) -> int:
        return span_cells(self.refit_cells, self.refit_s, self.step_s, self.max_cells // 2)

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
        """Price the recursion; when the fit is renewed, a regression per factor and round; per horizon its past forecasts."""
        n, lags = float(len(state.series)), float(self.order + sum(self._seasons))
        columns = 1.0 + (len(self.exogenous.columns) if self.exogenous else 0.0)
        run = 2.0 * lags * (2.0 + state.tried) + 2.0 * state.tried * columns**2
        if not state.fitted:
            return Work(run, 16.0 * lags, 16.0)
        factors = 1.0 + len(self._seasons)
        fit = ROUNDS * factors * n * (2.0 * factors + 2.0 * self.order**2) + 2.0 * (2.0 * n * columns**2 + 2.0 * n * lags)
        return Work(run + fit, 8.0 * n * (ROUNDS * factors + columns), 8.0 * n)

    def _ahead(self, state: SeasonalArState, ahead: int) -> Forecast:
        series = state.series
        block = series.last_cell // self._refit
        state.fitted, state.tried = block != state.block, 0
        if state.fitted:
            state.block, state.horizons = block, {}
            place = series.settled(block * self._refit, self.max_cells - self._refit)
            state.fit = self._fit(series.filled[place], series.first_cell + place.start)
        fit = state.fit
        if fit is None or len(series) < len(fit.coefficients):
            return fall_back(series, ahead)
        known = state.horizons.get(ahead)
        if known is None:
            known = state.horizons[ahead] = self._horizon(fit, ahead)
            state.tried = known.origins
        lags = len(fit.coefficients)
        latent = series.filled[-lags:] - fit.centre_db
        said = fit.centre_db
        last = float(series.last_cell)
        if self.exogenous is not None:
            around = self.exogenous.ahead_of(np.append(np.arange(last - lags + 1, last + 1), last + ahead), self.step_s) @ fit.slopes
            latent -= around[:-1]
            said += float(around[-1])
            said += float(((self.exogenous.present_at(np.array([last]), self.step_s) - known.means) @ known.slopes)[0])
        spread = known.floor_db
        if known.origins < WINDOW_CELLS:
            spread = max(math.sqrt(fit.variance * growth(fit.coefficients, np.empty(0), ahead)), spread)
        return Forecast(said + float(known.weights @ latent), spread)

    def _horizon(self, fit: SeasonalFit, ahead: int) -> Horizon:
        """Forecasts *ahead* cells ahead from every cell of the past that has a target in it, and what they teach."""
        weights = running_weights(fit.coefficients, ahead)
        lags = len(weights)
        origins = np.arange(lags - 1, len(fit.latent) - ahead)
        unknown = 0 if self.exogenous is None else len(self.exogenous.columns) - len(self.exogenous.known_ahead)
        means, slopes = np.zeros(unknown), np.zeros(unknown)
        if len(origins) < 8:
            return Horizon(weights, means, slopes, 0.0, 0)
        errors = fit.latent[origins + ahead] - windows_of(fit.latent, lags)[: len(origins)] @ weights
        if self.exogenous is not None and unknown and len(origins) > 8 * unknown:
            columns = self.exogenous.present_at((fit.first_cell + origins).astype(np.float64), self.step_s)
            means = columns.mean(axis=0)
            slopes = _regress(columns - means, errors - errors.mean(), CORRECTION_RIDGE)
            errors = errors - (columns - means) @ slopes
        recent = errors[-WINDOW_CELLS:]
        return Horizon(weights, means, slopes, spread_db(recent, 0.0), len(origins))

    def _fit(self, values: Floats, first_cell: int) -> SeasonalFit | None:
        """Fit to the past (cells,), whose first cell has number *first_cell*; None if too little of it is left after the lags."""
        seasons = tuple(season for season in self._seasons if 2 * season + 8 <= len(values))
        lags = self.order + sum(seasons)
        if len(values) - lags < self.order + len(seasons) + 8:
            return None
        level = float(values.mean())
        row = values - level
        columns = np.empty((len(row), 0))
        if self.exogenous is not None:
            columns = self.exogenous.ahead_of(np.arange(first_cell, first_cell + len(row), dtype=np.float64), self.step_s)
        means = columns.mean(axis=0)
        columns = columns - means
        slopes = _regress(columns, row)
        for _ in range(2 if columns.shape[1] else 1):
            coefficients = self._factors(row - columns @ slopes, seasons)
            if columns.shape[1]:
                filtered = np.stack([_filtered(column, coefficients) for column in columns.T], axis=1)
                left = _filtered(row, coefficients)
                slopes = _regress(filtered - filtered.mean(axis=0), left - left.mean())
        latent = row - columns @ slopes
        noise = _filtered(latent, coefficients)
        dof = self.order + len(seasons) + columns.shape[1] + 1
        variance = root_mean_square(float(noise @ noise), max(len(noise) - dof, 1), spread_of(values)) ** 2
        return SeasonalFit(level - float(means @ slopes), slopes, coefficients, variance, latent, first_cell)

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
                share = float(past @ now) / (float(past @ past) + np.finfo(float).tiny)
                outer[index] = float(np.clip(share, -LARGEST_SEASON, LARGEST_SEASON))
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


def _regress(columns: Floats, targets: Floats, ridge: float = 1e-6) -> Floats:
    """Least squares (n, p) -> (p,) on columns of any units, with a *ridge* as a share of each column's own power."""
    if not columns.shape[1]:
        return np.zeros(0)
    size = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    size[size == 0.0] = 1.0
    scaled = columns / size
    gram = scaled.T @ scaled
    gram[np.diag_indices(len(gram))] += ridge
    return np.asarray(np.linalg.solve(gram, scaled.T @ targets) / size)
