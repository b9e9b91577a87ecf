"""The common look of figures, and the plot that most comparisons need: a dot per seed, the mean and its interval.

Figures are drawn on an Agg canvas of their own; no display and no global state of matplotlib is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from textwrap import fill
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo

STYLE = Path(__file__).with_name("toolkit.mplstyle")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#882255", "#999933")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
LABEL_WIDTH = 34
"""Characters after which the label of a panel goes on in another line."""
FEW_ARMS = len(COLOURS)
"""More arms than this are told apart by name or number (`toolkit.render.many`), since nobody tells so many colours apart."""
OTHER = "#8A8A8A"
"""The colour of all arms but the first where there are more."""
INK = "#222222"
FAINT = "#767676"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """What a report is drawn as; the module `figures` beside it holds one as `FIGURES`."""

    draw: Callable[[Comparison], Mapping[str, Figure | None]]
    """Draws what a comparison holds, by name; None for what it does not hold."""
    captions: Mapping[str, str] = field(default_factory=dict)
    """By name, in the order in which figures are shown."""


def style() -> AbstractContextManager[None]:
    """The toolkit's style for the length of a ``with`` block."""
    return mpl.rc_context(fname=STYLE)


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that draws, so that it draws in the toolkit's style."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return draw(*args, **kwargs)

    return inner


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure with its own Agg canvas; call it within `style`."""
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write *figure* as PNG, the same bytes for the same picture, and return *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with style():
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """One colour per arm, the same in every figure of a run; of more than ten arms the first has a colour, and the others are grey."""
    if len(arms) > FEW_ARMS:
        return {arm: OTHER if i else COLOURS[0] for i, arm in enumerate(arms)}
    return dict(zip(arms, COLOURS, strict=False))


def arm_markers(arms: Sequence[str]) -> dict[str, str]:
    """One marker per arm, so that colour is never the only difference."""
    return {arm: MARKERS[i % len(MARKERS)] for i, arm in enumerate(arms)}


@styled
def bars_with_intervals(result: Comparison, metrics: Sequence[MetricInfo]) -> Figure:
    """One panel per metric, one line per arm: light dots are seeds, the large mark is the mean, the bar its 95 % interval."""
    arms = result.arms
    columns = min(len(metrics), 3)
    rows = -(-len(metrics) // columns)
    widest = max(len(arm) for arm in arms)
    figure = new_figure(0.6 + 0.09 * widest + 3.1 * columns, rows * (1.1 + 0.42 * len(arms)))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for panel, info in zip(panels.flat, metrics, strict=False):
        _dots(panel, result, info)
    for panel in panels.flat[len(metrics):]:
        panel.set_axis_off()
    panels.flat[0].set_yticks(range(len(arms)), arms)
    panels.flat[0].set_ylim(len(arms) - 0.5, -0.5)
    return figure


def _dots(panel: Axes, result: Comparison, info: MetricInfo) -> None:
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    values = result.report[result.report["metric"] == info.name]
    summary = result.summary[result.summary["metric"] == info.name].set_index("arm")
    for line, arm in enumerate(result.arms):
        seeds = values.loc[values["arm"] == arm, "value"].to_numpy(float)
        seeds = seeds[np.isfinite(seeds)]
        if arm not in summary.index or not len(seeds):
            panel.text(0.5, line, "no value", transform=panel.get_yaxis_transform(), ha="center", va="center", color=FAINT)
            continue
        mean, low, high = summary.loc[arm, ["mean", "ci95_low", "ci95_high"]].to_numpy(float)
        offset = np.linspace(-0.16, 0.16, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        panel.plot(seeds, line + offset, linestyle="", marker="o", markersize=4, color=colours[arm], alpha=0.35, markeredgewidth=0)
        if np.isfinite(low):
            panel.errorbar(mean, line, xerr=[[mean - low], [high - mean]], color=colours[arm], capsize=4, linewidth=2)
        panel.plot(mean, line, marker=markers[arm], markersize=8, color=colours[arm], markeredgecolor="white")
    panel.set_xlabel(fill(info.title, LABEL_WIDTH))
    panel.grid(axis="y", visible=False)
    panel.margins(x=0.08)
    panel.locator_params(axis="x", nbins=4)
    if info.better is not None:
        arrow = "better →" if info.better == "higher" else "← better"
        panel.set_title(arrow, loc="right", fontsize=10, fontweight="normal", color=FAINT)


def label_above(figure: Figure, panel: Axes, columns: int = 3) -> None:
    """Put the legend of *panel* above all panels, where it cannot cover data."""
    handles, labels = panel.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)
