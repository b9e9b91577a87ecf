"""Picking rows out of a ledger and of what was observed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NAN = float("nan")


def is_in(frame: pd.DataFrame, column: str, *names: str) -> NDArray[np.bool_]:
    """Return which rows of *frame* hold one of *names* in *column*."""
    return frame[column].isin(names).to_numpy(bool)


def named(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the observations called *name*."""
    return metrics[is_in(metrics, "name", name)]


def last(metrics: pd.DataFrame, name: str) -> float:
    """Return the value of *name* observed last; NaN where there is none."""
    values = named(metrics, name)["value"]
    return float(values.iloc[-1]) if len(values) else NAN


def ratio(total: float, count: float) -> float:
    """Return *total* / *count*; NaN where there is nothing to divide by."""
    return float(total) / count if count else NAN
