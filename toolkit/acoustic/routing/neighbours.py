"""What a channel-aware node knows of its neighbours: link states, forecasts, and what they mean for a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.answer_time import AnswerTime
from toolkit.acoustic.phy.faded_success import faded
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.core.work import Work

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_QUADRATURE = list(zip(_NODES.tolist(), (_WEIGHTS / _WEIGHTS.sum()).tolist(), strict=True))
_POINT = [(0.0, 1.0)]

SILENT = 0
"""Feedback code of a neighbour that should have been heard and was not."""


def encode_snr(snr_db: float | None) -> int:
    """SNR as one byte: half-decibel steps from -20 dB up, 1 to 255; `SILENT` for None."""
    return SILENT if snr_db is None else int(min(255, max(1, round(2.0 * (snr_db + 20.0)) + 1)))


def decode_snr(code: int) -> float | None:
    """The SNR in dB that a byte stands for; None for `SILENT`."""
    return None if code == SILENT else (code - 1) / 2.0 - 20.0


NO_WAY = 255
"""Cost byte of a node that knows no way to a sink."""
COST_STEPS = 24.0


def encode_cost(cost: float) -> int:
    """Cost of a way as one byte: 24 steps per doubling of 1 + cost, so within 1.5 % of it, up to 1500; `NO_WAY` beyond."""
    return NO_WAY if cost > 1500.0 else round(COST_STEPS * math.log2(1.0 + cost))


def decode_cost(code: int) -> float:
    """The cost that a byte stands for; infinite for `NO_WAY`."""
    return math.inf if code == NO_WAY else 2.0 ** (code / COST_STEPS) - 1.0


class LinkBudget:
    """From a forecast of the mean SNR to the chance of a frame, on a channel with *fading*; without it, from an SNR to that chance."""

    def __init__(self, modem: Modem, fading: FastFading | None = None) -> None:
        self._table = modem.success_table()
        self._fading = fading or FastFading()
        self._log_rates: dict[int, list[float]] = {}
        self._gain_db = modem.ebn0_db(0.0)
        grid_db = np.arange(-20.0, 40.0, 0.25)
        per = np.asarray(self._table.per(grid_db + self._gain_db, 512))
        self.decode_snr_db = float(grid_db[int(np.argmax(per < 0.5))])
        """SNR at which half of the frames of 64 bytes are decoded."""
        self.least_snr_db = self.decode_snr_db - 3.0
        """What a predictor takes a missing frame for: it was below the decode level, and nobody knows by how much."""

    def success(self, forecast: Forecast | None, bits: int) -> float:
        """Probability that a frame of *bits* is decoded: 1 - E[PER] over fading and forecast; 0 for a link nobody knows."""
        if forecast is None:
            return 0.0
        table = self._table
        log_rate = self._log_rates.get(bits)
        if log_rate is None:
            log_rate = self._log_rates[bits] = faded(table, self._fading, bits).log_rate.tolist()
        last = len(log_rate) - 1
        mean_db = forecast.mean_db + self._gain_db
        success = 0.0
        for node, weight in _QUADRATURE if forecast.std_db > 0.0 else _POINT:  # the sum of `modulation.expected_per`, without arrays
            place = min(max((mean_db + forecast.std_db * node - table.low_db) / table.step_db, 0.0), last)
            low = min(int(place), last - 1)
            log_loss = log_rate[low] + (place - low) * (log_rate[low + 1] - log_rate[low])
            success += weight * math.exp(-bits * math.exp(log_loss))
        return success

    def snr_db_for(self, success: float, bits: int) -> float:
        """The least mean SNR in dB at which a frame of *bits* succeeds with probability *success*."""
        table = faded(self._table, self._fading, bits)
        snr_db = table.low_db + table.step_db * np.arange(len(table.log_rate)) - self._gain_db
        good = np.exp(-bits * np.exp(table.log_rate)) >= success
        return float(snr_db[int(np.argmax(good))]) if good.any() else math.inf


class PredictedLink:
    """One direction of a link: the predictor's state, and the last forecast made with it."""

    __slots__ = ("_cell", "_forecast", "_made_s", "_past", "_pending", "_stale", "state")

    def __init__(self, state: Any) -> None:
        self.state = state
        self._past: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None = None
        self._pending: list[tuple[float, float, bool]] = []
        self._forecast: Forecast | None = None
        self._made_s = -np.inf
        self._cell = -(2**62)
        self._stale = True

    def sample(self, t_s: float, snr_db: float) -> None:
        """A frame was heard at this SNR."""
        self._pending.append((t_s, snr_db, False))
        self._stale = True

    def censor(self, t_s: float, level_db: float) -> None:
        """A frame that was due was not heard: the SNR was at most *level_db*."""
        self._pending.append((t_s, level_db, True))
        self._stale = True

    def update(self, predictor: Predictor) -> None:
        """Feed what came in since the predictor was last asked; a link that nobody asks about costs nothing."""
        if self._past is not None:
            for t_s, snr_db, good in zip(*(column.tolist() for column in self._past), strict=True):
                predictor.update(self.state, t_s, snr_db, censored=not good)
            self._past = None
        for t_s, snr_db, censored in self._pending:
            predictor.update(self.state, t_s, snr_db, censored=censored)
        self._pending.clear()

    def forecast(self, predictor: Predictor, at_s: float, now: float, reuse_s: float) -> tuple[Forecast | None, Work]:
        """Return the forecast for *at_s* and the work of making it; a young forecast of the same grid cell costs nothing.

        One that looks at the truth is asked anew each time, since the truth does not wait for a cell to end.
        """
        cell = int(at_s // predictor.step_s)
        if cell == self._cell and not predictor.sees_truth and (not self._stale or now - self._made_s <= reuse_s):
            return self._forecast, Work()
        self.update(predictor)
        self._forecast = predictor.predict(self.state, at_s)
        self._cell, self._made_s, self._stale = cell, now, False
        return self._forecast, predictor.work(self.state)

    def learn(self, t_s: NDArray[np.float64], snr_db: NDArray[np.float64], heard: NDArray[np.bool_], level_db: float) -> None:
        """Take a history of samples (steps of half a decibel); where nothing was heard, the SNR was at most *level_db*."""
        self._past = (t_s, np.where(heard, np.round(2.0 * snr_db) / 2.0, level_db), heard)


@dataclass(eq=False)
class Neighbour:
    """A node that this node hears."""

    id: int
    forward: PredictedLink
    """From this node to the neighbour; measured there and fed back."""
    reverse: PredictedLink
    """From the neighbour to this node."""
    delay_s: float
    """Propagation delay assumed: that of the nominal range."""
    depth_m: float = np.inf
    heard_s: float = -np.inf
    marked_s: float = -np.inf
    energy: float = 1.0
    has_way_up: bool = False
    cost: float = math.inf
    """What its way to a sink costs, as it told."""
    blacklist_until_s: float = -np.inf
    silences: int = 0
    """How often in a row it did not answer."""
    last_snr_db: float | None = None
    answers: AnswerTime = field(default_factory=AnswerTime)
    """Times from the end of a frame to the end of its acknowledgement."""
    _sum_db: float = 0.0
    _count: int = 0

    @property
    def is_surface(self) -> bool:
        """Sinks float at the surface; everybody else is deeper."""
        return self.depth_m <= 0.0

    @property
    def way_cost(self) -> float:
        """What its way to a sink costs; nothing for a sink."""
        return 0.0 if self.is_surface else self.cost

    def heard(self, t_s: float, depth_m: float, snr_db: float | None) -> None:
        """A frame of this neighbour was decoded."""
        self.heard_s = t_s
        self.depth_m = depth_m
        if snr_db is not None:
            self.last_snr_db = snr_db
            self.reverse.sample(t_s, snr_db)
            self._sum_db += snr_db
            self._count += 1

    def take_report(self) -> int:
        """Mean SNR since the last report as a feedback byte, and start anew."""
        code = encode_snr(self._sum_db / self._count) if self._count else SILENT
        self._sum_db, self._count = 0.0, 0
        return code
