"""Prediction of one's own records: ``python -m toolkit.predict SERIES``, and `Stream` for one's own programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.predict.command import main
from toolkit.predict.spans import span_s, span_text

if TYPE_CHECKING:
    from toolkit.predict.stream import Forecast, Stream

__all__ = ["Forecast", "Stream", "main", "span_s", "span_text"]


def __getattr__(name: str) -> object:
    if name in {"Forecast", "Stream"}:  # they need NumPy, which the help of the command line does not
        from toolkit.predict import stream

        return getattr(stream, name)
    raise AttributeError(f"module 'toolkit.predict' has no attribute '{name}'")
