"""Figures of a run at sea. A figure whose data a run does not hold is left out."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import describe
from toolkit.core.words import counted
from toolkit.errors import listed
from toolkit.render.axes import log_x
from toolkit.render.figures import (
    COLOURS,
    FAINT,
    FEW_ARMS,
    INK,
    Figures,
    arm_colours,
    arm_markers,
    label_above,
    new_figure,
    styled,
)
from toolkit.render.many import panel_per_arm
from toolkit.render.overview import metrics_figure

Floats = NDArray[np.float64]
DAY_S = 86_400.0
SHOWN_S = 10_800
"""The horizon that the figure of one link shows, where it was scored."""
NOTE_COLUMNS = 105
"""Characters of a small note that fit into the width of the figure of one link."""
Z90 = 1.6449  # half width of the central 90 % of a normal, in standard deviations

SEA_CAPTIONS: dict[str, str] = {
    "outcome": (
        "Delivery, delay and energy per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval. "
        "Delay is of delivered packets only, so an arm that loses its slow packets looks fast: read it with the delivery ratio. "
        "An axis is logarithmic where values differ by more than a factor of ten."
    ),
    "delay": (
        "Share of all packets that had arrived so long after they were generated; all seeds together. A line ends at the delivery ratio: "
        "what was lost, and what was still held somewhere when the run ended, never arrives. A protocol that waits for a better channel "
        "shows here what it pays for it. The dotted line is the share that could have been delivered in time over the true channel, by "
        "any store-and-forward protocol that uses no poorer hops than those of the bound (fabric.reach). With more than ten arms each has "
        "a panel of its own."
    ),
    "rmse_vs_horizon": (
        "How far forecasts of a link's signal-to-noise ratio were off, against how far ahead they looked; mean over seeds and "
        "its 95 % interval, which holds the luck of the seeds that all arms share: the table of paired differences is the sharper "
        "test. The horizons are those written below the axis, which is logarithmic; round each, arms stand a little apart so that none "
        "covers another. With more than ten arms each horizon has a panel of its own."
    ),
    "link_forecast": (
        "Signal-to-noise ratio of one link as the channel had it, and as it was forecast the stated time ahead by the first arm "
        "that predicts. The band is meant to hold the truth nine times in ten. Time 0 is the start of the measured part."
    ),
    "network_map": (
        "Where the nodes were at the start, from above and from the side, and the links over which the first arm sent data in its "
        "first seed; darker and wider means more frames. Frames sent to all neighbours at once have no link and are not drawn."
    ),
    "environment": (
        "What the sea did in the first seed: wind, tide, and the noise density that a receiver had to hear through. The shaded part "
        "is the history before the measured part, in which links were only listened to."
    ),
}


def sea_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    return {
        "outcome": outcome(result),
        "delay": delay(result),
        "rmse_vs_horizon": rmse_vs_horizon(result),
        "link_forecast": link_forecast(result),
        "network_map": network_map(result),
        "environment": environment(result),
    }

SENT = ("t0_s", "dur_s", "outcome")
"""Columns of the end-to-end records that the delays come from."""


@styled
def outcome(result: Comparison) -> Figure | None:
    """Delivery ratio, delay and energy per delivered packet, per arm."""
    present = set(result.report["metric"])
    names = [name for name in ("delivery_ratio", "delay_mean_s", "energy_per_delivered_j") if name in present]
    return metrics_figure(result, [describe(name, result.infos) for name in names]) if names else None


@styled
def delay(result: Comparison) -> Figure | None:
    """Share of the packets generated before the drain period that were delivered within a time, per arm."""
    curves = {arm: delay_curve(result.ledger_of(arm, kinds=["send"], columns=SENT), _counted_until_s(result)) for arm in result.arms}
    curves = {arm: curve for arm, curve in curves.items() if len(curve[0])}
    if not curves:
        return None
    last_s = 1.3 * max(float(delay_s[-1]) for delay_s, _ in curves.values())
    bound = reachable(result)
    if len(curves) > FEW_ARMS:
        return _delay_panels(result, {arm: _steps(*curve, last_s) for arm, curve in curves.items()}, bound)
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(9.0, 4.8)
    panel = figure.subplots()
    for place, (arm, (delay_s, share)) in enumerate(curves.items()):
        at_s, level = np.append(delay_s, last_s), np.append(share, share[-1])
        marks = [len(delay_s) * (place + 1) // (len(curves) + 1), len(delay_s)]
        panel.plot(at_s, level, drawstyle="steps-post", color=colours[arm], marker=markers[arm], markevery=marks,
                   markeredgecolor="white", linewidth=1.6, label=arm)
    if bound is not None:
        panel.axhline(bound, color=INK, linestyle=":", linewidth=1.4, label="what the water allows")
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_ylim(0, 1.02)
    panel.set_xlabel("time since a packet was generated (s)")
    panel.set_ylabel("share of packets delivered")
    figure.legend(loc="outside right center")
    return figure


def _steps(delay_s: Floats, share: Floats, last_s: float) -> Floats:
    """The corners of a curve that jumps at each delay, (n, 2)."""
    at_s, level = np.append(delay_s, last_s), np.append(share, share[-1])
    return np.column_stack([np.repeat(at_s, 2)[1:], np.repeat(level, 2)[:-1]])


def _delay_panels(result: Comparison, lines: dict[str, Floats], bound: float | None) -> Figure:
    """A panel per arm, where there are too many for one."""
    figure = panel_per_arm(lines, result.arms[0])
    for panel in figure.axes:
        if bound is not None:
            panel.axhline(bound, color=INK, linestyle=":", linewidth=1.0)
    first = figure.axes[0]
    log_x(first, min(line[0, 0] for line in lines.values()), max(line[-1, 0] for line in lines.values()), small=True)
    first.set_ylim(0, 1.02)
    figure.supxlabel("time since a packet was generated (s)", fontsize=12, color=INK)
    figure.supylabel("share of packets delivered", fontsize=12, color=INK)
    return figure


def reachable(result: Comparison) -> float | None:
    """The largest share of packets that the bounds of this run let through, mean over seeds; None where none was reckoned."""
    rows = result.summary[result.summary["metric"].str.startswith("reachable_any@") & (result.summary["n"] > 0)]
    return float(rows["mean"].max()) if len(rows) else None


def delay_curve(sends: pd.DataFrame, counted_until_s: float) -> tuple[Floats, Floats]:
    """Return the sorted delays in s of what was delivered, and the share of all packets created before a time that each completes.

    *sends* are rows of kind ``send`` of any number of ledgers.
    """
    sends = sends[sends["t0_s"] < counted_until_s]
    delays_s = np.sort(sends.loc[sends["outcome"] == "delivered", "dur_s"].to_numpy(float))
    return delays_s, np.arange(1, len(delays_s) + 1) / max(len(sends), 1)


def _counted_until_s(result: Comparison) -> float:
    """The end of the time in which packets count, as in the tables; all of them where the scenario does not say."""
    if not (result.directory / "scenario.yaml").is_file():
        return float("inf")
    scenario = result.scenario
    return float(scenario.duration_s or np.inf) - float(getattr(scenario.fabric, "drain_s", 0.0))


@styled
def rmse_vs_horizon(result: Comparison) -> Figure | None:
    """Forecast error against horizon, for the arms that predict."""
    rows = result.summary[result.summary["metric"].str.startswith("rmse_db@")]
    rows = rows.assign(hours=[float(name.partition("@")[2].rstrip("h")) for name in rows["metric"]])
    rows = rows[rows["n"] > 0].sort_values("hours")
    if rows.empty:
        return None
    arms = [arm for arm in result.arms if arm in set(rows["arm"])]
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    hours = np.unique(rows["hours"].to_numpy(float))
    if len(arms) > FEW_ARMS:
        names = dict.fromkeys(rows["metric"])
        return metrics_figure(result, [describe(name, result.infos) for name in names])
    apart = _dodge(hours, len(arms))
    figure = new_figure(9.0, 4.6)
    panel = figure.subplots()
    for place, arm in enumerate(arms):
        own = rows[rows["arm"] == arm]
        mean, low = own["mean"].to_numpy(float), own["ci95_low"].to_numpy(float)
        at = own["hours"].to_numpy(float) * apart ** (place - (len(arms) - 1) / 2)
        panel.errorbar(at, mean, yerr=np.nan_to_num(mean - low), color=colours[arm], marker=markers[arm],
                       capsize=3, label=arm, markeredgecolor="white")
    panel.set_xscale("log")
    panel.minorticks_off()
    panel.set_xticks(hours, [f"{hour:g}" for hour in hours])
    panel.margins(x=0.08)
    panel.grid(axis="x", visible=False)
    panel.set_xlabel("how far ahead (h)")
    panel.set_ylabel("forecast RMSE (dB)")
    panel.set_ylim(bottom=0)
    figure.legend(loc="outside right center")
    return figure


def _dodge(hours: Floats, arms: int) -> float:
    """The factor between neighbouring arms at one horizon: all of them take up a quarter of the narrowest gap between two horizons."""
    nearest = float(np.diff(np.log(hours)).min()) if len(hours) > 1 else 1.0
    return float(np.exp(0.25 * nearest / max(1, arms - 1)))


@styled
def link_forecast(result: Comparison) -> Figure | None:
    """Truth and forecasts of one link at one horizon, after as much of its past as there are forecasts, and a day at least."""
    metrics = result.metrics
    all_means = metrics[metrics["name"] == "link_forecast_db"]
    arm = next((name for name in result.arms if name in set(all_means["arm"])), None)
    if arm is None:
        return None
    seed = int(all_means.loc[all_means["arm"] == arm, "seed"].min())
    run = metrics[(metrics["arm"] == arm) & (metrics["seed"] == seed)]
    means = run[run["name"] == "link_forecast_db"]
    link = str(means["who"].iloc[0])
    horizons = np.unique(means["step"])
    step = SHOWN_S if SHOWN_S in horizons else int(horizons[len(horizons) // 2])
    at_s, mean_db = _series(means[means["step"] == step], "link_forecast_db", link)
    std_s, std = _series(run[run["step"] == step], "link_forecast_std_db", link)
    truth_s, truth_db = _series(run, "link_snr_db", link)
    shown = truth_s >= -max(float(at_s[-1]), DAY_S)
    colour = arm_colours(result.arms)[arm]
    figure = new_figure(9.0, 4.4)
    panel = figure.subplots()
    if len(std):
        half = Z90 * (std if np.array_equal(at_s, std_s) else np.interp(at_s, std_s, std))
        panel.fill_between(at_s, mean_db - half, mean_db + half, color=colour, alpha=0.25, linewidth=0, label="90 % interval")
    panel.plot(truth_s[shown], truth_db[shown], color=INK, linewidth=1.2, label="channel")
    panel.plot(at_s, mean_db, color=colour, linewidth=1.8, label=f"forecast {step / 3600:g} h ahead")
    _threshold(panel, run)
    panel.set_ylabel("SNR (dB)")
    panel.set_title(f"link {link.replace('->', ' → ')}, arm {arm}, seed {seed}", loc="right", fontsize=11, fontweight="normal", color=FAINT)
    _time_axis(panel)
    label_above(figure, panel, columns=4)
    left_out = _not_drawn(result, all_means, (arm, link, step))
    if left_out:
        figure.supxlabel(textwrap.fill(f"not drawn: {left_out}", NOTE_COLUMNS), x=0.01, ha="left", fontsize=9, color=FAINT)
    return figure


def _not_drawn(result: Comparison, means: pd.DataFrame, drawn: tuple[str, str, int]) -> str:
    """Name the forecasts of this run that the figure of one link leaves out."""
    arm, link, step = drawn
    arms = [name for name in result.arms if name in set(means["arm"]) and name != arm]
    links = [str(name).replace("->", " → ") for name in dict.fromkeys(means["who"]) if name != link]
    horizons = [f"{other / 3600:g} h" for other in np.unique(means["step"]) if other != step]
    parts = [f"{name} {listed(others, 60)}" for name, others in (("arms", arms), ("links", links), ("horizons", horizons)) if others]
    seeds = counted(means["seed"].nunique() - 1, "other seed")
    return "; ".join([*parts, *([seeds] if means["seed"].nunique() > 1 else [])])


def _threshold(panel: Axes, run: pd.DataFrame) -> None:
    level = run.loc[run["name"] == "decode_threshold_db", "value"]
    if len(level):
        panel.axhline(float(level.iloc[0]), color=COLOURS[1], linestyle="--", linewidth=1.3, label="needed to decode")


@styled
def network_map(result: Comparison) -> Figure | None:
    """Plan and side view of the nodes with the links that carried data."""
    metrics = result.metrics
    arm, seed = result.arms[0], result.seeds[0]
    run = metrics[(metrics["arm"] == arm) & (metrics["seed"] == seed)]
    place = run[run["name"].isin(["x_m", "y_m", "depth_m", "is_sink"])].drop_duplicates(["name", "who"])
    nodes = place.pivot(index="who", columns="name", values="value")
    if nodes.empty or not {"x_m", "y_m", "depth_m"} <= set(nodes.columns):
        return None
    nodes.index = nodes.index.astype(int)
    sink = nodes["is_sink"].fillna(0).to_numpy(float) > 0 if "is_sink" in nodes else np.zeros(len(nodes), bool)
    links = _links(result, arm, seed)
    links = links[links["node"].isin(nodes.index) & links["peer"].isin(nodes.index)]
    figure = new_figure(10.0, 5.2)
    panels = figure.subplots(1, 2)
    lines = None
    for panel, (vertical, title) in zip(panels, (("y_m", "From above"), ("depth_m", "From the side")), strict=True):
        flat = nodes[["x_m", vertical]] / 1000
        if len(links):
            ends = np.stack([flat.loc[links["node"]].to_numpy(float), flat.loc[links["peer"]].to_numpy(float)], axis=1)
            frames = links["frames"].to_numpy(float)
            most = max(float(frames.max()), 2.0)
            lines = LineCollection(list(ends), array=frames, cmap="viridis_r", norm=LogNorm(1, most), zorder=1, alpha=0.85,
                                   linewidths=0.8 + 2.7 * np.log1p(frames) / np.log1p(most))
            panel.add_collection(lines)
        for own, marker, size, colour, name in ((~sink, "o", 45, COLOURS[0], "node"), (sink, "^", 130, COLOURS[1], "sink")):
            panel.scatter(*flat[own].to_numpy(float).T, marker=marker, s=size, color=colour, edgecolor="white", zorder=3, label=name)
        if len(nodes) <= 30:
            named = flat if vertical == "y_m" else flat[~sink]  # sinks lie behind each other seen from the side
            for number, x, y in named.itertuples():
                panel.annotate(str(number), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=9, zorder=4)
        panel.set_title(title)
        panel.set_xlabel("east (km)")
    panels[0].set_ylabel("north (km)")
    panels[0].set_aspect("equal", adjustable="datalim")
    panels[1].set_ylabel("depth (m)")
    _depth_axis(panels[1])
    label_above(figure, panels[0])
    if lines is not None:
        bar = figure.colorbar(lines, ax=panels, label="data frames sent", shrink=0.9)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    figure.suptitle(f"arm {arm}, seed {seed}", x=0.99, ha="right", fontsize=11, color=FAINT)
    return figure


def _links(result: Comparison, arm: str, seed: int) -> pd.DataFrame:
    """Data frames per pair of nodes, both directions together, the least used first."""
    sent = result.ledger_of(arm, seed, kinds=["tx"], columns=["phase", "node", "peer"])
    sent = sent[(sent["phase"] == "data") & (sent["peer"] >= 0)]
    pair = np.sort(sent[["node", "peer"]].to_numpy(np.int64), axis=1)
    frame = pd.DataFrame(pair, columns=["node", "peer"])
    return frame.value_counts(sort=False).rename("frames").reset_index().sort_values("frames")


def _depth_axis(panel: Axes) -> None:
    """Depth in m, growing downwards, with the surface in sight."""
    panel.yaxis.set_major_formatter(lambda value, _: f"{1000 * value:g}")
    panel.set_ylim(max(panel.get_ylim()), min(0.0, *panel.get_ylim()))
    panel.axhline(0, color=COLOURS[5], linewidth=1.5, zorder=0)


@styled
def environment(result: Comparison) -> Figure | None:
    """Wind, tide and noise against time, in the first run that recorded them."""
    metrics = result.metrics
    kinds = {"wind_m_s": "wind (m/s)", "tide_m": "tide (m)", "noise_psd_db": "noise density\n(dB re 1 µPa²/Hz)"}
    rows = metrics[metrics["name"].isin(list(kinds))]
    if rows.empty:
        return None
    arm = next(name for name in result.arms if name in set(rows["arm"]))
    rows = rows[rows["arm"] == arm]
    rows = rows[rows["seed"] == rows["seed"].min()]
    names = [name for name in kinds if name in set(rows["name"])]
    figure = new_figure(9.0, 0.9 + 1.9 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        places = list(dict.fromkeys(rows.loc[rows["name"] == name, "who"]))[:4]
        for place in places:
            panel.plot(*_series(rows, name, place), linewidth=1.6, label=place if not place.isdigit() else f"node {place}")
        panel.set_ylabel(kinds[name])
        if len(places) > 1:
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        first_s = float(rows["t_s"].min())
        if first_s < 0:
            panel.axvspan(first_s, 0.0, color="#F0F0F0", linewidth=0, zorder=0)
    figure.align_ylabels(panels)
    _time_axis(panels[-1])
    return figure


def _series(rows: pd.DataFrame, name: str, who: str) -> tuple[Floats, Floats]:
    """Time in s and values in order of time, with a NaN in every long gap so that no line bridges it."""
    own = rows[(rows["name"] == name) & (rows["who"] == who)].sort_values("t_s", kind="stable")
    t_s, value = own["t_s"].to_numpy(float), own["value"].to_numpy(float)
    steps = np.diff(t_s)
    if len(steps):
        cuts = np.flatnonzero(steps > 4 * np.median(steps)) + 1
        t_s, value = np.insert(t_s, cuts, t_s[cuts - 1]), np.insert(value, cuts, np.nan)
    return t_s, value


def _time_axis(panel: Axes) -> None:
    """Label an axis in seconds by days, or by hours where it spans less than three days."""
    panel.margins(x=0.01)
    low_s, high_s = panel.get_xlim()
    unit_s, name = (DAY_S, "days") if high_s - low_s > 3 * DAY_S else (3600.0, "h")
    steps = MaxNLocator(nbins=9, steps=[1, 2, 5, 10] if name == "days" else [1, 2, 3, 4, 6, 10])
    panel.set_xticks([float(tick) * unit_s for tick in steps.tick_values(low_s / unit_s, high_s / unit_s)])
    panel.set_xlim(low_s, high_s)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / unit_s:g}".replace("-", "−"))
    panel.set_xlabel(f"time since the start ({name})")


FIGURES = Figures(sea_figures, SEA_CAPTIONS)
