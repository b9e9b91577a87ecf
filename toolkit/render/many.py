"""Telling arms apart in lines and marks: by a legend while they are few, else by names or numbers beside the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toolkit.render.figures import FAINT, FEW_ARMS, INK, arm_colours, arm_markers

Point = tuple[float, float]
LINE_PT = 10.5
"""Height of a line of names at the ends of lines, in points."""
KEY_ROWS = 22
"""Rows of a key of numbers."""


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


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Move sorted places apart by *gap* at least, as little as that takes where it is possible: groups that touch keep their middle."""
    groups: list[tuple[float, int]] = []
    for place in wanted.tolist():
        middle, size = place, 1
        while groups and middle - groups[-1][0] < gap * (size + groups[-1][1]) / 2:
            other, count = groups.pop()
            middle, size = (middle * size + other * count) / (size + count), size + count
        groups.append((middle, size))
    return np.concatenate([middle + gap * (np.arange(size) - (size - 1) / 2) for middle, size in groups]) if groups else wanted


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
