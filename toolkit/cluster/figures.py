"""Figures of a cluster run. A figure whose data a run does not hold is left out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from toolkit.cluster.curves import GRID, Band, Curves, bands, learning_curves
from toolkit.cluster.report import CLUSTER_METRICS
from toolkit.core.device import amount
from toolkit.figures import COLOURS, FAINT, INK, arm_colours, arm_markers, bars_with_intervals, label_above, new_figure, styled
from toolkit.report import Result, View, headline

Floats = NDArray[np.float64]
OTHERS = "#BBBBBB"
FEW = 6
"""Up to so many arms share one panel; more get a panel each."""
SPREAD = 10.0
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""
LINKS = 40
CURVES = {
    "seen_accuracy": "accuracy on the tasks seen so far", "test_accuracy": "test accuracy", "test_loss": "test loss",
    "train_loss": "training loss",
}
AXES = {
    "t_s": "simulated time (s)",
    "nbytes": "bytes sent per worker",
    "energy_j": "energy in all (J)",
}
PARTS = {
    "share_computing": ("gradients", COLOURS[0]),
    "share_compressing": ("compressing", COLOURS[4]),
    "share_merging": ("adding and merging what arrived", COLOURS[2]),
    "share_wire": ("wire, waiting included", "#9A9A9A"),
}

CURVE_CAPTION = (
    "{} Lines are means over seeds at the same {}, bands their 95 % interval; a line begins and ends where all seeds have data. The "
    "axis shows what runs reached; the band of few seeds may go beyond it. With many arms each has a panel of its own, in which the "
    "first arm is drawn too and all others are grey."
)
CLUSTER_CAPTIONS: dict[str, str] = {
    "overview": (
        "The headline metrics per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval. The time to "
        "an accuracy is that of the first evaluation that reached it; where an arm reached it in some seeds only, it is averaged over "
        "these: read it with the answers, which say in how many."
    ),
    "learning_vs_time": CURVE_CAPTION.format("What was learnt against simulated time; evaluations themselves take none.", "time"),
    "learning_vs_bytes": CURVE_CAPTION.format(
        "What was learnt against the payload bytes that all nodes had sent by then, servers included, per worker.", "number of bytes"
    ),
    "learning_vs_energy": CURVE_CAPTION.format(
        "What was learnt against the energy of everything by then: computing, links, and machines and interfaces while idle.", "energy"
    ),
    "where_time_goes": (
        "How the mean worker spent its time, mean over seeds: left in seconds, right as shares. The wire's part is what is neither "
        "gradient, compression nor work on what arrived, so it holds waiting for slower workers too. Under ideal pricing the closed "
        "form of a collective holds the work on what arrives."
    ),
    "link_utilisation": (
        "Share of what each link could have carried over the whole run that it did carry, mean over seeds; the busiest links first, "
        f"and no more than {LINKS} of them. Left out where the links do not differ."
    ),
}


def cluster_figures(result: Result) -> dict[str, Figure]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    curves = learning_curves(result)
    drawn = {
        "overview": overview(result),
        "learning_vs_time": learning(result, curves, "t_s"),
        "learning_vs_bytes": learning(result, curves, "nbytes"),
        "learning_vs_energy": learning(result, curves, "energy_j"),
        "where_time_goes": where_time_goes(result),
        "link_utilisation": link_utilisation(result),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


@styled
def overview(result: Result) -> Figure | None:
    """Headline metrics per arm; logarithmic where arms differ by more than a factor of ten."""
    infos = [info for info in headline(result) if np.isfinite(result.report.loc[result.report["metric"] == info.name, "value"]).any()]
    if not infos:
        return None
    figure = bars_with_intervals(result, infos)
    for panel, info in zip(figure.axes, infos, strict=False):
        values = result.report.loc[result.report["metric"] == info.name, "value"].to_numpy(float)
        values = values[np.isfinite(values)]
        if info.unit != "1" and values.min() > 0 and values.max() / values.min() > SPREAD:
            log_x(panel, values.min(), values.max(), small=True)
        if info.unit == "B":
            bytes_x(panel)
            panel.set_xlabel(info.label)  # the ticks say the unit
    return figure


def log_x(panel: Axes, low: float, high: float, *, small: bool) -> None:
    """A logarithmic axis for values from *low* to *high*, with no more labels than a large or *small* panel has room for."""
    decades = np.log10(high / low)
    between = () if decades >= 2 else (3.0,) if small and decades >= 1 else (2.0, 5.0)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(numticks=4 if small else 9, subs=(1.0, *between)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1e4 else f"{value:g}")


def bytes_x(panel: Axes) -> None:
    panel.xaxis.set_major_formatter(lambda value, _: amount(value).replace(".0 ", " ") if value > 0 else f"{value:g}")


@styled
def learning(result: Result, curves: Curves | None, axis: str) -> Figure | None:
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
    figure = _one_panel(result, found) if len(result.arms) <= FEW else _panel_per_arm(result, found)
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


def _one_panel(result: Result, found: dict[str, Band]) -> Figure:
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(9.0, 4.8)
    panel = figure.subplots()
    for place, (arm, band) in enumerate(found.items()):
        _shade(panel, band, colours[arm])
        panel.plot(band.at, band.mean, color=colours[arm], marker=markers[arm], markeredgecolor="white", label=arm, zorder=4,
                   markevery=(5 * place, GRID // 8))
    figure.legend(loc="outside right center")
    return figure


def _panel_per_arm(result: Result, found: dict[str, Band]) -> Figure:
    """One panel for each arm over all others in grey, the first arm in each of them."""
    first = result.arms[0]
    columns = 4 if len(found) <= 12 else 5
    rows = -(-len(found) // columns)
    figure = new_figure(1.0 + 2.4 * columns, 1.3 + 1.75 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    lines = {arm: np.column_stack([band.at, band.mean]) for arm, band in found.items()}
    for panel, (arm, band) in zip(panels.flat, found.items(), strict=False):
        panel.add_collection(LineCollection([line for other, line in lines.items() if other not in (arm, first)],
                                            colors=OTHERS, linewidths=0.8, zorder=2))
        if first in found and arm != first:
            panel.plot(*lines[first].T, color=COLOURS[0], linewidth=1.4, linestyle="--", zorder=3)
        colour = COLOURS[0] if arm == first else COLOURS[1]
        _shade(panel, band, colour)
        panel.plot(band.at, band.mean, color=colour, linewidth=2.0, zorder=4)
        panel.set_title(arm, fontsize=11, color=colour)
        panel.autoscale_view()
    for place, panel in enumerate(panels.flat):
        if place >= len(found):
            panel.remove()
        elif place + columns >= len(found):
            panel.tick_params(labelbottom=True)
        panel.tick_params(axis="x", labelsize=10)
    handles = [
        Line2D([], [], color=COLOURS[1], label="the arm above the panel"),
        Line2D([], [], color=COLOURS[0], linestyle="--", linewidth=1.4, label=f"{first} (first arm)"),
        Line2D([], [], color=OTHERS, linewidth=0.8, label="all others"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _shade(panel: Axes, band: Band, colour: str) -> None:
    if np.isfinite(band.half).all():
        panel.fill_between(band.at, band.mean - band.half, band.mean + band.half, color=colour, alpha=0.2, linewidth=0, zorder=2)


@styled
def where_time_goes(result: Result) -> Figure | None:
    """Stacked bars of the mean worker's time, in seconds and as shares."""
    means = result.summary.pivot(index="arm", columns="metric", values="mean")
    if not {*PARTS, "local_s", "wire_s"} <= set(means.columns):
        return None
    arms = [arm for arm in result.arms if np.isfinite(means.loc[arm, list(PARTS)].to_numpy(float)).all()]
    if not arms:
        return None
    shares = means.loc[arms, list(PARTS)].to_numpy(float)
    total_s = means.loc[arms, ["local_s", "wire_s"]].to_numpy(float).sum(axis=1)
    figure = new_figure(10.5, 1.7 + 0.36 * len(arms))
    panels = figure.subplots(1, 2, sharey=True)
    for panel, parts in zip(panels, (shares * total_s[:, None], shares), strict=True):
        left = np.zeros(len(arms))
        for (label, colour), part in zip(PARTS.values(), parts.T, strict=True):
            panel.barh(range(len(arms)), part, left=left, color=colour, height=0.72, label=label, edgecolor="white", linewidth=0.5)
            left += part
        panel.grid(axis="y", visible=False)
    for line, seconds in enumerate(total_s):
        panels[0].annotate(f"{seconds:.3g} s", (seconds, line), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10)
    panels[0].margins(x=0.16)
    panels[0].set_xlim(left=0)
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    panels[0].set_xlabel("time of the mean worker (s)")
    panels[1].set_xlabel("share of its time")
    panels[1].set_xlim(0, 1)
    label_above(figure, panels[0], columns=4)
    return figure


