"""Figures of a comparison of data-parallel training. A figure whose data a run does not hold is left out."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.curves import learning_curves
from toolkit.cluster.figures import LINKS_CAPTION, link_utilisation
from toolkit.render.figures import COLOURS, Figures, label_above, new_figure, styled
from toolkit.render.learning import learning
from toolkit.render.overview import OVERVIEW_CAPTION, overview

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
CAPTIONS = {
    "overview": (
        f"{OVERVIEW_CAPTION} The time to an accuracy is that of the first evaluation that reached it; where an arm reached it in some "
        "seeds only, it is averaged over these: read it with the findings, which say in how many."
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
    "link_utilisation": LINKS_CAPTION,
}


def distributed_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    curves = learning_curves(result)
    return {
        "overview": overview(result),
        "learning_vs_time": learning(result, curves, "t_s"),
        "learning_vs_bytes": learning(result, curves, "nbytes"),
        "learning_vs_energy": learning(result, curves, "energy_j"),
        "where_time_goes": where_time_goes(result),
        "link_utilisation": link_utilisation(result),
    }


@styled
def where_time_goes(result: Comparison) -> Figure | None:
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


FIGURES = Figures(distributed_figures, CAPTIONS)
