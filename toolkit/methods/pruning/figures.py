"""Figures of pruning: fronts, which filters survive, latency beside multiply-adds, progress of the searches, idle workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.methods.pruning.findings import PAPER_FACTOR, PAPER_REMOVED
from toolkit.render.figures import COLOURS, FAINT, Figures, arm_colours, arm_markers, bars_with_intervals, label_above, new_figure, styled
from toolkit.render.many import height_for, name_lines, tell_marks

Floats = NDArray[np.float64]

CAPTIONS = {
    "overview": "The headline metrics per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval.",
    "fronts": (
        "What the first search found, before any fine-tuning, first seed: masks that no other mask of the same search beats in all three "
        "of validation error, computation left and parameters left. Left the error against computation, right against parameters."
    ),
    "result": (
        "The pruned networks after fine-tuning: accuracy points lost on the test set against what was removed. Light dots are seeds, the "
        "large mark their mean. The dashed lines are the paper's two figures, 95.42 % of parameters and a sixteenth of the convolutions."
    ),
    "survivors": "In which share of the seeds each filter of the dense network survives, by arm, in the order of the first arm's.",
    "latency": (
        "How many times fewer multiply-adds a pruned network has, and how many times faster it is by the roofline of each device and, "
        "where it was measured, on this machine; mean over seeds of the first arms. Launching kernels and moving memory do not shrink "
        "with multiply-adds."
    ),
    "progress": "Best F so far against the generation of the first search (child by child where there are none), mean over seeds.",
    "workers": "Share of the search's time in which the mean worker does not evaluate, and the time of the search.",
}
MOST = 8
LEAST = 1.05
LEAST_ERROR = 0.1
"""In percent; no error at all is drawn here, as the axis is logarithmic."""


def pruning_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds."""
    return {
        "overview": bars_with_intervals(result, result.headline),
        "fronts": fronts(result),
        "result": reached(result),
        "survivors": survivors(result),
        "latency": latency(result),
        "progress": progress(result),
        "workers": workers(result),
    }


def _rows(result: Comparison, name: str) -> pd.DataFrame:
    return result.metrics[(result.metrics["name"] == name).to_numpy(bool)]


def _plain_log(axis: Axis) -> None:
    """A logarithmic axis whose ticks are 1, 2, 5, 10 and so on, written out."""
    if isinstance(axis, XAxis):
        axis.axes.set_xscale("log")
    else:
        axis.axes.set_yscale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


@styled
def fronts(result: Comparison) -> Figure | None:
    """The first round's fronts in two projections."""
    error = _rows(result, "front_error")
    error = error[(error["who"] == "0").to_numpy(bool) & (error["seed"] == min(result.seeds)).to_numpy(bool)]
    if error.empty:
        return None
    figure = new_figure(10.5, 4.6)
    panels = figure.subplots(1, 2, sharey=True)
    drawn = [arm for arm in result.arms if arm in set(error["arm"])][:MOST]
    colours, markers = arm_colours(drawn), arm_markers(drawn)
    for arm in drawn:
        own = {name: _front(result, arm, name) for name in ("front_error", "front_computation", "front_params")}
        for panel, name in zip(panels, ("front_computation", "front_params"), strict=True):
            panel.plot(
                own[name], np.maximum(100 * own["front_error"], LEAST_ERROR), linestyle="", marker=markers[arm], markersize=5,
                color=colours[arm], alpha=0.6, markeredgewidth=0, label=arm,
            )
    panels[0].set_xlabel("convolution MACs left (share)")
    panels[1].set_xlabel("parameters left (share)")
    panels[0].set_ylabel("validation error (%)")
    _plain_log(panels[0].yaxis)
    label_above(figure, panels[0], columns=4)
    return figure


def _front(result: Comparison, arm: str, name: str) -> Floats:
    """One coordinate of the first front of the first seed."""
    rows = _rows(result, name)
    chosen = (rows["arm"] == arm) & (rows["who"] == "0") & (rows["seed"] == min(result.seeds))
    return rows[chosen.to_numpy(bool)].sort_values("step")["value"].to_numpy(float)


@styled
def reached(result: Comparison) -> Figure | None:
    """Loss of accuracy against removal."""
    table = result.report.pivot_table(index=["arm", "seed"], columns="metric", values="value").reset_index()
    if not {"lost_points", "removed"} <= set(table.columns):
        return None
    figure = new_figure(10.5, 4.8)
    panels = figure.subplots(1, 2, sharey=True)
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    marked: list[tuple[Axes, dict[str, tuple[float, float]]]] = [(panel, {}) for panel in panels]
    for arm in result.arms:
        own = table[table["arm"] == arm]
        for (panel, points), name in zip(marked, ("removed", "conv_factor"), strict=True):
            if name not in own:
                continue
            x = 100 * (1 - own[name]) if name == "removed" else own[name]
            panel.plot(x, own["lost_points"], linestyle="", marker="o", markersize=4, alpha=0.35, color=colours[arm], markeredgewidth=0)
            panel.plot(x.mean(), own["lost_points"].mean(), linestyle="", marker=markers[arm], markersize=9, color=colours[arm],
                       markeredgecolor="white", label=arm)
            points[arm] = (float(x.mean()), float(own["lost_points"].mean()))
    panels[0].axvline(100 * (1 - PAPER_REMOVED), color=FAINT, linestyle="--", linewidth=1)
    panels[1].axvline(PAPER_FACTOR, color=FAINT, linestyle="--", linewidth=1)
    for panel in panels:
        _plain_log(panel.xaxis)
    panels[0].set_xlabel("parameters left (%)")
    panels[1].set_xlabel("convolution MACs ÷")
    panels[0].set_ylabel("accuracy points lost")
    tell_marks(figure, result.arms, marked, all_arms=result.arms)
    return figure


