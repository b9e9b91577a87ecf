"""Figures of incremental detection: AP against what it cost, first against new classes, and pictures of what was found and generated."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.methods.detection.kept import kept_pictures
from toolkit.render.figures import Figures, arm_colours, arm_markers, new_figure, styled
from toolkit.render.many import tell_marks

TITLES = {"before": "first detector", "after": "after all increments", "generated": "what the old detector was made to show"}


def detection_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this comparison holds."""
    return {"first_against_new": first_against_new(result), "found": pictures(result, ("before", "after")),
             "generated": pictures(result, ("generated",))}


@styled
def first_against_new(result: Comparison) -> Figure | None:
    """A mark per arm: AP over the first step's classes against AP over new ones, and AP over all against time."""
    summary = result.summary.set_index(["metric", "arm"])[["mean", "ci95_low", "ci95_high"]].astype(float)
    table = {key: tuple(row) for key, row in zip(summary.index, summary.to_numpy(float), strict=True)}
    arms = [arm for arm in result.arms if ("ap_all", arm) in table]
    if not arms:
        return None
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(10.5, 5.0)
    panels = figure.subplots(1, 2)
    marked = []
    for panel, across, down in ((panels[0], "ap_new", "ap_base"), (panels[1], "end_s", "ap_all")):
        points = {}
        for arm in arms:
            if (across, arm) not in table or (down, arm) not in table:
                continue
            x, y = table[across, arm], table[down, arm]
            panel.errorbar(
                [x[0]], [y[0]], xerr=_arms_of(x), yerr=_arms_of(y), color=colours[arm], marker=markers[arm], markeredgecolor="white",
                capsize=3, linestyle="", label=arm,
            )
            points[arm] = (x[0], y[0])
        marked.append((panel, points))
    panels[0].set_xlabel("AP over the last step's classes")
    panels[0].set_ylabel("AP over the first step's classes")
    panels[1].set_xlabel("time in all (s)")
    panels[1].set_ylabel("AP over all classes")
    tell_marks(figure, arms, marked, all_arms=result.arms)
    return figure


def _arms_of(row: tuple[float, ...]) -> list[list[float]]:
    mean, low, high = row
    return [[0.0 if math.isnan(low) else mean - low], [0.0 if math.isnan(high) else high - mean]]


@styled
def pictures(result: Comparison, names: tuple[str, ...]) -> Figure | None:
    """Pictures that the first arm's first run left, a row for each of *names*; None where it left none."""
    rows = {name: shown for name, shown in _left(result.directory, result.arms).items() if name in names}
    if not rows:
        return None
    small = names == ("generated",)
    columns = min(10 if small else 4, max(len(shown) for shown in rows.values()))
    lines = [
        (name, shown[begin : begin + columns]) for name in names if name in rows
        for shown in [rows[name]] for begin in range(0, len(shown), columns)
    ]
    wide, high = (1.2, 1.35) if small else (2.6, 2.8)
    figure = new_figure(wide * columns, high * len(lines))
    panels = figure.subplots(len(lines), columns, squeeze=False)
    told: set[str] = set()
    if small:
        figure.suptitle(TITLES["generated"], fontsize=9)
        told.add("generated")
    for row, (name, shown) in zip(panels, lines, strict=True):
        for place, panel in enumerate(row):
            panel.set_axis_off()
            if place < len(shown):
                panel.imshow(shown[place].transpose(1, 2, 0))
        if name not in told:
            row[0].set_title(TITLES[name], loc="left", fontsize=9)
            told.add(name)
    return figure


def _left(directory: Path, arms: list[str]) -> dict[str, NDArray[np.uint8]]:
    for arm in arms:
        for path in sorted((directory / "models").glob("*.safetensors")):
            if path.name.rpartition("-s")[0] != arm:
                continue
            found = kept_pictures(path.with_suffix(""))
            if found:
                return found
    return {}


FIGURES = Figures(detection_figures, captions={
    "first_against_new": "Left: what is left of the first step's classes against what was learnt of the last step's; up and to the right "
    "is better. Right: AP over all classes against simulated time, the first training included. Bars are 95 % intervals over seeds.",
    "found": "Detections above a score of 0.3 in the same test images by the first detector and after all increments, of the first arm's "
    "first seed.",
    "generated": "Images that the old detector was made to show, with the box and class that each was asked for, of the first arm.",
})
