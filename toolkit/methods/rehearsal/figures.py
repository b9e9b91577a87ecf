"""Figures of a rehearsal: predicted against measured throughput, or the time of a step by network."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from toolkit.analysis.comparison import Comparison
from toolkit.methods.rehearsal.cases import cases_table, rehearsal_of, validation_table
from toolkit.render.axes import log_y
from toolkit.render.figures import COLOURS, INK, MARKERS, Figures, bars_with_intervals, label_above, new_figure, styled

LEAST_SPAN = 4.0
"""No logarithmic axis spans less, so that a few percent do not look like much."""

GROUP = ["case", "exchange", "schedule", "workers"]
"""What arms have in common whose networks are compared."""


def rehearsal_figures(result: Comparison) -> dict[str, Figure]:
    """Return the figures of this run by name."""
    program = rehearsal_of(result.scenario)
    table = cases_table(result)
    if program.measured is not None:
        held = validation_table(table, program.measured)
        held = held[np.isfinite(held["predicted_step_s"])]
        if len(held):
            return {"foretold": foretold(held), "fitted": growth(held)}
    figures = {"by_network": by_network(table)}
    if len(result.seeds) > 1:
        steps = [info for info in result.described if info.name.startswith("step_s@")]
        figures["overview"] = bars_with_intervals(result, steps)
    return figures


@styled
def foretold(table: pd.DataFrame) -> Figure:
    """Predicted against measured steps per second, one panel per exchange; hollow marks took part in the fit."""
    exchanges = list(dict.fromkeys(table["exchange"]))
    cases = list(dict.fromkeys(table["case"]))
    figure = new_figure(4.0 * len(exchanges) + 0.6, 4.6)
    panels = figure.subplots(1, len(exchanges), sharex=True, sharey=True, squeeze=False)[0]
    low, high = (float(f(table[["measured_step_s", "predicted_step_s"]].to_numpy())) for f in (np.min, np.max))
    line = np.array([0.7 / high, 1.4 / low])
    for panel, exchange in zip(panels, exchanges, strict=True):
        panel.plot(line, line, color=INK, linewidth=1)
        for index, case in enumerate(cases):
            rows = table[(table["exchange"] == exchange) & (table["case"] == case)]
            for row in rows.itertuples():
                panel.plot(
                    1 / row.measured_step_s, 1 / row.predicted_step_s, marker=MARKERS[index], color=COLOURS[index], markersize=8,
                    markerfacecolor="white" if row.fitted else COLOURS[index], linestyle="",
                )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(str(exchange))
        panel.set_xlabel("measured (steps/s)")
    panels[0].set_ylabel("predicted (steps/s)")
    handles = [Line2D([], [], marker=MARKERS[i], color=COLOURS[i], linestyle="", label=case) for i, case in enumerate(cases)]
    handles.append(Line2D([], [], marker="o", color=INK, markerfacecolor="white", linestyle="", label="took part in the fit"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


@styled
def growth(table: pd.DataFrame) -> Figure:
    """Steps per second against the number of workers: measured, predicted, and what the wire alone would allow."""
    exchanges = list(dict.fromkeys(table["exchange"]))
    cases = list(dict.fromkeys(table["case"]))
    figure = new_figure(3.0 * len(cases) + 0.6, 2.6 * len(exchanges) + 0.6)
    panels = figure.subplots(len(exchanges), len(cases), sharex=True, squeeze=False)
    for row_of_panels, exchange in zip(panels, exchanges, strict=True):
        for panel, case in zip(row_of_panels, cases, strict=True):
            rows = table[(table["exchange"] == exchange) & (table["case"] == case)].sort_values("workers")
            workers = rows["workers"].to_numpy()
            panel.plot(workers, 1 / rows["measured_step_s"], marker="o", color=COLOURS[1], label="measured")
            panel.plot(workers, 1 / rows["predicted_step_s"], marker="s", linestyle="--", color=COLOURS[0], label="model with its constant")
            panel.plot(workers, 1 / rows["step_s"], linestyle=":", color=INK, label="model of the wire alone")
            panel.set_xscale("log", base=2)
            panel.set_xticks(workers, [str(count) for count in workers])
            panel.set_yscale("log")
            low, high = panel.get_ylim()
            wider = max(1.0, LEAST_SPAN * low / high) ** 0.5
            panel.set_ylim(low / wider, high * wider)
            panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.yaxis.set_minor_locator(NullLocator())
            panel.set_title(f"{exchange}, {case}", fontsize=10)
    figure.supxlabel("workers")
    figure.supylabel("steps/s")
    label_above(figure, panels[0][0])
    return figure


@styled
def by_network(table: pd.DataFrame) -> Figure:
    """Time of a step by exchange and network, as bars of gradient and local work, and exchange."""
    groups = list(dict.fromkeys(zip(*(table[column] for column in GROUP), strict=True)))
    networks = list(dict.fromkeys(table["network"]))
    figure = new_figure(2.2 + 2.0 * len(groups), 4.4)
    panel = figure.subplots()
    width = 0.8 / len(networks)
    for index, network in enumerate(networks):
        rows = table[table["network"] == network].set_index(GROUP)
        places = [place for place, group in enumerate(groups) if group in rows.index]
        heights = [float(rows.loc[groups[place], "exchange_s"]) for place in places]
        left = [place + (index - (len(networks) - 1) / 2) * width for place in places]
        bars = panel.bar(left, heights, width * 0.92, color=COLOURS[index % len(COLOURS)], label=network)
        panel.bar_label(bars, [f"{height:.2g}" for height in heights], fontsize=8, padding=2)
    panel.set_xticks(range(len(groups)), [f"{exchange}\n{schedule}\n{case}\nP = {size}" for case, exchange, schedule, size in groups])
    if (table["exchange_s"] > 0).all():  # one worker has nobody to exchange anything with
        log_y(panel)
    panel.set_ylabel("exchange of a step (s)")
    panel.grid(axis="x", visible=False)
    label_above(figure, panel, columns=len(networks))
    return figure


FIGURES = Figures(
    rehearsal_figures,
    captions={
        "foretold": "Steps per second as predicted, against as measured. On the line the two are equal. Hollow marks took part in the fit "
        "of the one constant that a network and method have; filled ones are predictions.",
        "fitted": "The same against the number of workers, with what the model of the wire says without any constant. The axes are "
        "logarithmic: equal distances in a panel are equal ratios.",
        "by_network": "What the exchange of one step takes over each network, on a logarithmic axis; the numbers stand above the bars.",
        "overview": "The time of a step per arm, with its 95 % interval over seeds.",
    },
)
