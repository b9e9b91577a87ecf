"""Several predictors at once: the mean of what they say.

Source: Bates and Granger (1969): weights equal, or inverse to the mean square errors of the past. Departures: what a member gives as its
spread stands for its past error (all members take it from there); the spread of the mean is the mean of their spreads, which errors
that go together do not exceed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.core.work import Work

USUAL = ("ar", "harmonic", "knn")


@dataclass(slots=True)
class CombinationState:
    """The states of the members, in their order."""

    members: list[object]


@final
class Combination(Predictor):
    """Forecast the weighted mean of the members' forecasts. A member that falls back counts only if all do."""

    parts: tuple[Predictor, ...] = Field(
        default_factory=lambda: tuple(Predictor.find(name)() for name in USUAL), min_length=1,
        description="members; their step is that of the whole",
    )
    weights: Literal["equal", "inverse"] = Field("inverse", description="equal, or inverse to the members' own mean square errors")

    @model_validator(mode="after")
    def _needs_no_truth(self) -> Self:
        for part in self.parts:
            if part.type_name() == "oracle":
                raise ValueError("parts: an oracle cannot be a member")
        return self

    @cached_property
    def _members(self) -> list[Predictor]:
        given = [(part, {name: getattr(part, name) for name in type(part).model_fields}) for part in self.parts]
        return [type(part).model_validate({**fields, "step_s": self.step_s}) for part, fields in given]

    def init(self, truth: Truth | None = None) -> CombinationState:
        return CombinationState([part.init(truth) for part in self._members])

    def update(self, state: CombinationState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        for part, own in zip(self._members, state.members, strict=True):
            part.update(own, t_s, snr_db, censored=censored)

    def predict(self, state: CombinationState, at_s: float) -> Forecast | None:
        said = [part.predict(own, at_s) for part, own in zip(self._members, state.members, strict=True)]
        known = [forecast for forecast in said if forecast is not None]
        if not known:
            return None
        able = [forecast for forecast in known if not forecast.fell_back] or known
        means, stds = np.array([one.mean_db for one in able]), np.array([one.std_db for one in able])
        weight = np.ones(len(able)) if self.weights == "equal" or not stds.all() else 1.0 / stds**2
        weight /= weight.sum()
        base = float(means[0])  # sums of differences keep a constant constant to the last digit
        return Forecast(base + float(weight @ (means - base)), float(weight @ stds), able[0].fell_back)

    def work(self, state: CombinationState) -> Work:
        """What the members ask, and the weighted sum."""
        total = Work(6.0 * len(self.parts), 0.0, 0.0)
        for part, own in zip(self._members, state.members, strict=True):
            total = total + part.work(own)
        return total
