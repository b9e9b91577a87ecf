"""Figures of a comparison of federations. A figure whose data a run does not hold is left out."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.curves import learning_curves
from toolkit.methods.distributed.figures import CURVE_CAPTION
from toolkit.methods.federated.report import histogram
from toolkit.render.figures import Figures, arm_colours, arm_markers, new_figure, styled
from toolkit.render.learning import learning
from toolkit.render.many import height_for, name_lines
from toolkit.render.overview import OVERVIEW_CAPTION, overview

CAPTIONS = {
    "overview": OVERVIEW_CAPTION,
    "learning_vs_time": CURVE_CAPTION.format("What was learnt against simulated time; evaluations themselves take none.", "time"),
    "learning_vs_bytes": CURVE_CAPTION.format(
        "What was learnt against the bytes that server and clients had sent by then, per client.", "number of bytes"
    ),
    "learning_vs_energy": CURVE_CAPTION.format(
        "What was learnt against the energy of everything by then, machines and links that wait among it.", "energy"
    ),
    "staleness": (
        "Share of the updates in the model by the number of versions that had come since the one that they began with, all seeds "
        "together. Left out are arms whose updates are never stale, and beyond the axis one update in a hundred, the oldest."
    ),
    "participation": (
        "Share of the clients by the number of their updates that went into the model, all seeds together; beyond the axis are the one "
        "client in a hundred with most."
    ),
}
MOST = 0.99
"""Share of what a histogram counts that its axis reaches."""
LABELS = {
    "staleness": ("staleness", ("staleness (versions)", "share of updates")),
    "participation": ("took_part", ("updates of a client", "share of clients")),
}


def federated_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    curves = learning_curves(result)
    return {
        "overview": overview(result),
        "learning_vs_time": learning(result, curves, "t_s"),
        "learning_vs_bytes": learning(result, curves, "nbytes"),
        "learning_vs_energy": learning(result, curves, "energy_j"),
        "staleness": shares(result, "staleness"),
        "participation": shares(result, "participation"),
    }


@styled
def shares(result: Comparison, figure_name: str) -> Figure | None:
    """A histogram as one line per arm."""
    name, (x_label, y_label) = LABELS[figure_name]
    found = {}
    for arm in result.arms:
        values, counts = histogram(result.metrics[(result.metrics["arm"] == arm).to_numpy(bool)], name)
        if counts.sum():
            total = np.bincount(values, weights=counts)
            if len(total) > 1:
                found[arm] = total / total.sum()
    if not found:
        return None
    reach = max(int(np.searchsorted(share.cumsum(), MOST)) for share in found.values())
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(9.0, height_for(list(found), 4.2))
    panel = figure.subplots()
    for arm, share in found.items():
        panel.plot(range(len(share)), share, color=colours[arm], marker=markers[arm], markeredgecolor="white", label=arm,
                   markevery=max(1, reach // 25))
    panel.set_xlabel(x_label)
    panel.set_ylabel(y_label)
    panel.set_ylim(bottom=0)
    panel.set_xlim(-0.02 * reach, 1.02 * reach + 0.5)
    panel.locator_params(axis="x", integer=True)
    name_lines(figure, panel, {arm: (min(len(share) - 1, reach), float(share[min(len(share) - 1, reach)])) for arm, share in found.items()})
    return figure


FIGURES = Figures(federated_figures, CAPTIONS)
