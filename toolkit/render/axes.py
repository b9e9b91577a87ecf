"""Axes for values that span factors of ten, and for bytes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from toolkit.core.device import amount

SPREAD = 10.0
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""


def log_x(panel: Axes, low: float, high: float, *, small: bool) -> None:
    """A logarithmic axis for values from *low* to *high*, with no more labels than a large or *small* panel has room for."""
    decades = np.log10(high / low)
    between = () if decades >= 2 else (3.0,) if small and decades >= 1 else (2.0, 5.0)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(numticks=4 if small else 9, subs=(1.0, *between)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1e4 else f"{value:g}")


def log_y(panel: Axes) -> None:
    """Make the vertical axis logarithmic, its ticks written out and as many as its span has room for; all is drawn already."""
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < SPREAD**3 * low else (1.0,)
    panel.yaxis.set_major_locator(MaxNLocator(nbins=7) if high < SPREAD * low else LogLocator(subs=subs, numticks=12))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def scaled_x(panel: Axes, per: float) -> None:
    """Tell values of the axis in units that hold *per* of those that are drawn."""
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / per:g}")


def bytes_x(panel: Axes) -> None:
    panel.xaxis.set_major_formatter(lambda value, _: amount(value).replace(".0 ", " ") if value > 0 else f"{value:g}")
