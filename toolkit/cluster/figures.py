"""Figures of a cluster run. A figure whose data a run does not hold is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from toolkit.cluster.report import CLUSTER_METRICS, spent_until
from toolkit.core.device import amount
from toolkit.figures import COLOURS, FAINT, arm_colours, arm_markers, bars_with_intervals, label_above, new_figure, styled
from toolkit.report import CONFIDENCE, SHARD, MetricInfo, Result, View, headline

Floats = NDArray[np.float64]
OTHERS = "#BBBBBB"
FEW = 6
"""Up to so many arms share one panel; more get a panel each."""
GRID = 160
SPREAD = 10.0
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""
LINKS = 40
CURVES = {"test_accuracy": "test accuracy", "test_loss": "test loss", "train_loss": "training loss"}
PARTS = {
    "share_computing": ("gradients", COLOURS[0]),
    "share_compressing": ("compressing", COLOURS[4]),
    "share_merging": ("adding and merging what arrived", COLOURS[2]),
    "share_wire": ("wire, waiting included", "#9A9A9A"),
}
COST_COLUMNS = ["t0_s", "dur_s", "node", "kind", "nbytes", "energy_j"]

CURVE_CAPTION = (
    "{} Lines are means over seeds at the same {}, bands their 95 % interval; a line begins and ends where all seeds have data. With many "
    "arms each has a panel of its own, in which the first arm is drawn too and all others are grey."
)
CLUSTER_CAPTIONS: dict[str, str] = {
    "overview": (
        "The headline metrics per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval. A target "
        "that an arm reached in some seeds only is averaged over these: read it with the answers, which say in how many."
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
        "and no more than {} of them. Left out where the links do not differ."
    ).format(LINKS),
}


def cluster_figures(result: Result) -> dict[str, Figure]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    curves = _curves(result)
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
            _log_x(panel)
        if info.unit == "B":
            _bytes_x(panel, info)
    return figure


def _log_x(panel: Axes) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(numticks=5))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _bytes_x(panel: Axes, info: MetricInfo) -> None:
    panel.xaxis.set_major_formatter(lambda value, _: amount(value) if value > 0 else f"{value:g}")
    panel.set_xlabel(info.label)


class Curve(NamedTuple):
    """What one run had learnt, and what it had cost by then. Costs are NaN where the ledger is not at hand."""

    t_s: Floats
    value: Floats
    nbytes: Floats
    energy_j: Floats


def _curves(result: Result) -> dict[str, list[Curve]]:
    """The learning curve of every arm, one per seed; accuracy if there is any, else loss."""
    metrics = result.metrics
    name = next((name for name in CURVES if (metrics["name"] == name).any()), None)
    rows = metrics[metrics["name"] == name].sort_values("t_s", kind="stable")
    shards = _shards(result.directory)
    found: dict[str, list[Curve]] = {arm: [] for arm in result.arms}
    for (arm, seed), own in rows.groupby(["arm", "seed"], sort=True, observed=True):
        t_s = own["t_s"].to_numpy(float)
        sent, energy_j = np.full(len(t_s), np.nan), np.full(len(t_s), np.nan)
        if (str(arm), int(str(seed))) in shards:
            sent, energy_j = spent_until(_costs(shards[str(arm), int(str(seed))]), t_s)
        curve = Curve(t_s, own["value"].to_numpy(float), sent / _workers(metrics, str(arm), int(str(seed)), 1), energy_j)
        if str(arm) in found:
            found[str(arm)].append(curve)
    return {arm: curves for arm, curves in found.items() if curves}
