"""Figures of trainings: accuracy against what it costs, and how it was learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import describe
from toolkit.analysis.statistics import mean_interval
from toolkit.render.figures import FEW_ARMS, INK, Figures, arm_colours, arm_markers, bars_with_intervals, new_figure, styled
from toolkit.render.many import panel_per_arm, tell_marks

COSTS = {
    "parameters": "parameters", "energy_j@1": "energy of one image (mJ)", "latency_s@1": "time of one image (ms)",
    "training_j": "energy of training (J)",
}
SCALE = {"energy_j@1": 1e3, "latency_s@1": 1e3}
SPREAD = 4.0
"""From this ratio of the dearest to the cheapest arm on, an axis is logarithmic."""
FAR = 4.0
"""An arm so many times further below the median than the best is above it stands at the edge of the panel, with its value."""
FEW_STEPS = 10
"""Up to so many evaluations each has its mark."""


def training_figures(result: Comparison) -> dict[str, Figure]:
    """Return the figures of this run by name."""
    headline = ("final_accuracy", "final_loss", "parameters", "latency_s@1", "energy_j@1", "training_s")
    found = set(result.report["metric"])
    drawn = {"overview": bars_with_intervals(result, [describe(name, result.infos) for name in headline if name in found])}
    if {"final_accuracy", *COSTS} <= found:
        drawn["accuracy_against_costs"] = accuracy_against_costs(result)
    curves = learning(result)
    return drawn if curves is None else {**drawn, "learning": curves}


@styled
def accuracy_against_costs(result: Comparison) -> Figure:
    """Accuracy with its interval against parameters, joules and milliseconds, a mark per arm."""
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    table = result.summary.set_index(["metric", "arm"])[["mean", "ci95_low", "ci95_high"]].astype(float)
    summary = {key: row.to_numpy(float) for key, row in table.iterrows()}
    accuracies = np.array([summary["final_accuracy", arm][0] for arm in result.arms])
    middle = float(np.median(accuracies))
    floor = middle - FAR * max(float(accuracies.max()) - middle, 0.01)
    figure = new_figure(10.6, 7.4)
    panels = figure.subplots(2, 2, sharey=True)
    marked = []
    for panel, (cost, title) in zip(panels.flat, COSTS.items(), strict=True):
        at = []
        for arm in result.arms:
            mean, low, high = summary["final_accuracy", arm]
            at.append(float(summary[cost, arm][0]) * SCALE.get(cost, 1.0))
            interval = [[mean - low], [high - mean]] if np.isfinite(low) else None
            panel.errorbar(
                at[-1], mean, yerr=interval, color=colours[arm], marker=markers[arm], markersize=8, markeredgecolor="white", capsize=3,
                linestyle="",
            )
        _axis(panel, np.array(at))
        panel.set_xlabel(title)
        marked.append((panel, {
            arm: (place, max(float(summary["final_accuracy", arm][0]), floor)) for arm, place in zip(result.arms, at, strict=True)
        }))
        for arm, place in zip(result.arms, at, strict=True):
            if summary["final_accuracy", arm][0] < floor:
                panel.plot(place, floor, color=colours[arm], marker=markers[arm], markersize=8, markeredgecolor="white", clip_on=False)
                panel.annotate(
                    f"{summary['final_accuracy', arm][0]:.2f} ↓", (place, floor), xytext=(0, 8), textcoords="offset points", ha="center",
                    fontsize=10, color=colours[arm],
                )
    if accuracies.min() < floor:
        highest = np.nanmax([summary["final_accuracy", arm] for arm in result.arms])
        panels[0, 0].set_ylim(floor, min(1.0, float(highest)) + 0.05 * (1 - floor))
    for panel in panels[:, 0]:
        panel.set_ylabel("final test accuracy")
    tell_marks(figure, result.arms, marked, all_arms=result.arms)
    return figure


def _axis(panel: Axes, at: NDArray[np.float64]) -> None:
    if at.max() / at.min() >= SPREAD:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        panel.set_xlim(0, 1.1 * at.max())
    panel.margins(x=0.1)


@styled
def learning(result: Comparison) -> Figure | None:
    """Mean test accuracy and its interval against epochs' ends, on the common axis of steps."""
    rows = result.metrics[(result.metrics["name"] == "test_accuracy").to_numpy(bool)]
    if rows.empty or rows["step"].nunique() < 3:
        return None
    bands = {arm: _band(rows[(rows["arm"] == arm).to_numpy(bool)]) for arm in result.arms}
    if len(bands) > FEW_ARMS:
        figure = panel_per_arm({arm: band[:, :2] for arm, band in bands.items()}, result.arms[0])
        figure.axes[0].set_xlim(left=0)
        figure.axes[0].locator_params(axis="x", nbins=4)
        figure.supxlabel("steps", fontsize=12, color=INK)
        figure.supylabel("test accuracy", fontsize=12, color=INK)
        return figure
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(9.0, 4.8)
    panel = figure.subplots()
    for place, (arm, band) in enumerate(bands.items()):
        steps, mean, low, high = band.T
        if np.isfinite(low).all() and len(result.arms) <= 6:
            panel.fill_between(steps, low, high, color=colours[arm], alpha=0.15, linewidth=0)
        every = 1 if len(steps) <= FEW_STEPS else (place % FEW_STEPS, len(steps) // FEW_STEPS)
        panel.plot(steps, mean, color=colours[arm], marker=markers[arm], markeredgecolor="white", label=arm, markevery=every)
    panel.set_xlabel("steps")
    panel.set_ylabel("test accuracy")
    panel.set_xlim(left=0)
    figure.legend(loc="outside right center")
    return figure


def _band(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Step, mean accuracy and its interval within 0 to 1, one row per evaluation of an arm."""
    runs = rows.drop_duplicates(["seed", "step"], keep="last")
    table = runs.pivot(index="step", columns="seed", values="value")
    bands = np.array([mean_interval(values)[:3] for values in table.to_numpy(float)])
    bands[:, 1], bands[:, 2] = np.maximum(bands[:, 1], 0.0), np.minimum(bands[:, 2], 1.0)
    return np.column_stack([table.index.to_numpy(float), bands])


FIGURES = Figures(
    training_figures,
    captions={
        "overview": "The headline metrics per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval. "
        "What an image costs depends on the network alone, so it has no interval.",
        "accuracy_against_costs": "Final test accuracy with its 95 % interval over seeds, against the parameters, against the energy and "
        "the time of one image on the machine, and against the energy of training. Up and to the left is better. Arms whose intervals "
        "overlap are to be compared by the table of paired differences. An axis is logarithmic where arms differ by more than a factor of "
        "four. An arm far below the others stands at the lower edge with its value.",
        "learning": "Test accuracy while training: mean over seeds, with its 95 % interval where there are at most six arms; of more "
        "than ten each has a panel of its own.",
    },
)
