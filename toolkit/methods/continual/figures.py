"""Figures of a comparison of continual learners."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.curves import learning_curves
from toolkit.methods.continual.report import matrix
from toolkit.render.axes import SPREAD, bytes_x, log_x
from toolkit.render.figures import FEW_ARMS, Figures, arm_colours, arm_markers, new_figure, styled
from toolkit.render.learning import learning
from toolkit.render.many import tell_marks
from toolkit.render.overview import overview

COSTS = {
    "end_s": "simulated time (s)", "energy_total_j": "energy in all (J)", "flops": "operations (FLOP)", "memory_nbytes": "memory needed",
    "buffer_nbytes": "size of the replay memory", "flash_written_nbytes": "written to flash",
}
CAPTIONS = {
    "overview": (
        "The headline metrics per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval. Class-IL: an "
        "answer may name any class seen so far; task-IL: the task is told. Forgetting is the mean loss from the best earlier accuracy."
    ),
    "accuracy_vs_cost": (
        "Final class-IL accuracy against what a run cost: means over seeds with the 95 % interval of the accuracy. Up and to the left is "
        "better."
    ),
    "learning_vs_time": (
        "Class-IL accuracy on the tasks seen so far against simulated time; examinations themselves take none. It falls as tasks are added "
        "and old ones forgotten. Lines are means over seeds at the same time, bands their 95 % interval."
    ),
    "learning_vs_energy": "The same against the energy of everything by then.",
    "by_task": "Accuracy on every task (columns) after each task (rows) was learnt, mean over seeds; the diagonal is what was just learnt.",
    "by_class": "Accuracy on every class (columns) after each task (rows), mean over seeds.",
}


def continual_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this comparison holds, by name, in the order in which a reader wants it."""
    curves = learning_curves(result)
    return {
        "overview": overview(result), "accuracy_vs_cost": accuracy_vs_cost(result), "learning_vs_time": learning(result, curves, "t_s"),
        "learning_vs_energy": learning(result, curves, "energy_j"), "by_task": heat(result, "class_il", "task"),
        "by_class": heat(result, "per_class", "class"),
    }


@styled
def accuracy_vs_cost(result: Comparison) -> Figure | None:
    """One panel per cost: final accuracy against it, one mark per arm."""
    means = result.summary.pivot(index="arm", columns="metric", values="mean")
    if "class_il" not in means:
        return None
    costs = [name for name in COSTS if name in means and np.ptp(means[name].dropna().to_numpy(float)) > 0]
    if not costs:
        return None
    intervals = result.summary[result.summary["metric"] == "class_il"].set_index("arm")
    columns = min(3, len(costs))
    rows = -(-len(costs) // columns)
    larger = 1.0 if len(result.arms) <= FEW_ARMS else 1.3  # numbers beside the marks need room
    figure = new_figure(3.7 * larger * columns + 2.2, 3.0 * larger * rows + 0.4)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    marked = []
    for panel, name in zip(panels.flat, costs, strict=False):
        marked.append((panel, _scatter(panel, result, means[name], intervals)))
        panel.set_xlabel(COSTS[name])
        values = means[name].dropna().to_numpy(float)
        if values.min() > 0 and values.max() > SPREAD * values.min():
            log_x(panel, values.min(), values.max(), small=True)
        else:
            panel.locator_params(axis="x", nbins=4)
            panel.set_xlim(left=-0.04 * panel.get_xlim()[1])
        if name.endswith("nbytes"):
            bytes_x(panel)
        elif name == "flops":
            panel.xaxis.set_major_formatter(EngFormatter())
    for panel in panels.flat[len(costs):]:
        panel.set_axis_off()
    for line in panels:
        line[0].set_ylabel("class-IL accuracy")
    tell_marks(figure, [arm for arm in result.arms if any(arm in points for _, points in marked)], marked, all_arms=result.arms)
    return figure


def _scatter(panel: Axes, result: Comparison, cost: Any, intervals: Any) -> dict[str, tuple[float, float]]:
    """Draw one mark per arm and return where they are."""
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    points = {}
    for arm in result.arms:
        if arm not in intervals.index or not np.isfinite(cost.get(arm, np.nan)):
            continue
        mean, low, high = intervals.loc[arm, ["mean", "ci95_low", "ci95_high"]].to_numpy(float)
        bars = [[mean - low], [high - mean]] if np.isfinite(low) else None
        panel.errorbar(cost[arm], mean, yerr=bars, color=colours[arm], capsize=3, elinewidth=0.8, linestyle="", marker=markers[arm],
                       markersize=8, markeredgecolor="white", label=arm)
        points[arm] = (float(cost[arm]), float(mean))
    return points


@styled
def heat(result: Comparison, name: str, unit: str) -> Figure | None:
    """One heat map per arm: accuracy by task or class (columns) after each task (rows)."""
    tables = {}
    for arm in result.arms:
        own = result.metrics[(result.metrics["arm"] == arm).to_numpy(bool)]
        seeds = [matrix(group, name) for _, group in own.groupby("seed", observed=True)]
        seeds = [table for table in seeds if table.size]
        if seeds:
            tables[arm] = np.mean(seeds, axis=0)
    if not tables:
        return None
    columns = min(5, len(tables))
    rows = -(-len(tables) // columns)
    figure = new_figure(1.2 + 2.3 * columns, 0.9 + 2.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    height, width = next(iter(tables.values())).shape
    for panel, (arm, table) in zip(panels.flat, tables.items(), strict=False):
        image = panel.imshow(table, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
        panel.set_title(arm, fontsize=11)
        panel.grid(visible=False)
        panel.set_xticks(range(width), [str(place + 1) if unit == "task" else str(place) for place in range(width)], fontsize=9)
        panel.set_yticks(range(height), [str(place + 1) for place in range(height)], fontsize=9)
    for place, panel in enumerate(panels.flat):
        if place >= len(tables):
            panel.remove()
        elif place + columns >= len(tables):
            panel.tick_params(labelbottom=True)
    figure.supxlabel(unit, fontsize=12)
    figure.supylabel("after task", fontsize=12)
    figure.colorbar(image, ax=figure.axes, label="accuracy", shrink=0.8)
    return figure


FIGURES = Figures(continual_figures, CAPTIONS)
