"""Figures of a glider's runs: what was ashore when, and for how many joules."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.at_sea.figures import SEA_CAPTIONS, environment, network_map
from toolkit.render.figures import Figures, arm_colours, arm_markers, new_figure, styled
from toolkit.render.overview import OVERVIEW_CAPTION, overview

CAPTIONS = {
    "overview": OVERVIEW_CAPTION,
    "ashore_vs_hours": (
        "Accuracy of the copy ashore against time, mean over seeds: on the test samples of all tasks, among all classes, so that it "
        "rises as tasks come. Each change that comes is a step."
    ),
    "ashore_vs_energy": (
        "Accuracy ashore, mean over the run, against what the glider spent beyond listening and idling; each light mark is one seed, "
        "the full one their mean."
    ),
    "network_map": SEA_CAPTIONS["network_map"],
    "environment": SEA_CAPTIONS["environment"],
}
GRID = 400


def glider_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds, by name."""
    return {
        "overview": overview(result), "ashore_vs_hours": ashore_vs_hours(result), "ashore_vs_energy": ashore_vs_energy(result),
        "network_map": network_map(result), "environment": environment(result),
    }


@styled
def ashore_vs_hours(result: Comparison) -> Figure | None:
    """A line of steps per arm: the mean over seeds of what was ashore at each time."""
    rows = result.metrics[(result.metrics["name"] == "ashore_accuracy").to_numpy(bool)]
    if not len(rows):
        return None
    figure = new_figure(8.0, 4.6)
    panel = figure.subplots()
    grid_s = np.linspace(0.0, float(result.scenario.limit_s), GRID)
    colours = arm_colours(result.arms)
    for place, arm in enumerate(result.arms):
        seeds = []
        for _, own in rows[(rows["arm"] == arm).to_numpy(bool)].groupby("seed"):
            ordered = own.sort_values(["t_s", "step"], kind="stable")
            at = np.searchsorted(ordered["t_s"].to_numpy(float), grid_s, side="right") - 1
            seeds.append(ordered["value"].to_numpy(float)[np.maximum(at, 0)])
        if seeds:
            style = ("-", "--", ":")[place // 8 % 3]
            panel.step(grid_s / 3600, np.mean(seeds, axis=0), where="post", color=colours[arm], linestyle=style, label=arm)
    panel.set(xlabel="simulated time (h)", ylabel="accuracy ashore, all classes", ylim=(0, None))
    figure.legend(loc="outside right upper", fontsize=9)
    return figure


@styled
def ashore_vs_energy(result: Comparison) -> Figure | None:
    """A mark per arm: mean accuracy ashore against joules of learning and sending."""
    values = result.report.pivot_table(index=["arm", "seed"], columns="metric", values="value")
    if "ashore_mean" not in values:
        return None
    figure = new_figure(8.0, 4.6)
    panel = figure.subplots()
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    for arm in result.arms:
        own = values.loc[arm]
        spent_j = own["glider_learning_j"] + own["glider_sending_j"]
        panel.plot(spent_j, own["ashore_mean"], linestyle="none", marker=markers[arm], color=colours[arm], alpha=0.35, markersize=4)
        panel.plot(
            spent_j.mean(), own["ashore_mean"].mean(), linestyle="none", marker=markers[arm], color=colours[arm], markersize=9, label=arm
        )
    panel.set_xscale("log")
    panel.set(xlabel="energy of learning and sending (J)", ylabel="accuracy ashore, mean over the run")
    figure.legend(loc="outside right upper", fontsize=9)
    return figure


FIGURES = Figures(glider_figures, CAPTIONS)