@styled
def link_utilisation(result: Result) -> Figure | None:
    """Arms against links, darker where a link was busier; only where more than three links differ."""
    rows = result.metrics[(result.metrics["name"] == "link_utilisation").to_numpy(bool)]
    if rows.empty:
        return None
    runs = result.report[["arm", "seed"]].drop_duplicates().groupby("arm")["seed"].count()
    table = rows.pivot_table(index="arm", columns="who", values="value", aggfunc="sum", observed=True).div(runs, axis=0)
    table = table.reindex([arm for arm in result.arms if arm in table.index]).fillna(0.0)
    spread = float((table.max(axis=1) - table.min(axis=1)).max())
    if table.shape[1] <= 3 or spread < 0.05:
        return None
    busiest = table.max(axis=0).sort_values(ascending=False, kind="stable").index[:LINKS]
    table = table[busiest]
    figure = new_figure(2.6 + 0.24 * len(busiest) + 0.08 * max(map(len, table.index)), 2.6 + 0.32 * len(table))
    panel = figure.subplots()
    image = panel.imshow(table.to_numpy(float), aspect="auto", cmap="viridis_r", vmin=0.0, vmax=max(0.1, float(table.to_numpy().max())))
    panel.set_xticks(range(len(busiest)), [str(link).replace(">", " → ") for link in busiest], rotation=90, fontsize=9)
    panel.set_yticks(range(len(table)), table.index)
    panel.grid(visible=False)
    figure.colorbar(image, ax=panel, label="utilisation")
    return figure


CLUSTER_VIEW = View(metrics=tuple(CLUSTER_METRICS), figures=cluster_figures, captions=CLUSTER_CAPTIONS)
