"""SNR prediction: what a link's signal-to-noise ratio will be, from the samples heard so far."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from toolkit.core.part import Part
from toolkit.core.work import Work

Truth = Callable[[float], float]
"""The channel's own mean SNR in dB of one link at a time in seconds, NaN in the future; only an oracle may look at it."""


class Forecast(NamedTuple):
    """A predicted SNR: mean and standard deviation in dB (of a series in another unit, in that)."""

    mean_db: float
    std_db: float
    fell_back: bool = False
    """Whether the method could not be applied and something simpler answered, as a rule the last value."""


class Predictor(Part):
    """Predicts the SNR of one directed link.

    The part is frozen; `init` gives the state of one link, `update` feeds it one sample and changes it in place, `predict`
    asks for the SNR at a time in the future and may only use samples fed so far. Samples arrive in order of time.
    """

    family: ClassVar[str] = "predictor"
    sees_truth: ClassVar[bool] = False
    """Whether it looks at the channel itself, so that no forecast of it may be used again."""
    keeps_horizons: ClassVar[bool] = False
    """Whether it keeps something per horizon; where a cell is missing, the last value answers for a horizon that it does not keep."""

    step_s: float = Field(1800.0, gt=0, description="grid step: samples within one step are averaged in dB")

    @abstractmethod
    def init(self, truth: Truth | None = None) -> Any:
        """Return the empty state of one link."""

    @abstractmethod
    def update(self, state: Any, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        """Feed a sample. A censored one says only that the SNR was at or below *snr_db* (a frame was due and not heard)."""

    @abstractmethod
    def predict(self, state: Any, at_s: float) -> Forecast | None:
        """Forecast the SNR at time *at_s*; None while nothing was ever heard."""

    @abstractmethod
    def work(self, state: Any) -> Work:
        """What one `predict` asks of the node's processor in this state."""
