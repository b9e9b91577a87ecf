"""Telling many arms apart, more than anybody has colours for: a panel for each, names at the ends of lines, or numbers beside marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from toolkit.render.figures import COLOURS, FAINT, FEW_ARMS, INK, arm_colours, arm_markers, new_figure

Floats = NDArray[np.float64]
Point = tuple[float, float]
OTHERS = "#BBBBBB"
LINE_PT = 10.5
"""Height of a line of names at the ends of lines, in points."""
KEY_ROWS = 22
"""Rows of a key of numbers."""


def panel_per_arm(
    lines: Mapping[str, Floats], first: str, shade: Callable[[Axes, str, str], object] = lambda panel, arm, colour: None
) -> Figure:
    """One panel for each arm over all others in grey, the *first* arm in each of them; call it within `style`.

    *lines* are (n, 2); *shade* is called with a panel, its arm and that one's colour before its line is drawn.
    """
    columns = 4 if len(lines) <= 12 else 5
    rows = -(-len(lines) // columns)
    figure = new_figure(1.0 + 2.4 * columns, 1.3 + 1.75 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, (arm, line) in zip(panels.flat, lines.items(), strict=False):
        panel.add_collection(LineCollection([other for name, other in lines.items() if name not in (arm, first)],
                                            colors=OTHERS, linewidths=0.8, zorder=2))
        if first in lines and arm != first:
            panel.plot(*lines[first].T, color=COLOURS[0], linewidth=1.4, linestyle="--", zorder=3)
        colour = COLOURS[0] if arm == first else COLOURS[1]
        shade(panel, arm, colour)
        panel.plot(*line.T, color=colour, linewidth=2.0, zorder=4)
        panel.set_title(arm, fontsize=11, color=colour)
        panel.autoscale_view()
    for place, panel in enumerate(panels.flat):
        if place >= len(lines):
            panel.remove()
        elif place + columns >= len(lines):
            panel.tick_params(labelbottom=True)
        panel.tick_params(axis="x", labelsize=10)
    handles = [
        Line2D([], [], color=COLOURS[1], label="the arm above the panel"),
        Line2D([], [], color=COLOURS[0], linestyle="--", linewidth=1.4, label=f"{first} (first arm)"),
        Line2D([], [], color=OTHERS, linewidth=0.8, label="all others"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def height_for(arms: Sequence[str], least_in: float) -> float:
    """Height in inches of a figure whose lines have names at their ends: *least_in* where a legend will do."""
    return max(least_in, 1.4 + len(arms) * LINE_PT / 72) if len(arms) > FEW_ARMS else least_in


def name_lines(figure: Figure, panel: Axes, ends: Mapping[str, Point]) -> None:
    """Tell which line is whose: a legend for up to ten, else the names at the *ends* of the lines, moved apart where they would meet.

    To be called when the limits of *panel* are final.
    """
    if len(ends) <= FEW_ARMS:
        figure.legend(*panel.get_legend_handles_labels(), loc="outside right center")
        return
    to_axes = panel.transData + panel.transAxes.inverted()
    names = sorted(ends, key=lambda name: ends[name][1])
    wanted = np.array([to_axes.transform(ends[name])[1] for name in names])
    places = apart(np.clip(wanted, 0.0, 1.0), LINE_PT / 72 / (0.82 * figure.get_figheight()))
    for name, place in zip(names, places, strict=True):
        panel.annotate(
            name, ends[name], xytext=(1.03, float(place)), textcoords="axes fraction", va="center", fontsize=9, color=INK,
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 1},
        )


def apart(wanted: Floats, gap: float) -> Floats:
    """Move sorted places between 0 and 1 apart by *gap* at least, as little as that takes: groups that touch keep their middle.

    None leaves 0 to 1 where there is room for all.
    """
    groups: list[tuple[float, int]] = []
    for place in wanted.tolist():
        middle, size = place, 1
        while groups and middle - groups[-1][0] < gap * (size + groups[-1][1]) / 2:
            other, count = groups.pop()
            middle, size = (middle * size + other * count) / (size + count), size + count
        groups.append((middle, size))
    if not groups:
        return wanted
    places = np.concatenate([middle + gap * (np.arange(size) - (size - 1) / 2) for middle, size in groups])
    steps = gap * np.arange(len(places))
    return places if steps[-1] > 1.0 else np.clip(places, steps, 1.0 - steps[::-1])


def tell_marks(figure: Figure, arms: Sequence[str], panels: Sequence[tuple[Axes, Mapping[str, Point]]], *, all_arms: Sequence[str]) -> None:
    """Tell which mark is whose: a legend for up to ten *arms*, else a number beside each mark and a key of numbers.

    *panels* are axes with the marks on them; numbers count *all_arms* in their order, so that they are the same in all figures of a run.
    """
    colours, markers = arm_colours(all_arms), arm_markers(all_arms)
    if len(all_arms) <= FEW_ARMS:
        handles = [Line2D([], [], color=colours[arm], marker=markers[arm], markeredgecolor="white", linestyle="", markersize=8, label=arm)
                   for arm in arms]
        figure.legend(handles=handles, loc="outside right center")
        return
    number = {arm: place for place, arm in enumerate(all_arms, 1)}
    for panel, points in panels:
        for arm, point in points.items():
            panel.annotate(str(number[arm]), point, xytext=(4, 4), textcoords="offset points", fontsize=9, color=INK)
    handles = [Line2D([], [], color=colours[arm], marker=markers[arm], markeredgecolor="white", linestyle="", markersize=7,
                      label=f"{number[arm]}  {arm}") for arm in arms]
    figure.legend(handles=handles, loc="outside right center", fontsize=9, ncols=-(-len(handles) // KEY_ROWS))
