"""Learning curves: what was learnt against time, bytes or energy, as means over seeds with their intervals."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.curves import GRID, Band, Curves, bands
from toolkit.render.axes import SPREAD, bytes_x, log_x
from toolkit.render.figures import FAINT, INK, arm_colours, arm_markers, new_figure, styled
from toolkit.render.many import panel_per_arm

FEW = 6
"""Up to so many arms share one panel; more get a panel each."""
CURVES = {
    "seen_accuracy": "accuracy on the tasks seen so far", "test_accuracy": "test accuracy", "test_loss": "test loss",
    "train_loss": "training loss",
}
AXES = {
    "t_s": "simulated time (s)",
    "nbytes": "bytes sent per worker",
    "energy_j": "energy in all (J)",
}


@styled
def learning(result: Comparison, curves: Curves | None, axis: str) -> Figure | None:
    """What was learnt against time, bytes or energy."""
    if curves is None:
        return None
    ends = np.array([getattr(curve, axis)[-1] for runs in curves.of.values() for curve in runs])
    ends = ends[np.isfinite(ends) & (ends > 0)]
    if not len(ends):
        return None
    log = axis == "nbytes" or ends.max() / ends.min() > SPREAD
    found = bands(curves, axis, log=log)
    if not found:
        return None
    if curves.is_share:
        found = {arm: band.cut_off() for arm, band in found.items()}
    if len(result.arms) <= FEW:
        figure = _one_panel(result, found)
    else:
        lines = {arm: np.column_stack([band.at, band.mean]) for arm, band in found.items()}
        figure = panel_per_arm(lines, result.arms[0], lambda panel, arm, colour: _shade(panel, found[arm], colour))
    for panel in figure.axes:
        for target in curves.targets:
            panel.axhline(target, color=FAINT, linewidth=1.0, linestyle=":", zorder=1)
    alone, panel = len(figure.axes) == 1, figure.axes[0]
    panel.set_ylim(*_reach(curves, list(found), axis, log=log))
    if log:
        low, high = min(band.at[0] for band in found.values()), max(band.at[-1] for band in found.values())
        log_x(panel, low, high, small=not alone)
        panel.set_xlim(low, high)
    else:
        panel.set_xlim(left=0)
        panel.locator_params(axis="x", nbins=8 if alone else 4)
    if axis == "nbytes":
        bytes_x(panel)
    if alone:
        panel.set_xlabel(AXES[axis])
        panel.set_ylabel(CURVES[curves.name])
    else:
        figure.supxlabel(AXES[axis], fontsize=12, color=INK)
        figure.supylabel(CURVES[curves.name], fontsize=12, color=INK)
    return figure


def _reach(curves: Curves, arms: list[str], axis: str, *, log: bool) -> tuple[float, float]:
    """From the lowest to the highest value of any run, and a little beyond; the band of few seeds may go further."""
    runs = [curve for arm in arms for curve in curves.of[arm]]
    values = np.concatenate([curve.value[(getattr(curve, axis) > 0) | (not log)] for curve in runs])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.05 * max(1.0, abs(high))
    return low - margin, high + margin


def _one_panel(result: Comparison, found: dict[str, Band]) -> Figure:
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(9.0, 4.8)
    panel = figure.subplots()
    for place, (arm, band) in enumerate(found.items()):
        _shade(panel, band, colours[arm])
        panel.plot(band.at, band.mean, color=colours[arm], marker=markers[arm], markeredgecolor="white", label=arm, zorder=4,
                   markevery=(5 * place, GRID // 8))
    figure.legend(loc="outside right center")
    return figure


def _shade(panel: Axes, band: Band, colour: str) -> None:
    if np.isfinite(band.low).all():
        panel.fill_between(band.at, band.low, band.high, color=colour, alpha=0.2, linewidth=0, zorder=2)
