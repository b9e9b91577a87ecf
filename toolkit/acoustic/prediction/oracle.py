"""The channel's own mean SNR at present: what knowing the links of the moment can do for routing, never a contender.

Source: ours. It looks at the truth (of the present; nobody knows the future), hence its spread is 0 and its work is nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.core.work import Work
from toolkit.errors import ScenarioError


@dataclass(slots=True)
class OracleState:
    """The truth of one link, and whether anything was heard on it (an unheard neighbour is not known to exist)."""

    truth: Truth
    heard: bool = False


@final
class Oracle(Predictor):
    """Answer with the truth at the time asked for."""

    sees_truth: ClassVar[bool] = True

    def init(self, truth: Truth | None = None) -> OracleState:
        if truth is None:
            raise ScenarioError("predictor oracle needs the channel's truth, and there is none here (recorded data?)")
        return OracleState(truth)

    def update(self, state: OracleState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.heard = True

    def predict(self, state: OracleState, at_s: float) -> Forecast | None:
        truth_db = float(state.truth(at_s)) if state.heard else math.nan
        return None if math.isnan(truth_db) else Forecast(truth_db, 0.0)

    def work(self, state: OracleState) -> Work:
        return Work()