@styled
def survivors(result: Comparison) -> Figure | None:
    """A heat map per layer: arms against filters."""
    rows = _rows(result, "survives")
    if rows.empty:
        return None
    layers = list(dict.fromkeys(rows["who"]))[:3]
    share = rows.pivot_table(index="arm", columns=["who", "step"], values="value", aggfunc="mean")
    arms = [arm for arm in result.arms if arm in share.index]
    figure = new_figure(11.0, 1.6 + 0.3 * len(arms))
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False, width_ratios=[len(share[layer].columns) for layer in layers])[0]
    image: Any = None
    for panel, layer in zip(panels, layers, strict=True):
        table = share.loc[arms, layer].to_numpy(float)
        table = table[:, np.argsort(-table[0], kind="stable")]
        image = panel.imshow(table, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        panel.set_title(str(layer))
        panel.set_xlabel("filters")
        panel.set_xticks([])
        panel.grid(visible=False)
    panels[0].set_yticks(range(len(arms)), arms)
    figure.colorbar(image, ax=list(panels), label="share of seeds")
    return figure


@styled
def latency(result: Comparison) -> Figure | None:
    """Factors of multiply-adds and latency, one group of bars per arm."""
    means = result.summary.pivot(index="metric", columns="arm", values="mean")
    wanted = [("macs_factor", "all MACs")]
    wanted += [(f"latency_factor@{device}_B{batch}", f"{device.replace('_', ' ')}, B = {batch}")
               for device in ("raspberry_pi_5", "jetson_orin_nx", "desktop_cpu", "a100") for batch in (1, 256)]
    wanted += [(f"measured_factor@{batch}", f"measured here, B = {batch}") for batch in (1, 256)]
    wanted = [(name, label) for name, label in wanted if name in means.index]
    factors = means.loc["macs_factor"].to_dict() if "macs_factor" in means.index else {}
    arms = [arm for arm in result.arms if factors.get(arm, 0.0) > LEAST][:4]
    if not arms:
        return None
    figure = new_figure(9.5, 1.2 + 0.3 * len(wanted) * max(1, len(arms) / 2))
    panel = figure.subplots()
    height = 0.8 / len(arms)
    for place, arm in enumerate(arms):
        values = means.loc[[name for name, _ in wanted], arm].to_numpy(float).tolist()
        at = np.arange(len(wanted)) + (place - (len(arms) - 1) / 2) * height
        panel.barh(at, values, height=height, color=COLOURS[place], label=arm)
        for y, value in zip(at, values, strict=True):
            panel.annotate(f"{value:.3g}", (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_yticks(range(len(wanted)), [label for _, label in wanted])
    panel.set_ylim(len(wanted) - 0.5, -0.5)
    _plain_log(panel.xaxis)
    panel.set_xlim(left=1)
    panel.set_xlabel("times fewer, times faster")
    panel.grid(axis="y", visible=False)
    label_above(figure, panel, columns=4)
    return figure


@styled
def progress(result: Comparison) -> Figure | None:
    """Best F of the first search."""
    rows = _rows(result, "best_fitness")
    rows = rows[(rows["who"] == "0").to_numpy(bool)]
    if rows.empty:
        return None
    arms = [arm for arm in result.arms if arm in set(rows["arm"])]
    figure = new_figure(9.0, height_for(arms, 4.4))
    panel = figure.subplots()
    colours = arm_colours(arms)
    ends = {}
    for arm in arms:
        table = rows[(rows["arm"] == arm).to_numpy(bool)].pivot(index="step", columns="seed", values="value").ffill()
        panel.plot(table.index, table.mean(axis=1), color=colours[arm], label=arm)
        ends[arm] = (float(table.index[-1]), float(table.mean(axis=1).iloc[-1]))
    panel.set_xlabel("generation, or child")
    panel.set_ylabel("best F so far")
    name_lines(figure, panel, ends)
    return figure


@styled
def workers(result: Comparison) -> Figure | None:
    """Idle share and time of the search."""
    infos = [info for info in result.infos if info.name in {"idle_fraction", "search_s", "fitness@*"}]
    present = set(result.report["metric"])
    if "idle_fraction" not in present:
        return None
    return bars_with_intervals(result, [info for info in infos if info.name in present])


FIGURES = Figures(pruning_figures, CAPTIONS)
